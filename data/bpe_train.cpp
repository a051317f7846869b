// Training of byte-pair encoding. The order of merges is that of Hugging Face `tokenizers`, its
// treatment of a text that two different pairs can form included: both pairs become merges.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "data/bpe.h"
#include "data/unicode.h"

namespace ocellus::tokenizer {
namespace {

using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& p) const {
    return (static_cast<uint64_t>(static_cast<uint32_t>(p.first)) << 32 |
            static_cast<uint32_t>(p.second)) *
           0x9E3779B97F4A7C15ull;
  }
};

struct Candidate {
  int64_t count;
  Pair pair;
  std::vector<uint32_t> words;  // where the pair may stand
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Trainer {
 public:
  Trainer(const std::vector<std::pair<std::string, int64_t>>& word_counts,
          const std::vector<std::string>& first_tokens)
      : tokens_(first_tokens) {
    for (size_t i = 0; i < tokens_.size(); ++i) ids_.emplace(tokens_[i], static_cast<int32_t>(i));
    for (const auto& [word, count] : word_counts) {
      counts_.push_back(count);
      words_.emplace_back();
      for (size_t at = 0, size; at < word.size(); at += size) {
        size = unicode::decode_at(word, at).size;
        words_.back().push_back(ids_.at(word.substr(at, size)));
      }
    }
    for (uint32_t w = 0; w < words_.size(); ++w)
      for (size_t i = 0; i + 1 < words_[w].size(); ++i)
        change({words_[w][i], words_[w][i + 1]}, 1, w);
    enqueue();
  }

  BpeTraining run(size_t vocab_size) {
    std::vector<Pair> merges;
    while (ids_.size() < vocab_size && !queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end());
      Candidate top = std::move(queue_.back());
      queue_.pop_back();
      const int64_t count = pair_counts_.at(top.pair);
      if (top.count != count) {  // it has lost occurrences since it was put in
        top.count = count;
        push(std::move(top));
        continue;
      }
      std::string text = tokens_[top.pair.first] + tokens_[top.pair.second];
      const auto [it, is_new] = ids_.emplace(text, static_cast<int32_t>(tokens_.size()));
      if (is_new) tokens_.push_back(std::move(text));
      merges.push_back(top.pair);
      for (uint32_t w : top.words) merge_in(w, top.pair, it->second);
      enqueue();
    }
    return {std::move(tokens_), without_repeats(merges)};
  }

 private:
  void change(Pair pair, int sign, uint32_t word) {
    pair_counts_[pair] += sign * counts_[word];
    if (sign < 0) return;
    std::vector<uint32_t>& words = new_places_[pair];
    if (words.empty() || words.back() != word) words.push_back(word);
  }

  void enqueue() {
    for (auto& [pair, words] : new_places_) push({pair_counts_.at(pair), pair, std::move(words)});
    new_places_.clear();
  }

  void push(Candidate candidate) {
    if (candidate.count < 1) return;
    queue_.push_back(std::move(candidate));
    std::push_heap(queue_.begin(), queue_.end());
  }

  void merge_in(uint32_t w, Pair pair, int32_t result) {
    std::vector<int32_t>& word = words_[w];
    size_t out = 0;
    for (size_t i = 0; i < word.size(); ++out) {
      if (i + 1 == word.size() || word[i] != pair.first || word[i + 1] != pair.second) {
        word[out] = word[i++];
        continue;
      }
      if (out > 0) {
        change({word[out - 1], pair.first}, -1, w);
        change({word[out - 1], result}, 1, w);
      }
      i += 2;
      if (i < word.size()) {
        change({pair.second, word[i]}, -1, w);
        change({result, word[i]}, 1, w);
      }
      word[out] = result;
    }
    word.resize(out);
  }

  /// A pair merged twice keeps its later rank.
  static std::vector<Pair> without_repeats(const std::vector<Pair>& merges) {
    std::unordered_map<Pair, size_t, PairHash> last;
    for (size_t i = 0; i < merges.size(); ++i) last[merges[i]] = i;
    std::vector<Pair> out;
    for (size_t i = 0; i < merges.size(); ++i)
      if (last[merges[i]] == i) out.push_back(merges[i]);
    return out;
  }

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<std::vector<int32_t>> words_;
  std::vector<int64_t> counts_;
  std::unordered_map<Pair, int64_t, PairHash> pair_counts_;
  std::map<Pair, std::vector<uint32_t>> new_places_;
  std::vector<Candidate> queue_;  // a heap
};

}  // namespace

BpeTraining train_bpe(const std::vector<std::pair<std::string, int64_t>>& word_counts,
                      const std::vector<std::string>& first_tokens, size_t vocab_size) {
  return Trainer(word_counts, first_tokens).run(vocab_size);
}

}  // namespace ocellus::tokenizer
