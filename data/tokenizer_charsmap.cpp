#include "data/tokenizer_charsmap.h"

#include <utf8proc.h>

#include <algorithm>

#include "data/tokenizer_base64.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

CharsMap::CharsMap(std::string_view base64, const Where& where) {
  const std::optional<std::string> bytes = decode_base64(base64);
  check<FormatError>(bytes.has_value(), "{}: not base64", where.text());
  const auto word = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i)
      value |= static_cast<uint32_t>(static_cast<uint8_t>((*bytes)[at + i])) << (8 * i);
    return value;
  };
  check<FormatError>(bytes->size() >= 4 && word(0) % 4 == 0 && word(0) <= bytes->size() - 4,
                     "{}: {} bytes do not hold the trie they announce", where.text(),
                     bytes->size());
  const size_t size = word(0);
  trie_.reserve(size / 4);
  for (size_t at = 4; at < 4 + size; at += 4) trie_.push_back(word(at));
  texts_ = bytes->substr(4 + size);
  for (char c = 0; static_cast<unsigned char>(c) < 128; ++c) {
    ascii_[static_cast<size_t>(c)] = find(std::string_view(&c, 1));
    if (c == 127) break;
  }
}

std::optional<std::string_view> CharsMap::find(std::string_view text) const {
  const auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  if (trie_.empty()) return std::nullopt;
  size_t node = offset(trie_[0]);
  for (char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte == 0) break;
    node ^= byte;
    if (node >= trie_.size()) return std::nullopt;
    const uint32_t unit = trie_[node];
    if ((unit & (1u << 31 | 0xFFu)) != byte) return std::nullopt;
    node ^= offset(unit);
    if (!(unit >> 8 & 1)) continue;
    if (node >= trie_.size()) return std::nullopt;
    const size_t begin = trie_[node] & ~(1u << 31);
    if (begin > texts_.size()) return std::nullopt;
    const size_t end = std::min(texts_.find('\0', begin), texts_.size());
    const std::string_view found = std::string_view(texts_).substr(begin, end - begin);
    return unicode::is_valid_utf8(found) ? std::optional(found) : std::nullopt;
  }
  return std::nullopt;
}

namespace {

/// `part`, or what replaces it: the last characters of a longer text are inserted, a shorter one
/// swallows with its last character, or with the one before it.
void add(std::string_view part, const std::optional<std::string_view>& replacement,
         std::vector<Change>& changes) {
  const size_t before = changes.size();
  const std::string_view text = replacement.value_or(part);
  for (size_t at = 0; at < text.size();) {
    const unicode::Char c = unicode::decode_at(text, at);
    changes.push_back({c.code, 0});
    at += c.size;
  }
  if (!replacement) return;
  const auto count = [](std::string_view s) {
    return static_cast<int>(
        std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  const int more = static_cast<int>(changes.size() - before) - count(part);
  for (int i = 1; i <= more; ++i) changes[changes.size() - static_cast<size_t>(i)].change = 1;
  if (more < 0 && !changes.empty()) changes.back().change += more;
}

}  // namespace

bool CharsMap::normalize(std::string_view text, std::vector<Change>& changes) const {
  changes.clear();
  changes.reserve(text.size());
  bool modified = false;
  for (size_t at = 0; at < text.size();) {
    const unicode::Char first = unicode::decode_at(text, at);
    // The cluster that begins here: characters up to the next boundary (UAX 29).
    size_t end = at + first.size;
    utf8proc_int32_t state = 0;
    char32_t last = first.code;
    while (end < text.size()) {
      if (last < 0x80 && static_cast<unsigned char>(text[end]) < 0x80 && text[end] != '\n') break;
      const unicode::Char next = unicode::decode_at(text, end);
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last),
                                           static_cast<utf8proc_int32_t>(next.code), &state))
        break;
      end += next.size;
      last = next.code;
    }
    const std::string_view cluster = text.substr(at, end - at);
    at = end;
    if (cluster.size() < 6) {
      const auto found =
          cluster.size() == 1 ? ascii_[static_cast<uint8_t>(cluster[0])] : find(cluster);
      if (found || cluster.size() == first.size) {
        add(cluster, found, changes);
        modified |= found.has_value();
        continue;
      }
    }
    for (size_t i = 0; i < cluster.size();) {
      const size_t size = unicode::decode_at(cluster, i).size;
      const std::string_view character = cluster.substr(i, size);
      const auto found = find(character);
      add(character, found, changes);
      modified |= found.has_value();
      i += size;
    }
  }
  return modified;
}

}  // namespace ocellus::tokenizer
