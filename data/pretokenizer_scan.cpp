// Hand-written matchers for the patterns that most models use. Each tries the alternatives of the
// pattern in their order, as a backtracking matcher would.
#include "data/pretokenizer.h"
#include "data/unicode.h"

namespace ocellus::tokenizer {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kClipPattern =
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
const char* const kCl100kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

using namespace unicode;

/// Reads classes from a text; `at` may be the end, which has class 0 and size 0.
struct Reader {
  std::string_view text;
  const uint8_t* table = class_table();

  struct Look {
    uint8_t bits;
    uint32_t size;
  };
  Look look(size_t at) const {
    if (at >= text.size()) return {0, 0};
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) return {table[byte], 1};
    const Char c = decode_at(text, at);
    return {c.code < 0x40000 ? table[c.code] : class_of(c.code), c.size};
  }
  /// End of the run from `at` of characters that have (`want`) any of `bits`.
  size_t run(size_t at, uint8_t bits, bool want = true, size_t limit = SIZE_MAX) const {
    for (size_t n = 0; n < limit; ++n) {
      const Look c = look(at);
      if (c.size == 0 || ((c.bits & bits) != 0) != want) break;
      at += c.size;
    }
    return at;
  }
  char at(size_t i) const { return i < text.size() ? text[i] : '\0'; }
};

/// End of 's 't 're 've 'm 'll 'd at `at`, or `at`.
size_t contraction(const Reader& r, size_t at) {
  if (r.at(at) != '\'') return at;
  switch (r.at(at + 1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return at + 2;
    case 'r':
    case 'v':
      return r.at(at + 2) == 'e' ? at + 3 : at;
    case 'l':
      return r.at(at + 2) == 'l' ? at + 3 : at;
    default:
      return at;
  }
}

/// \s+(?!\S)|\s+ : all blanks but the last one if something else follows.
size_t blanks(const Reader& r, size_t at) {
  size_t end = r.run(at, kSpace);
  if (end == r.text.size()) return end;
  const size_t last = previous_start(r.text, end);
  return last > at ? last : end;
}

size_t scan_gpt2(std::string_view text, size_t begin) {
  const Reader r{text};
  if (const size_t end = contraction(r, begin); end > begin) return end;
  const size_t body = begin + (text[begin] == ' ');
  const auto [bits, size] = r.look(body);
  if (size && bits & kLetter) return r.run(body + size, kLetter);
  if (size && bits & kNumber) return r.run(body + size, kNumber);
  if (size && !(bits & kSpace)) return r.run(body + size, kLetter | kNumber | kSpace, false);
  return blanks(r, begin);
}

/// The same in upper or lower case; the long s (U+017F) is a form of s as well.
size_t contraction_any_case(const Reader& r, size_t at) {
  if (r.at(at) != '\'') return at;
  const auto lower = [&](size_t i) { return static_cast<char>(r.at(i) | 0x20); };
  switch (lower(at + 1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return at + 2;
    case 'r':
    case 'v':
      return lower(at + 2) == 'e' ? at + 3 : at;
    case 'l':
      return lower(at + 2) == 'l' ? at + 3 : at;
    default:
      return r.at(at + 1) == '\xC5' && r.at(at + 2) == '\xBF' ? at + 3 : at;
  }
}

bool is_newline(char c) { return c == '\n' || c == '\r'; }

/// \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last line end of the blanks, else as above.
size_t blanks_by_line(const Reader& r, size_t at) {
  size_t end = r.run(at, kSpace);
  for (size_t i = end; i > at; --i)
    if (is_newline(r.text[i - 1])) return i;
  return blanks(r, at);
}

/// [^\s\p{L}\p{N}]+ from `at`, then line ends (and with `slash` slashes).
size_t signs(const Reader& r, size_t at, bool slash) {
  at = r.run(at, kLetter | kNumber | kSpace, false);
  while (is_newline(r.at(at)) || (slash && r.at(at) == '/')) ++at;
  return at;
}

/// What cl100k, Qwen 2 and o200k have after their words: numbers, signs, blanks.
size_t scan_rest(const Reader& r, size_t begin, size_t max_digits, bool slash) {
  const auto [bits, size] = r.look(begin);
  if (bits & kNumber) return r.run(begin, kNumber, true, max_digits);
  const size_t body = begin + (r.text[begin] == ' ');
  const auto next = r.look(body);
  if (next.size && !(next.bits & (kLetter | kNumber | kSpace))) return signs(r, body, slash);
  return blanks_by_line(r, begin);
}

template <size_t max_digits>
size_t scan_cl100k(std::string_view text, size_t begin) {
  const Reader r{text};
  if (const size_t end = contraction_any_case(r, begin); end > begin) return end;
  const auto [bits, size] = r.look(begin);
  if (bits & kLetter) return r.run(begin + size, kLetter);
  if (!(bits & kNumber) && !is_newline(text[begin]))
    if (const size_t end = r.run(begin + size, kLetter); end > begin + size) return end;
  return scan_rest(r, begin, max_digits, false);
}

/// The two word alternatives of o200k: capitals then at least one small letter, or capitals.
size_t scan_o200k(std::string_view text, size_t begin) {
  const Reader r{text};
  const auto [bits, size] = r.look(begin);
  // The optional sign before a word is tried first with, then without.
  const bool sign = !(bits & (kLetter | kNumber)) && !is_newline(text[begin]);
  const size_t starts[2] = {begin + (sign ? size : 0), begin};
  for (size_t start : starts) {
    size_t at = start, after_small = 0;  // capitals give back what the small letters need
    for (Reader::Look c = r.look(at); c.bits & kUpperLike; c = r.look(at)) {
      at += c.size;
      if (c.bits & kLowerLike) after_small = at;
    }
    const size_t end = r.run(at, kLowerLike);
    if (end > at) return contraction_any_case(r, end);
    if (after_small) return contraction_any_case(r, after_small);
  }
  for (size_t start : starts) {
    const size_t at = r.run(start, kUpperLike);
    if (at > start) return contraction_any_case(r, r.run(at, kLowerLike));
  }
  return scan_rest(r, begin, 3, true);
}

size_t scan_clip(std::string_view text, size_t begin) {
  const Reader r{text};
  for (std::string_view special : {"<|startoftext|>", "<|endoftext|>"})
    if (text.substr(begin).starts_with(special)) return begin + special.size();
  if (const size_t end = contraction(r, begin); end > begin) return end;
  const auto [bits, size] = r.look(begin);
  if (bits & kLetter) return r.run(begin + size, kLetter);
  if (bits & kNumber) return begin + size;
  if (bits & kSpace) return begin;
  return r.run(begin + size, kLetter | kNumber | kSpace, false);
}

}  // namespace

KnownPattern known_pattern(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return {scan_gpt2, false};
  if (pattern == kClipPattern) return {scan_clip, true};
  if (pattern == kCl100kPattern) return {scan_cl100k<3>, false};
  if (pattern == kQwen2Pattern) return {scan_cl100k<1>, false};
  if (pattern == kO200kPattern) return {scan_o200k, false};
  return {};
}

}  // namespace ocellus::tokenizer
