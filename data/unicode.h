// UTF-8 and the character classes that tokenizers ask for. Categories follow Unicode 15 (utf8proc 2.8).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace ocellus::unicode {

/// One decoded character: its code point and how many bytes it took.
struct Char {
  char32_t code;
  uint32_t size;
};

/// decode_at — the character that starts at `text[at]`. `text` must be valid UTF-8 and `at` a start.
inline Char decode_at(std::string_view text, size_t at) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + at;
  if (p[0] < 0x80) return {p[0], 1};
  if (p[0] < 0xE0) return {static_cast<char32_t>((p[0] & 0x1F) << 6 | (p[1] & 0x3F)), 2};
  if (p[0] < 0xF0)
    return {static_cast<char32_t>((p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F)), 3};
  return {static_cast<char32_t>((p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 |
                                (p[3] & 0x3F)),
          4};
}

/// previous_start — where the character that ends before `at` (> 0) starts.
inline size_t previous_start(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

/// append_utf8 — appends the UTF-8 form of `code`.
void append_utf8(std::string& out, char32_t code);

/// is_valid_utf8 — no overlong forms, surrogates or values above U+10FFFF.
bool is_valid_utf8(std::string_view text);

/// replace_invalid_utf8 — every maximal invalid part becomes one U+FFFD (Unicode 14, section 3.9;
/// the rule of Python's errors="replace" and Rust's from_utf8_lossy).
std::string replace_invalid_utf8(std::string_view text);

/// incomplete_tail — how many bytes at the end of `text` are the start of a character whose rest
/// may still come (0 to 3).
size_t incomplete_tail(std::string_view text);

// Bits of class_of().
constexpr uint8_t kLetter = 1;      // \p{L}
constexpr uint8_t kNumber = 2;      // \p{N}
constexpr uint8_t kSpace = 4;       // \s: \p{Z}, U+0009 to U+000D, U+0085
constexpr uint8_t kMark = 8;        // \p{M}
constexpr uint8_t kUpperLike = 16;  // \p{Lu} \p{Lt} \p{Lm} \p{Lo} \p{M}
constexpr uint8_t kLowerLike = 32;  // \p{Ll} \p{Lm} \p{Lo} \p{M}
constexpr uint8_t kPunctuation = 64;  // \p{P}
constexpr uint8_t kSymbol = 128;      // \p{S}

/// The classes of every code point below U+40000, one byte each.
const uint8_t* class_table();

/// class_of — the bits above for one code point.
uint8_t class_of(char32_t code);

/// is_space — \s: kSpace.
inline bool is_space(char32_t code) { return class_of(code) & kSpace; }

/// is_word — \w: alphabetic, mark, decimal number, connector punctuation or joiner (UTS 18).
bool is_word(char32_t code);

/// to_lower — the simple lower case of one code point.
char32_t to_lower(char32_t code);

// What follows agrees with Hugging Face `tokenizers`, whose tables are older (see unicode_old.cpp).
bool is_combining_mark(char32_t code);    // \p{M}
bool has_no_form(char32_t code);          // the normalization forms leave it and its order alone
bool is_bert_control(char32_t code);      // control, format, private use; not \t \n \r
bool is_bert_accent(char32_t code);       // non-spacing mark
bool is_bert_punctuation(char32_t code);  // ASCII signs and \p{P}

/// category — the general category as utf8proc numbers it.
int category(char32_t code);

}  // namespace ocellus::unicode
