// SentencePiece's precompiled character map (the normalizer "Precompiled").
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

/// A double-array trie of source strings (darts-clone layout) and the texts that replace them.
class CharsMap {
 public:
  /// `base64`: four bytes trie size, trie, texts that end with a zero byte. Throws FormatError.
  CharsMap(std::string_view base64, const Where& where);

  /// Replaces each grapheme cluster shorter than six bytes that begins with a source string by its
  /// text, and in other clusters each character. False if nothing is replaced.
  bool normalize(std::string_view text, std::vector<Change>& changes) const;

 private:
  /// What replaces a text that begins with the shortest matching source string.
  std::optional<std::string_view> find(std::string_view text) const;

  std::vector<uint32_t> trie_;
  std::string texts_;
  std::array<std::optional<std::string_view>, 128> ascii_;
};

}  // namespace ocellus::tokenizer
