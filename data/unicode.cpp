#include "data/unicode.h"

#include <utf8proc.h>

#include <array>
#include <cstring>
#include <memory>

namespace ocellus::unicode {
namespace {

constexpr char32_t kTableSize = 0x40000;

uint8_t compute_class(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      return kLetter | kUpperLike;
    case UTF8PROC_CATEGORY_LL:
      return kLetter | kLowerLike;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kLetter | kUpperLike | kLowerLike;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark | kUpperLike | kLowerLike;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      return kSymbol;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return kSpace;
    default:
      return (code >= 0x09 && code <= 0x0D) || code == 0x85 ? kSpace : 0;
  }
}

/// Length of the valid character at `text[at]`, or 0; then `bad` is the length of the maximal
/// invalid part (at least 1) and `cut` says that it is invalid only because the text ends.
uint32_t valid_length(std::string_view text, size_t at, uint32_t& bad, bool& cut) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  bad = 1;
  cut = false;
  if (lead < 0x80) return 1;
  uint32_t size = lead >= 0xC2 && lead <= 0xDF   ? 2
                  : (lead & 0xF0) == 0xE0        ? 3
                  : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                 : 0;
  if (size == 0) return 0;
  // The second byte has a narrower range after four lead bytes (overlong forms, surrogates, limit).
  unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (uint32_t i = 1; i < size; ++i) {
    if (at + i >= text.size()) {
      cut = true;
      return 0;
    }
    if (byte(at + i) < low || byte(at + i) > high) return 0;
    low = 0x80;
    high = 0xBF;
    bad = i + 1;
  }
  return size;
}

/// Skips ASCII eight bytes at a time.
size_t skip_ascii(std::string_view text, size_t at) {
  while (at + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if (word & 0x8080808080808080ull) break;
    at += 8;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

void append_utf8(std::string& out, char32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  uint32_t bad;
  bool cut;
  for (size_t at = skip_ascii(text, 0); at < text.size(); at = skip_ascii(text, at)) {
    const uint32_t size = valid_length(text, at, bad, cut);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  uint32_t bad;
  bool cut;
  for (size_t at = 0; at < text.size();) {
    const size_t ascii_end = skip_ascii(text, at);
    out.append(text, at, ascii_end - at);
    at = ascii_end;
    if (at == text.size()) break;
    const uint32_t size = valid_length(text, at, bad, cut);
    if (size) {
      out.append(text, at, size);
      at += size;
    } else {
      out += "\xEF\xBF\xBD";
      at += bad;
    }
  }
  return out;
}

size_t incomplete_tail(std::string_view text) {
  uint32_t bad;
  bool cut;
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const size_t at = text.size() - back;
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (valid_length(text, at, bad, cut) == 0 && cut) return back;
    return 0;
  }
  return 0;
}

const uint8_t* class_table() {
  static const auto table = [] {
    auto bytes = std::make_unique<uint8_t[]>(kTableSize);
    for (char32_t code = 0; code < kTableSize; ++code) bytes[code] = compute_class(code);
    return bytes;
  }();
  return table.get();
}

uint8_t class_of(char32_t code) {
  return code < kTableSize ? class_table()[code] : compute_class(code);
}

bool is_word(char32_t code) {
  const int category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  // Other_Alphabetic beyond letters, letter numbers and marks: circled and squared Latin letters.
  const bool other_alphabetic =
      (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
      (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189);
  return class_of(code) & (kLetter | kMark) || category == UTF8PROC_CATEGORY_ND ||
         category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC || other_alphabetic ||
         code == 0x200C || code == 0x200D;
}

char32_t to_lower(char32_t code) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}

int category(char32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }

}  // namespace ocellus::unicode
