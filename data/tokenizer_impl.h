// The parts of one tokenizer, as the file describes them.
#pragma once
#include <functional>

#include "data/tokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_parts.h"
#include "data/unicode.h"

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

/// Cuts text without added tokens of the first kind (those matched before normalization) by the
/// normalizer, added tokens of the second kind and the pre-tokenizers. Calls token(id, text, range)
/// for an added token, model(pieces) for text between. `normal` is the text before normalization
/// and says whether to trace; `literal` as for AddedTokens::split, which counts from `base`.
template <class Token, class ModelCall>
void cut_part(const Tokenizer::Impl& impl, std::string_view plain, bool traced, bool at_start,
              bool parse_special, std::span<const TextRange> literal, size_t base, Token&& token,
              ModelCall&& model) {
  thread_local Pieces pieces;
  thread_local std::vector<AddedTokens::Part> inner;
  NormalText normal("");
  size_t start = plain.empty() ? 0 : unicode::decode_at(plain, 0).size;
  if (impl.normalizer || traced) normal = NormalText(plain, traced);
  if (impl.normalizer) {
    normal.limit = plain.size() * 64 + (1 << 20);
    impl.normalizer->apply(normal);
    // Ranges cannot be followed through a normalizer: with any, the whole part is literal.
    for (const TextRange& range : literal)
      if (range.begin < base + plain.size() && base < range.end) parse_special = false;
    literal = {};
    plain = normal.text;
    start = normal.start;
  }
  impl.added.split(plain, true, parse_special, inner, literal, base);
  for (const AddedTokens::Part& part : inner) {
    const std::string_view text = plain.substr(part.begin, part.end - part.begin);
    if (part.id >= 0) {
      token(part.id, text,
            traced ? TextRange{normal.origins[part.begin].begin, normal.origins[part.end - 1].end}
                   : TextRange{0, 0});
      continue;
    }
    pieces.text = text;
    pieces.spans.assign(1, {0, text.size()});
    pieces.start = at_start && part.begin < start ? start - part.begin : 0;
    pieces.traced = traced;
    if (traced)
      pieces.origins.assign(normal.origins.begin() + static_cast<ptrdiff_t>(part.begin),
                            normal.origins.begin() + static_cast<ptrdiff_t>(part.end));
    for (const auto& pre_tokenizer : impl.pre_tokenizers) pre_tokenizer->apply(pieces);
    model(pieces);
  }
}

}  // namespace tokenizer
}  // namespace ocellus
