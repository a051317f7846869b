// Hand-written matchers for the patterns that most models use. Each tries the alternatives of the
// pattern in their order, as a backtracking matcher would.
#include "data/pretokenizer.h"
#include "data/unicode.h"

namespace ocellus::tokenizer {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

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
    case 's': case 't': case 'm': case 'd': return at + 2;
    case 'r': case 'v': return r.at(at + 2) == 'e' ? at + 3 : at;
    case 'l': return r.at(at + 2) == 'l' ? at + 3 : at;
    default: return at;
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

}  // namespace

Scanner scanner_for(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return scan_gpt2;
  return nullptr;
}

}  // namespace ocellus::tokenizer
