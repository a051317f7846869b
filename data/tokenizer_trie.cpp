#include "data/tokenizer_trie.h"

#include <algorithm>

namespace ocellus::tokenizer {

void Trie::build(std::vector<std::pair<std::string_view, int32_t>> strings) {
  std::stable_sort(strings.begin(), strings.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  nodes_.assign(1, {});
  bytes_.assign(1, 0);
  root_.fill(kMissing);
  // Level by level: each open node owns the range of strings that share its path.
  struct Range {
    uint32_t node;
    size_t begin, end;
  };
  std::vector<Range> level{{kRoot, 0, strings.size()}}, next;
  for (size_t depth = 0; !level.empty(); ++depth, level.swap(next), next.clear()) {
    for (const Range& range : level) {
      size_t i = range.begin;
      for (; i < range.end && strings[i].first.size() == depth; ++i)
        if (depth > 0) nodes_[range.node].value = strings[i].second;
      nodes_[range.node].first = static_cast<uint32_t>(nodes_.size());
      while (i < range.end) {
        const auto byte = static_cast<uint8_t>(strings[i].first[depth]);
        size_t last = i;
        while (last < range.end && static_cast<uint8_t>(strings[last].first[depth]) == byte) ++last;
        next.push_back({static_cast<uint32_t>(nodes_.size()), i, last});
        nodes_.emplace_back();
        bytes_.push_back(byte);
        ++nodes_[range.node].children;
        i = last;
      }
    }
  }
  for (uint32_t i = 0; i < nodes_[kRoot].children; ++i)
    root_[bytes_[nodes_[kRoot].first + i]] = nodes_[kRoot].first + i;
}

bool StringMatcher::find(std::string_view text, size_t from, Match& match) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!trie_.starts_with(static_cast<uint8_t>(text[begin]))) continue;
    bool found = false;
    uint32_t node = Trie::kRoot;
    for (size_t at = begin; at < text.size(); ++at) {
      node = trie_.child(node, static_cast<uint8_t>(text[at]));
      if (node == Trie::kMissing) break;
      if (trie_.value(node) == Trie::kNone) continue;
      match = {begin, at + 1, static_cast<uint32_t>(trie_.value(node))};
      found = true;
    }
    if (found) return true;
  }
  return false;
}

}  // namespace ocellus::tokenizer
