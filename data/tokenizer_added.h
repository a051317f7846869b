// Added tokens: strings that are cut out of a text before the model sees it.
#pragma once
#include <span>
#include <unordered_map>

#include "data/tokenizer.h"
#include "data/tokenizer_parts.h"
#include "data/tokenizer_trie.h"

namespace ocellus::tokenizer {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false, single_word = false, lstrip = false, rstrip = false, normalized = true;
  std::string normal_form;  // what `content` is after normalization; decoding starts from it
};

class AddedTokens {
 public:
  /// Gives the token its id (that of the same string in the model, else the next free one; the id
  /// in the file does not count) and its normal form.
  void add(AddedToken token, const Model& model, const Normalizer* normalizer);
  /// Builds the matchers; throws FormatError if nothing is left of a token. `where` names the list.
  void finish(const Where& where);

  /// A part of a text: an added token (id ≥ 0) or plain text (-1).
  struct Part {
    size_t begin, end;
    int32_t id;
  };
  /// Cuts `text` at tokens matched before (`normalized` = false) or after normalization. With
  /// `parse` = false, and inside the ranges `literal` (which begin at byte `base` of what they
  /// count in), only tokens made of blanks count.
  void split(std::string_view text, bool normalized, bool parse, std::vector<Part>& parts,
             std::span<const TextRange> literal = {}, size_t base = 0) const;

  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  bool is_special(int32_t id) const;
  /// Whether decoding without special tokens leaves `token` out: that goes by its normal form.
  bool left_out(const AddedToken& token) const;
  int32_t id_limit() const;

 private:
  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, uint32_t> by_content_;
  std::unordered_map<int32_t, uint32_t> by_id_;
  StringMatcher raw_, normalized_;
  int32_t next_id_ = -1;
};

}  // namespace ocellus::tokenizer
