// Python's case mapping of strings: full mappings (one character may become three), final sigma,
// title words. Simple mappings are utf8proc's; what a character with a longer form becomes stands
// here (SpecialCasing.txt of Unicode 14).
#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "data/jinja/value.h"
#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

struct Special {
  char32_t code;
  std::array<char32_t, 3> upper, title;
};
// clang-format off
constexpr Special kSpecials[] = {
    {0xDF, {{0x53, 0x53, 0}}, {{0x53, 0x73, 0}}}, {0x149, {{0x2BC, 0x4E, 0}}, {{0x2BC, 0x4E, 0}}},
    {0x1F0, {{0x4A, 0x30C, 0}}, {{0x4A, 0x30C, 0}}},
    {0x390, {{0x399, 0x308, 0x301}}, {{0x399, 0x308, 0x301}}},
    {0x3B0, {{0x3A5, 0x308, 0x301}}, {{0x3A5, 0x308, 0x301}}},
    {0x587, {{0x535, 0x552, 0}}, {{0x535, 0x582, 0}}},
    {0x1E96, {{0x48, 0x331, 0}}, {{0x48, 0x331, 0}}},
    {0x1E97, {{0x54, 0x308, 0}}, {{0x54, 0x308, 0}}},
    {0x1E98, {{0x57, 0x30A, 0}}, {{0x57, 0x30A, 0}}},
    {0x1E99, {{0x59, 0x30A, 0}}, {{0x59, 0x30A, 0}}},
    {0x1E9A, {{0x41, 0x2BE, 0}}, {{0x41, 0x2BE, 0}}},
    {0x1F50, {{0x3A5, 0x313, 0}}, {{0x3A5, 0x313, 0}}},
    {0x1F52, {{0x3A5, 0x313, 0x300}}, {{0x3A5, 0x313, 0x300}}},
    {0x1F54, {{0x3A5, 0x313, 0x301}}, {{0x3A5, 0x313, 0x301}}},
    {0x1F56, {{0x3A5, 0x313, 0x342}}, {{0x3A5, 0x313, 0x342}}},
    {0x1F80, {{0x1F08, 0x399, 0}}, {{0x1F88, 0, 0}}},
    {0x1F81, {{0x1F09, 0x399, 0}}, {{0x1F89, 0, 0}}},
    {0x1F82, {{0x1F0A, 0x399, 0}}, {{0x1F8A, 0, 0}}},
    {0x1F83, {{0x1F0B, 0x399, 0}}, {{0x1F8B, 0, 0}}},
    {0x1F84, {{0x1F0C, 0x399, 0}}, {{0x1F8C, 0, 0}}},
    {0x1F85, {{0x1F0D, 0x399, 0}}, {{0x1F8D, 0, 0}}},
    {0x1F86, {{0x1F0E, 0x399, 0}}, {{0x1F8E, 0, 0}}},
    {0x1F87, {{0x1F0F, 0x399, 0}}, {{0x1F8F, 0, 0}}},
    {0x1F88, {{0x1F08, 0x399, 0}}, {{0x1F88, 0, 0}}},
    {0x1F89, {{0x1F09, 0x399, 0}}, {{0x1F89, 0, 0}}},
    {0x1F8A, {{0x1F0A, 0x399, 0}}, {{0x1F8A, 0, 0}}},
    {0x1F8B, {{0x1F0B, 0x399, 0}}, {{0x1F8B, 0, 0}}},
    {0x1F8C, {{0x1F0C, 0x399, 0}}, {{0x1F8C, 0, 0}}},
    {0x1F8D, {{0x1F0D, 0x399, 0}}, {{0x1F8D, 0, 0}}},
    {0x1F8E, {{0x1F0E, 0x399, 0}}, {{0x1F8E, 0, 0}}},
    {0x1F8F, {{0x1F0F, 0x399, 0}}, {{0x1F8F, 0, 0}}},
    {0x1F90, {{0x1F28, 0x399, 0}}, {{0x1F98, 0, 0}}},
    {0x1F91, {{0x1F29, 0x399, 0}}, {{0x1F99, 0, 0}}},
    {0x1F92, {{0x1F2A, 0x399, 0}}, {{0x1F9A, 0, 0}}},
    {0x1F93, {{0x1F2B, 0x399, 0}}, {{0x1F9B, 0, 0}}},
    {0x1F94, {{0x1F2C, 0x399, 0}}, {{0x1F9C, 0, 0}}},
    {0x1F95, {{0x1F2D, 0x399, 0}}, {{0x1F9D, 0, 0}}},
    {0x1F96, {{0x1F2E, 0x399, 0}}, {{0x1F9E, 0, 0}}},
    {0x1F97, {{0x1F2F, 0x399, 0}}, {{0x1F9F, 0, 0}}},
    {0x1F98, {{0x1F28, 0x399, 0}}, {{0x1F98, 0, 0}}},
    {0x1F99, {{0x1F29, 0x399, 0}}, {{0x1F99, 0, 0}}},
    {0x1F9A, {{0x1F2A, 0x399, 0}}, {{0x1F9A, 0, 0}}},
    {0x1F9B, {{0x1F2B, 0x399, 0}}, {{0x1F9B, 0, 0}}},
    {0x1F9C, {{0x1F2C, 0x399, 0}}, {{0x1F9C, 0, 0}}},
    {0x1F9D, {{0x1F2D, 0x399, 0}}, {{0x1F9D, 0, 0}}},
    {0x1F9E, {{0x1F2E, 0x399, 0}}, {{0x1F9E, 0, 0}}},
    {0x1F9F, {{0x1F2F, 0x399, 0}}, {{0x1F9F, 0, 0}}},
    {0x1FA0, {{0x1F68, 0x399, 0}}, {{0x1FA8, 0, 0}}},
    {0x1FA1, {{0x1F69, 0x399, 0}}, {{0x1FA9, 0, 0}}},
    {0x1FA2, {{0x1F6A, 0x399, 0}}, {{0x1FAA, 0, 0}}},
    {0x1FA3, {{0x1F6B, 0x399, 0}}, {{0x1FAB, 0, 0}}},
    {0x1FA4, {{0x1F6C, 0x399, 0}}, {{0x1FAC, 0, 0}}},
    {0x1FA5, {{0x1F6D, 0x399, 0}}, {{0x1FAD, 0, 0}}},
    {0x1FA6, {{0x1F6E, 0x399, 0}}, {{0x1FAE, 0, 0}}},
    {0x1FA7, {{0x1F6F, 0x399, 0}}, {{0x1FAF, 0, 0}}},
    {0x1FA8, {{0x1F68, 0x399, 0}}, {{0x1FA8, 0, 0}}},
    {0x1FA9, {{0x1F69, 0x399, 0}}, {{0x1FA9, 0, 0}}},
    {0x1FAA, {{0x1F6A, 0x399, 0}}, {{0x1FAA, 0, 0}}},
    {0x1FAB, {{0x1F6B, 0x399, 0}}, {{0x1FAB, 0, 0}}},
    {0x1FAC, {{0x1F6C, 0x399, 0}}, {{0x1FAC, 0, 0}}},
    {0x1FAD, {{0x1F6D, 0x399, 0}}, {{0x1FAD, 0, 0}}},
    {0x1FAE, {{0x1F6E, 0x399, 0}}, {{0x1FAE, 0, 0}}},
    {0x1FAF, {{0x1F6F, 0x399, 0}}, {{0x1FAF, 0, 0}}},
    {0x1FB2, {{0x1FBA, 0x399, 0}}, {{0x1FBA, 0x345, 0}}},
    {0x1FB3, {{0x391, 0x399, 0}}, {{0x1FBC, 0, 0}}},
    {0x1FB4, {{0x386, 0x399, 0}}, {{0x386, 0x345, 0}}},
    {0x1FB6, {{0x391, 0x342, 0}}, {{0x391, 0x342, 0}}},
    {0x1FB7, {{0x391, 0x342, 0x399}}, {{0x391, 0x342, 0x345}}},
    {0x1FBC, {{0x391, 0x399, 0}}, {{0x1FBC, 0, 0}}},
    {0x1FC2, {{0x1FCA, 0x399, 0}}, {{0x1FCA, 0x345, 0}}},
    {0x1FC3, {{0x397, 0x399, 0}}, {{0x1FCC, 0, 0}}},
    {0x1FC4, {{0x389, 0x399, 0}}, {{0x389, 0x345, 0}}},
    {0x1FC6, {{0x397, 0x342, 0}}, {{0x397, 0x342, 0}}},
    {0x1FC7, {{0x397, 0x342, 0x399}}, {{0x397, 0x342, 0x345}}},
    {0x1FCC, {{0x397, 0x399, 0}}, {{0x1FCC, 0, 0}}},
    {0x1FD2, {{0x399, 0x308, 0x300}}, {{0x399, 0x308, 0x300}}},
    {0x1FD3, {{0x399, 0x308, 0x301}}, {{0x399, 0x308, 0x301}}},
    {0x1FD6, {{0x399, 0x342, 0}}, {{0x399, 0x342, 0}}},
    {0x1FD7, {{0x399, 0x308, 0x342}}, {{0x399, 0x308, 0x342}}},
    {0x1FE2, {{0x3A5, 0x308, 0x300}}, {{0x3A5, 0x308, 0x300}}},
    {0x1FE3, {{0x3A5, 0x308, 0x301}}, {{0x3A5, 0x308, 0x301}}},
    {0x1FE4, {{0x3A1, 0x313, 0}}, {{0x3A1, 0x313, 0}}},
    {0x1FE6, {{0x3A5, 0x342, 0}}, {{0x3A5, 0x342, 0}}},
    {0x1FE7, {{0x3A5, 0x308, 0x342}}, {{0x3A5, 0x308, 0x342}}},
    {0x1FF2, {{0x1FFA, 0x399, 0}}, {{0x1FFA, 0x345, 0}}},
    {0x1FF3, {{0x3A9, 0x399, 0}}, {{0x1FFC, 0, 0}}},
    {0x1FF4, {{0x38F, 0x399, 0}}, {{0x38F, 0x345, 0}}},
    {0x1FF6, {{0x3A9, 0x342, 0}}, {{0x3A9, 0x342, 0}}},
    {0x1FF7, {{0x3A9, 0x342, 0x399}}, {{0x3A9, 0x342, 0x345}}},
    {0x1FFC, {{0x3A9, 0x399, 0}}, {{0x1FFC, 0, 0}}}, {0xFB00, {{0x46, 0x46, 0}}, {{0x46, 0x66, 0}}},
    {0xFB01, {{0x46, 0x49, 0}}, {{0x46, 0x69, 0}}}, {0xFB02, {{0x46, 0x4C, 0}}, {{0x46, 0x6C, 0}}},
    {0xFB03, {{0x46, 0x46, 0x49}}, {{0x46, 0x66, 0x69}}},
    {0xFB04, {{0x46, 0x46, 0x4C}}, {{0x46, 0x66, 0x6C}}},
    {0xFB05, {{0x53, 0x54, 0}}, {{0x53, 0x74, 0}}}, {0xFB06, {{0x53, 0x54, 0}}, {{0x53, 0x74, 0}}},
    {0xFB13, {{0x544, 0x546, 0}}, {{0x544, 0x576, 0}}},
    {0xFB14, {{0x544, 0x535, 0}}, {{0x544, 0x565, 0}}},
    {0xFB15, {{0x544, 0x53B, 0}}, {{0x544, 0x56B, 0}}},
    {0xFB16, {{0x54E, 0x546, 0}}, {{0x54E, 0x576, 0}}},
    {0xFB17, {{0x544, 0x53D, 0}}, {{0x544, 0x56D, 0}}},
};
// clang-format on

const Special* special(char32_t code) {
  const auto* at = std::lower_bound(std::begin(kSpecials), std::end(kSpecials), code,
                                    [](const Special& s, char32_t c) { return s.code < c; });
  return at != std::end(kSpecials) && at->code == code ? at : nullptr;
}

void append_all(std::string& out, const std::array<char32_t, 3>& codes) {
  for (const char32_t c : codes)
    if (c) unicode::append_utf8(out, c);
}

void append_upper(std::string& out, char32_t code) {
  if (const Special* s = special(code)) return append_all(out, s->upper);
  unicode::append_utf8(
      out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
}

void append_title(std::string& out, char32_t code) {
  if (const Special* s = special(code)) return append_all(out, s->title);
  unicode::append_utf8(
      out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
}

bool is_cased(char32_t c) {
  const int category = unicode::category(c);
  if (category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
      category == UTF8PROC_CATEGORY_LT)
    return true;
  // Other_Lowercase and Other_Uppercase (PropList.txt).
  static constexpr std::pair<char32_t, char32_t> kOther[] = {
      {0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},
      {0x2E0, 0x2E4},     {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},
      {0x1D78, 0x1D78},   {0x1D9B, 0x1DBF},   {0x2071, 0x2071},   {0x207F, 0x207F},
      {0x2090, 0x209C},   {0x2160, 0x217F},   {0x24B6, 0x24E9},   {0x2C7C, 0x2C7D},
      {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},   {0xAB5C, 0xAB5F},
      {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA},
      {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
  return std::any_of(std::begin(kOther), std::end(kOther),
                     [&](const auto& range) { return c >= range.first && c <= range.second; });
}

bool is_case_ignorable(char32_t c) {
  const int category = unicode::category(c);
  if (category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
      category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
      category == UTF8PROC_CATEGORY_SK)
    return true;
  static constexpr char32_t kMiddle[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                         0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                         0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  return std::find(std::begin(kMiddle), std::end(kMiddle), c) != std::end(kMiddle);
}

// Σ ends a word: a cased character before it and none after, what may be ignored left out.
bool is_final_sigma(std::string_view text, size_t at) {
  size_t before = at;
  bool cased_before = false;
  while (before > 0) {
    before = unicode::previous_start(text, before);
    const char32_t c = unicode::decode_at(text, before).code;
    if (is_case_ignorable(c)) continue;
    cased_before = is_cased(c);
    break;
  }
  if (!cased_before) return false;
  for (size_t after = at + 2; after < text.size();) {
    const auto [c, size] = unicode::decode_at(text, after);
    after += size;
    if (!is_case_ignorable(c)) return !is_cased(c);
  }
  return true;
}

void append_lower(std::string& out, std::string_view text, size_t at, char32_t code) {
  if (code == 0x130) {
    out += "i\xCC\x87";
  } else if (code == 0x3A3) {
    unicode::append_utf8(out, is_final_sigma(text, at) ? 0x3C2 : 0x3C3);
  } else {
    unicode::append_utf8(
        out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
  }
}

template <class Each>
std::string mapped(std::string_view text, Each each) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto [code, size] = unicode::decode_at(text, at);
    each(out, at, code);
    at += size;
  }
  return out;
}

}  // namespace

std::string upper(std::string_view text) {
  return mapped(text, [](std::string& out, size_t, char32_t code) { append_upper(out, code); });
}

std::string lower(std::string_view text) {
  return mapped(
      text, [&](std::string& out, size_t at, char32_t code) { append_lower(out, text, at, code); });
}

std::string title(std::string_view text) {
  bool in_word = false;
  return mapped(text, [&](std::string& out, size_t at, char32_t code) {
    if (in_word)
      append_lower(out, text, at, code);
    else
      append_title(out, code);
    in_word = is_cased(code);
  });
}

std::string capitalize(std::string_view text) {
  return mapped(text, [&](std::string& out, size_t at, char32_t code) {
    if (at == 0)
      append_title(out, code);
    else
      append_lower(out, text, at, code);
  });
}

CaseKind case_of(char32_t code) {
  if (unicode::category(code) == UTF8PROC_CATEGORY_LT) return CaseKind::kTitle;
  if (!is_cased(code)) return CaseKind::kNone;
  const int category = unicode::category(code);
  const bool other_upper = (code >= 0x2160 && code <= 0x216F) ||
                           (code >= 0x24B6 && code <= 0x24CF) ||
                           (code >= 0x1F130 && code <= 0x1F189);
  return category == UTF8PROC_CATEGORY_LU || other_upper ? CaseKind::kUpper : CaseKind::kLower;
}

}  // namespace ocellus::jinja
