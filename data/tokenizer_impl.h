// The parts of one tokenizer, as the file describes them.
#pragma once
#include <functional>

#include "data/tokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_parts.h"

namespace ocellus {

struct Tokenizer::Impl {
  std::string json;                        // the tokenizer.json, if it was read from one
  std::function<std::string()> make_json;  // else this writes it
  std::unique_ptr<tokenizer::Model> model;
  std::unique_ptr<tokenizer::Normalizer> normalizer;  // may be null, as the next ones
  std::vector<std::unique_ptr<tokenizer::PreTokenizer>> pre_tokenizers;
  std::unique_ptr<tokenizer::PostProcessor> post_processor;
  std::unique_ptr<tokenizer::TokenDecoder> decoder;
  tokenizer::AddedTokens added;
  std::string
      word_suffix;  // of BPE: decoding to bytes leaves it in the text, where it means a blank
};

namespace tokenizer {

/// Ids of text without added tokens of the first kind (those matched before normalization):
/// normalizer, added tokens of the second kind, pre-tokenizers, model. `literal` as for
/// AddedTokens::split.
void encode_part(const Tokenizer::Impl& impl, std::string_view plain, bool at_start,
                 bool parse_special, std::span<const TextRange> literal, size_t base,
                 std::vector<int32_t>& ids);

}  // namespace tokenizer
}  // namespace ocellus
