// Byte-pair encoding: a word is cut into symbols, then the adjacent pair of the lowest rank is
// merged until no pair of neighbours has a rank (Sennrich et al. 2016, arXiv:1508.07909).
#pragma once
#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

struct BpeSettings {
  std::optional<std::string> unk_token;
  std::string continuing_prefix;  // written before every symbol of a word but the first
  std::string word_suffix;        // written after the last symbol of a word
  bool fuse_unk = false;          // neighbouring unknown symbols become one
  bool byte_fallback = false;     // unknown symbols become tokens <0x00> to <0xFF>
  bool ignore_merges = false;     // a word that is in the vocabulary is taken whole
  bool bytes = false;             // pieces are raw bytes; vocabulary strings are their visible form
};

/// A merge of two tokens; equal ranks mean the leftmost place first.
struct BpeMerge {
  int32_t left, right, result, rank;
};

/// `where` names the model section in messages. Throws FormatError.
std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, const std::vector<BpeMerge>& merges,
                                BpeSettings settings, const Where& where);

/// Words with their counts to merges, as the trainer of Hugging Face finds them: the most frequent
/// pair first, of equal ones that with the smaller ids. Every character of a word must be one of
/// `first_tokens`. A merge makes a token of the text of both parts, with the next free id unless a
/// token has that text already. Ends at `vocab_size` tokens or when no pair is left.
struct BpeTraining {
  std::vector<std::string> tokens;                  // by id
  std::vector<std::pair<int32_t, int32_t>> merges;  // in order of rank
};
BpeTraining train_bpe(const std::vector<std::pair<std::string, int64_t>>& word_counts,
                      const std::vector<std::string>& first_tokens, size_t vocab_size);

}  // namespace ocellus::tokenizer
