// Encoding that says where in the text each token lies.
#include <algorithm>

#include "data/pretokenizer.h"
#include "data/tokenizer_impl.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus {
namespace {

using tokenizer::AddedTokens;
using tokenizer::Pieces;
using tokenizer::TokenPlace;

/// Blanks at the front (`front`) or the end of a token, byte-level BPE's sign for one included.
size_t count_blanks(std::string_view token, bool front) {
  size_t n = 0;
  for (; !token.empty(); ++n) {
    const size_t at = front ? 0 : unicode::previous_start(token, token.size());
    const unicode::Char c = unicode::decode_at(token, at);
    if (!(unicode::class_of(c.code) & unicode::kSpace) && c.code != 0x120) break;
    token = front ? token.substr(c.size) : token.substr(0, at);
  }
  return n;
}

struct Traced {
  std::vector<int32_t> ids;
  std::vector<TokenPlace> places;  // ranges in bytes
  void add(int32_t id, const TextRange& range, std::string_view token) {
    ids.push_back(id);
    places.push_back({range, count_blanks(token, true), count_blanks(token, false)});
  }
};

/// The tokens of the model for pieces whose origins count from `base`.
void add_pieces(const tokenizer::Model& model, const Pieces& pieces, size_t base, Traced& out) {
  thread_local std::vector<int32_t> ids;
  thread_local std::vector<TextRange> places;
  for (const tokenizer::Span& span : pieces.spans) {
    if (span.begin == span.end) continue;
    ids.clear();
    places.clear();
    const std::string_view piece = pieces.piece(span);
    model.encode_piece(piece, ids, places);
    for (size_t k = 0; k < ids.size(); ++k) {
      // A token without bytes of its own lies at those of its place's end.
      const size_t end = span.begin + std::max<size_t>(places[k].end, 1);
      const size_t begin = std::min(span.begin + places[k].begin, end - 1);
      out.add(ids[k], {base + pieces.origins[begin].begin, base + pieces.origins[end - 1].end},
              model.is_text(ids[k]) ? piece.substr(places[k].begin, places[k].end - places[k].begin)
                                    : model.token(ids[k]).value_or(""));
    }
  }
}

Traced encode_traced(const Tokenizer::Impl& impl, std::string_view text,
                     std::span<const TextRange> literal) {
  Traced out;
  std::vector<AddedTokens::Part> parts;
  impl.added.split(text, false, true, parts, literal);
  for (const AddedTokens::Part& part : parts) {
    const std::string_view plain = text.substr(part.begin, part.end - part.begin);
    if (part.id >= 0) {
      out.add(part.id, {part.begin, part.end}, plain);
      continue;
    }
    tokenizer::cut_part(
        impl, plain, true, part.begin == 0, true, literal, part.begin,
        [&](int32_t id, std::string_view token, const TextRange& range) {
          out.add(id, {part.begin + range.begin, part.begin + range.end}, token);
        },
        [&](const Pieces& pieces) { add_pieces(*impl.model, pieces, part.begin, out); });
  }
  return out;
}

}  // namespace

std::vector<int32_t> Tokenizer::encode_with_ranges(std::string_view text,
                                                   std::span<const TextRange> literal,
                                                   std::vector<TextRange>& ranges) const {
  check<FormatError>(unicode::is_valid_utf8(text), "encode: the text is not UTF-8");
  Traced traced = encode_traced(*impl_, text, literal);
  ranges.clear();
  for (const TokenPlace& place : traced.places) ranges.push_back(place.range);
  return std::move(traced.ids);
}

std::vector<int32_t> Tokenizer::encode_with_offsets(std::string_view text, bool add_special,
                                                    std::vector<TextRange>& offsets) const {
  check<FormatError>(unicode::is_valid_utf8(text), "encode: the text is not UTF-8");
  Traced traced = encode_traced(*impl_, text, {});
  std::vector<size_t> before(text.size() + 1, 0);  // characters that begin before a byte
  for (size_t at = 0; at < text.size(); ++at)
    before[at + 1] = before[at] + ((text[at] & 0xC0) != 0x80);
  for (TokenPlace& place : traced.places)
    place.range = {before[place.range.begin], before[place.range.end]};
  if (impl_->post_processor) impl_->post_processor->apply(traced.ids, &traced.places, add_special);
  offsets.clear();
  for (const TokenPlace& place : traced.places) offsets.push_back(place.range);
  return std::move(traced.ids);
}

}  // namespace ocellus
