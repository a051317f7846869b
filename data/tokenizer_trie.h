// A trie over byte strings, in three flat arrays. Built once, from all strings at the same time.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace ocellus::tokenizer {

class Trie {
 public:
  static constexpr int32_t kNone = -1;
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kMissing = UINT32_MAX;

  Trie() { build({}); }
  /// Strings and their values (≥ 0); of equal strings the last counts. The empty string is ignored.
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> strings) {
    build(std::move(strings));
  }

  bool empty() const { return nodes_.size() <= 1; }
  /// The child of `node` for `byte`, or kMissing.
  uint32_t child(uint32_t node, uint8_t byte) const {
    if (node == kRoot) return root_[byte];
    const Node& n = nodes_[node];
    for (uint32_t i = 0; i < n.children; ++i)
      if (bytes_[n.first + i] >= byte) return bytes_[n.first + i] == byte ? n.first + i : kMissing;
    return kMissing;
  }
  /// The value of the string that ends at `node`, or kNone.
  int32_t value(uint32_t node) const { return nodes_[node].value; }
  bool starts_with(uint8_t byte) const { return root_[byte] != kMissing; }

 private:
  struct Node {
    uint32_t first = 0;  // children lie side by side, in order of their bytes
    uint32_t children = 0;
    int32_t value = kNone;
  };
  void build(std::vector<std::pair<std::string_view, int32_t>> strings);

  std::vector<Node> nodes_;
  std::vector<uint8_t> bytes_;  // bytes_[n] leads to node n
  std::array<uint32_t, 256> root_;
};

/// Strings searched for from left to right: the longest at the first place where one fits.
class StringMatcher {
 public:
  struct Match {
    size_t begin, end;
    uint32_t value;
  };
  StringMatcher() = default;
  explicit StringMatcher(std::vector<std::pair<std::string_view, int32_t>> strings)
      : trie_(std::move(strings)) {}
  bool empty() const { return trie_.empty(); }
  /// The first match at or after `from`; false if there is none.
  bool find(std::string_view text, size_t from, Match& match) const;

 private:
  Trie trie_;
};

}  // namespace ocellus::tokenizer
