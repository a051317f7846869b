// The parts of one tokenizer, as the file describes them.
#pragma once
#include "data/tokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_parts.h"

namespace ocellus {

struct Tokenizer::Impl {
  std::string json;  // the tokenizer.json
  std::unique_ptr<tokenizer::Model> model;
  std::unique_ptr<tokenizer::Normalizer> normalizer;  // may be null, as the next ones
  std::vector<std::unique_ptr<tokenizer::PreTokenizer>> pre_tokenizers;
  std::vector<std::unique_ptr<tokenizer::PostProcessor>> post_processors;
  std::unique_ptr<tokenizer::TokenDecoder> decoder;
  tokenizer::AddedTokens added;
};

}  // namespace ocellus
