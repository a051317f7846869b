// Where Hugging Face `tokenizers` uses older tables: its normalization forms
// and combining marks are those of Unicode 9, its BERT classes those of Unicode 8. A range lists
// what is newer; inside it only characters of the class in question count.
#include <algorithm>
#include <span>

#include <utf8proc.h>

#include "data/unicode.h"

namespace ocellus::unicode {
namespace {

struct Range {
  char32_t first, last;
};
constexpr Range kMarksSince10[] = {
    {0x7FD, 0x7FD},     {0x898, 0x8D3},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},
    {0xB55, 0xB55},     {0xC04, 0xC3C},     {0xD00, 0xD00},     {0xD3B, 0xD3C},
    {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x180F, 0x180F},
    {0x1ABF, 0x1ACE},   {0x1CF7, 0x1CF7},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},
    {0xA8FF, 0xA8FF},   {0x10D24, 0x10F85}, {0x11070, 0x11074}, {0x110C2, 0x110C2},
    {0x11145, 0x11146}, {0x111C9, 0x111C9}, {0x111CE, 0x111CF}, {0x1133B, 0x1133B},
    {0x1145E, 0x1145E}, {0x1182C, 0x11A99}, {0x11D31, 0x11EF6}, {0x16F4F, 0x16F4F},
    {0x16F7F, 0x16F87}, {0x16FE4, 0x16FF1}, {0x1CF00, 0x1CF46}, {0x1E130, 0x1E2EF}};
constexpr Range kFormsSince10[] = {{0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xAB69, 0xAB69},
                                   {0x10781, 0x107BA}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
constexpr Range kAccentsSince9[] = {
    {0x7FD, 0x7FD},     {0x898, 0x8E1},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},
    {0xB55, 0xB55},     {0xC04, 0xC3C},     {0xD00, 0xD00},     {0xD3B, 0xD3C},
    {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0x180F, 0x1886},   {0x1ABF, 0x1ACE},
    {0x1DF6, 0x1DFB},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},
    {0xA9BD, 0xA9BD},   {0x10D24, 0x10F85}, {0x11070, 0x11074}, {0x110C2, 0x110C2},
    {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x1123E}, {0x1133B, 0x1133B},
    {0x11438, 0x1145E}, {0x1182F, 0x11EF4}, {0x16F4F, 0x16F4F}, {0x16FE4, 0x16FE4},
    {0x1CF00, 0x1CF46}, {0x1E000, 0x1E2EF}, {0x1E944, 0x1E94A}};
constexpr Range kPunctuationSince9[] = {{0x61D, 0x61D},     {0x9FD, 0xA76},     {0xC77, 0xC84},
                                        {0x1B7D, 0x1B7E},   {0x2E43, 0x2E5D},   {0x10EAD, 0x10F89},
                                        {0x1144B, 0x1145D}, {0x11660, 0x116B9}, {0x1183B, 0x11FFF},
                                        {0x12FF1, 0x12FF2}, {0x16E97, 0x16FE2}, {0x1E95E, 0x1E95F}};

bool inside(std::span<const Range> ranges, char32_t code) {
  const auto it = std::upper_bound(ranges.begin(), ranges.end(), code,
                                   [](char32_t c, const Range& r) { return c < r.first; });
  return it != ranges.begin() && code <= (it - 1)->last;
}

}  // namespace

bool is_combining_mark(char32_t code) {
  if (code == 0x1CF2 || code == 0x1CF3) return true;
  return class_of(code) & kMark && !inside(kMarksSince10, code);
}

bool has_no_form(char32_t code) {
  return (class_of(code) & kMark && inside(kMarksSince10, code)) || inside(kFormsSince10, code);
}

bool is_bert_control(char32_t code) {
  if (code == 0x890 || code == 0x891 || code == 0x8E2 || code == 0x110CD ||
      (code >= 0x13430 && code <= 0x13438))
    return false;
  const int c = category(code);
  return (c == UTF8PROC_CATEGORY_CC && code != '\t' && code != '\n' && code != '\r') ||
         c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CO;
}

bool is_bert_accent(char32_t code) {
  if (code == 0x1734) return true;
  return category(code) == UTF8PROC_CATEGORY_MN && !inside(kAccentsSince9, code);
}

bool is_bert_punctuation(char32_t code) {
  if (code < 0x80) return class_of(code) & (kPunctuation | kSymbol);
  if (code == 0x166D || code == 0x111C9) return true;
  return class_of(code) & kPunctuation && !inside(kPunctuationSince9, code);
}

}  // namespace ocellus::unicode
