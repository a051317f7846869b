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

/// The bytes that a token of byte-level BPE, or of a SentencePiece-like model, stands for.
std::string surface(std::string_view token, bool byte_level) {
  if (byte_level) return tokenizer::bytes_of_symbols(token).value_or(std::string(token));
  if (token.size() == 6 && token.starts_with("<0x") && token.ends_with('>'))
    return std::string(1,
                       static_cast<char>(std::stoi(std::string(token.substr(3, 2)), nullptr, 16)));
  std::string text(token);
  for (size_t at = 0; (at = text.find("\xE2\x96\x81", at)) != std::string::npos; ++at)
    text.replace(at, 3, " ");
  return text;
}

/// Where the tokens of `text` end if their bytes put together are the text (behind one blank that
/// the tokenizer may have put in front); empty if they are not.
std::vector<size_t> ends_by_bytes(const tokenizer::Model& model, std::string_view text,
                                  std::span<const int32_t> ids, bool byte_level) {
  std::string joined;
  std::vector<size_t> ends;
  for (const int32_t id : ids) {
    const auto token = model.token(id);
    if (!token) return {};
    joined += surface(*token, byte_level);
    ends.push_back(joined.size());
  }
  const size_t added = joined.size() == text.size() + 1 && joined.starts_with(' ') ? 1 : 0;
  if (std::string_view(joined).substr(added) != text) return {};
  for (size_t& end : ends) end -= added;
  return ends;
}

}  // namespace

std::vector<int32_t> Tokenizer::encode_with_ranges(std::string_view text,
                                                   std::span<const TextRange> literal,
                                                   std::vector<TextRange>& ranges) const {
  check<FormatError>(unicode::is_valid_utf8(text), "encode: the text is not UTF-8");
  std::vector<int32_t> ids;
  ranges.clear();
  std::vector<AddedTokens::Part> parts;
  impl_->added.split(text, false, true, parts, literal);
  for (const AddedTokens::Part& part : parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      ranges.push_back({part.begin, part.end});
      continue;
    }
    const std::string_view plain = text.substr(part.begin, part.end - part.begin);
    auto encode_start = [&](size_t size) {
      std::vector<int32_t> made;
      tokenizer::encode_part(*impl_, plain.substr(0, size), part.begin == 0, true, literal,
                             part.begin, made);
      return made;
    };
    const std::vector<int32_t> made = encode_start(plain.size());
    std::vector<size_t> ends = ends_by_bytes(*impl_->model, plain, made, true);
    if (ends.empty()) ends = ends_by_bytes(*impl_->model, plain, made, false);
    if (ends.empty() && !made.empty()) {
      // Token k ends at the first character after which the ids so far agree up to it.
      for (size_t at = 0; ends.size() < made.size();) {
        if (at < plain.size()) at += unicode::decode_at(plain, at).size;
        const std::vector<int32_t> start = encode_start(at);
        const size_t agree = static_cast<size_t>(
            std::mismatch(made.begin(), made.end(), start.begin(), start.end()).first -
            made.begin());
        while (ends.size() < agree) ends.push_back(at);
        if (at == plain.size()) ends.resize(made.size(), at);
      }
    }
    for (size_t k = 0; k < made.size(); ++k) {
      ids.push_back(made[k]);
      ranges.push_back({part.begin + (k ? ends[k - 1] : 0), part.begin + ends[k]});
    }
  }
  return ids;
}

}  // namespace ocellus
