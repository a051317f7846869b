#include "data/tokenizer_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <optional>

#include "data/unicode.h"

namespace ocellus::tokenizer {
namespace {

struct Item {
  char32_t code;
  int change;
  int rank;  // canonical combining class
};

int combining_class(char32_t code) {
  if (code < 0x300 || unicode::has_no_form(code)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class;
}

/// All characters decomposed, marks in canonical order.
std::vector<Item> decomposed(std::string_view text, bool compatible) {
  std::vector<Item> out;
  out.reserve(text.size());
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (compatible ? UTF8PROC_COMPAT : 0));
  size_t marks = 0;  // where the run of marks at the end begins
  const auto add = [&](char32_t code, int change) {
    out.push_back({code, change, combining_class(code)});
    if (out.back().rank == 0) {
      std::stable_sort(out.begin() + static_cast<ptrdiff_t>(marks), out.end() - 1,
                       [](const Item& a, const Item& b) { return a.rank < b.rank; });
      marks = out.size();
    }
  };
  for (size_t at = 0; at < text.size();) {
    const unicode::Char c = unicode::decode_at(text, at);
    at += c.size;
    if (c.code < 0x80 || unicode::has_no_form(c.code)) {
      add(c.code, 0);
      continue;
    }
    utf8proc_int32_t parts[32];
    int boundary = UTF8PROC_BOUNDCLASS_START;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.code), parts, 32,
                                           options, &boundary);
    if (n <= 0 || n > 32) add(c.code, 0);
    for (utf8proc_ssize_t i = 0; n <= 32 && i < n; ++i) add(static_cast<char32_t>(parts[i]), i > 0);
  }
  std::stable_sort(out.begin() + static_cast<ptrdiff_t>(marks), out.end(),
                   [](const Item& a, const Item& b) { return a.rank < b.rank; });
  return out;
}

/// The character that two make together.
std::optional<char32_t> composed(char32_t first, char32_t second) {
  if (second < 0x300 || unicode::has_no_form(second) || unicode::has_no_form(first))
    return std::nullopt;
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(first),
                              static_cast<utf8proc_int32_t>(second)};
  const auto n = utf8proc_normalize_utf32(
      pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  return n == 1 ? std::optional(static_cast<char32_t>(pair[0])) : std::nullopt;
}

}  // namespace

std::vector<Change> unicode_form(std::string_view text, bool compose, bool compatible) {
  const std::vector<Item> items = decomposed(text, compatible);
  std::vector<Change> out;
  out.reserve(items.size());
  if (!compose) {
    for (const Item& item : items) out.push_back({item.code, item.change});
    return out;
  }
  constexpr size_t kNone = SIZE_MAX;
  size_t base = kNone;  // the character in `out` that later ones may join
  int last = -1;        // class of the mark between it and the end; -1: there is none
  for (const Item& item : items) {
    const bool blocked = last >= item.rank && last >= 0;
    if (base != kNone && !blocked) {
      if (const auto joined = composed(out[base].code, item.code)) {
        out[base].code = *joined;
        out[base].change += item.change - 1;
        continue;
      }
    }
    out.push_back({item.code, item.change});
    last = item.rank;
    if (item.rank == 0) {
      base = out.size() - 1;
      last = -1;
    }
  }
  return out;
}

}  // namespace ocellus::tokenizer
