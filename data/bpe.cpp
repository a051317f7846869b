#include "data/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

#include "data/tokenizer_cache.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

constexpr int32_t kNoRank = INT32_MAX;

/// (left, right) → rank and result, open addressing.
class MergeTable {
 public:
  struct Entry {
    uint64_t key = ~uint64_t{0};
    int32_t rank = kNoRank, result = -1;
  };

  void build(const std::vector<BpeMerge>& merges) {
    const size_t size = std::bit_ceil(merges.size() * 2 + 2);
    entries_.assign(size, {});
    shift_ = 64 - std::countr_zero(size);
    for (const BpeMerge& m : merges) {
      const uint64_t key = key_of(m.left, m.right);
      size_t slot = slot_of(key);
      while (entries_[slot].key != ~uint64_t{0} && entries_[slot].key != key)
        slot = (slot + 1) & (size - 1);
      entries_[slot] = {key, m.rank, m.result};  // of repeated pairs the last counts
    }
  }

  const Entry& find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    size_t slot = slot_of(key);
    while (entries_[slot].key != key && entries_[slot].key != ~uint64_t{0})
      slot = (slot + 1) & (entries_.size() - 1);
    return entries_[slot].key == key ? entries_[slot] : none_;
  }

 private:
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const { return (key ^ key >> 29) * 0x9E3779B97F4A7C15ull >> shift_; }

  std::vector<Entry> entries_;
  Entry none_;
  int shift_ = 63;
};

class Bpe final : public Model {
 public:
  Bpe(Vocabulary vocabulary, const std::vector<BpeMerge>& merges, BpeSettings settings,
      const Where& where)
      : vocabulary_(std::move(vocabulary)), settings_(std::move(settings)), where_(where.text()) {
    merges_.build(merges);
    if (settings_.unk_token) {
      unk_ = vocabulary_.find(*settings_.unk_token);
      unk_missing_ = unk_ < 0;
    }
    if (settings_.byte_fallback)
      for (int b = 0; b < 256; ++b) fallback_[b] = vocabulary_.find(fmt::format("<0x{:02X}>", b));
    if (settings_.bytes)
      prepare_bytes(where);
    else
      cut_at_sign_ = !settings_.ignore_merges && plain() && vocabulary_.find(kSign) >= 0 &&
                     keeps_all_characters() &&
                     std::none_of(merges.begin(), merges.end(),
                                  [&](const BpeMerge& m) { return crosses_sign(m.result); });
  }

  void encode(const Pieces& pieces, std::vector<int32_t>& ids) const override {
    WordCache& cache = WordCache::of(owner_);
    const auto encode_new = [this](auto word, auto& out) { encode_word(word, out); };
    for (const Span& span : pieces.spans) {
      std::string_view word = pieces.piece(span);
      while (!word.empty()) {
        const size_t size = cut_at_sign_ ? first_cut(word) : word.size();
        cache.encode(word.substr(0, size), ids, encode_new);
        word.remove_prefix(size);
      }
    }
  }

  void encode_piece(std::string_view piece, std::vector<int32_t>& ids,
                    std::vector<TextRange>& places) const override {
    if (const int32_t id = whole_word(piece); id >= 0) {
      ids.push_back(id);
      places.push_back({0, piece.size()});
      return;
    }
    const std::vector<size_t> byte_of = bytes_of_symbols_in(piece);
    size_t covered = 0;  // bytes that symbols stand for: fewer than passed if some have no token
    for (size_t begin = 0; begin < piece.size();) {
      const std::string_view rest = piece.substr(begin);
      const std::string_view word = rest.substr(0, cut_at_sign_ ? first_cut(rest) : rest.size());
      Symbols symbols;
      std::vector<uint32_t> sizes, firsts;
      symbols.sizes = &sizes;
      cut_into(word, symbols);
      merge_long(symbols.ids, ids, &firsts);
      // Symbol k stands for the next sizes[k] bytes; a token for those from its first symbol on.
      std::vector<size_t> starts(1, covered);
      for (const uint32_t size : sizes) starts.push_back(starts.back() + size);
      for (size_t k = 0; k < firsts.size(); ++k) {
        const size_t end = k + 1 < firsts.size() ? starts[firsts[k + 1]] : starts.back();
        const auto byte = [&](size_t i) { return byte_of[std::min(i, byte_of.size() - 1)]; };
        places.push_back({byte(starts[firsts[k]]), byte(end - 1) + 1});
      }
      covered = starts.back();
      begin += word.size();
    }
  }

  std::optional<int32_t> find(std::string_view token) const override {
    const int32_t id = vocabulary_.find(token);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::optional<std::string_view> token(int32_t id) const override { return vocabulary_.token(id); }
  size_t size() const override { return vocabulary_.size(); }
  int32_t id_limit() const override { return vocabulary_.id_limit(); }

 private:
  // SentencePiece vocabularies come without a pre-tokenizer, so the whole text is one word. If no
  // merge joins a character with a blank's sign after it, merges cannot reach across such a place,
  // and the words between can be encoded (and cached) one by one.
  static constexpr std::string_view kSign = "\xE2\x96\x81";  // U+2581

  bool plain() const {
    return settings_.continuing_prefix.empty() && settings_.word_suffix.empty();
  }
  /// Whether every character becomes a symbol: where one is left out, its neighbours would meet.
  bool keeps_all_characters() const {
    return settings_.unk_token ||
           (settings_.byte_fallback &&
            std::all_of(fallback_.begin(), fallback_.end(), [](int32_t id) { return id >= 0; }));
  }
  bool crosses_sign(int32_t id) const {
    const std::string_view token = vocabulary_.token(id).value_or("");
    return first_cut(token) < token.size();
  }
  /// Where the first sign after another character stands, or the end.
  static size_t first_cut(std::string_view word) {
    size_t at = 0;
    while (word.substr(at).starts_with(kSign)) at += kSign.size();
    return std::min(word.find(kSign, at), word.size());
  }

  /// Tables for words given as raw bytes: ids of single bytes, and (for ignore_merges) of whole
  /// words.
  void prepare_bytes(const Where& where) {
    for (int b = 0; b < 256; ++b) {
      const std::string symbol(byte_symbol(static_cast<uint8_t>(b)));
      const std::string& prefix = settings_.continuing_prefix;
      const std::string& suffix = settings_.word_suffix;
      for (int first = 0; first < 2; ++first)
        for (int last = 0; last < 2; ++last)
          byte_ids_[first * 2 + last][b] =
              vocabulary_.find((first ? "" : prefix) + symbol + (last ? suffix : ""));
    }
    if (!settings_.ignore_merges) return;
    for (size_t i = 0; i < vocabulary_.size(); ++i)
      if (const auto bytes = bytes_of_symbols(vocabulary_[i].first))
        byte_words_.add(*bytes, vocabulary_[i].second);
    byte_words_.finish(where);
  }

  /// The id of a word that is taken whole, or -1.
  int32_t whole_word(std::string_view word) const {
    if (!settings_.ignore_merges) return -1;
    return (settings_.bytes ? byte_words_ : vocabulary_).find(word);
  }

  /// What a word is cut into before merging, and how many bytes of it (of its visible form, if it
  /// is raw bytes) each symbol stands for.
  struct Symbols {
    std::vector<int32_t> ids;
    std::vector<uint32_t>* sizes = nullptr;  // if not null, kept beside the ids
    void push(int32_t id, size_t size) {
      ids.push_back(id);
      if (sizes) sizes->push_back(static_cast<uint32_t>(size));
    }
  };

  void encode_word(std::string_view word, std::vector<int32_t>& ids) const {
    if (const int32_t id = whole_word(word); id >= 0) {
      ids.push_back(id);
      return;
    }
    thread_local Symbols symbols;
    symbols.ids.clear();
    cut_into(word, symbols);
    if (symbols.ids.size() <= 48)
      merge_short(symbols.ids, ids);
    else
      merge_long(symbols.ids, ids, nullptr);
  }

  void cut_into(std::string_view word, Symbols& symbols) const {
    if (settings_.bytes)
      byte_symbols_of(word, symbols);
    else
      char_symbols_of(word, symbols);
  }

  /// The byte of `piece` that a byte of its symbols belongs to: itself, or for raw bytes the one
  /// whose visible form has it.
  std::vector<size_t> bytes_of_symbols_in(std::string_view piece) const {
    std::vector<size_t> out;
    for (size_t i = 0; i < piece.size(); ++i)
      out.insert(out.end(),
                 settings_.bytes ? byte_symbol(static_cast<uint8_t>(piece[i])).size() : 1, i);
    return out;
  }

  /// What to do with one symbol and with unknown ones; the order of an unknown symbol and of byte
  /// tokens after it is that of the original: the byte tokens come first.
  struct Unknown {
    bool pending = false;
    size_t size = 0;  // bytes it stands for
  };
  /// `size`: how many bytes of the word `text`, which may have affixes, stands for.
  void add_symbol(int32_t id, std::string_view text, size_t size, Unknown& unknown,
                  Symbols& symbols) const {
    if (id >= 0) {
      flush(unknown, symbols);
      symbols.push(id, size);
      return;
    }
    if (settings_.byte_fallback && std::all_of(text.begin(), text.end(), [&](char c) {
          return fallback_[static_cast<uint8_t>(c)] >= 0;
        })) {
      for (char c : text) symbols.push(fallback_[static_cast<uint8_t>(c)], 1);
      return;
    }
    if (!settings_.unk_token) return;
    check<FormatError>(!unk_missing_,
                       "{}: the text needs unk_token \"{}\", which is not in the vocabulary",
                       where_, *settings_.unk_token);
    if (unknown.pending && !settings_.fuse_unk) flush(unknown, symbols);
    unknown.pending = true;
    unknown.size += size;
  }
  void flush(Unknown& unknown, Symbols& symbols) const {
    if (unknown.pending) symbols.push(unk_, unknown.size);
    unknown = {};
  }

  void byte_symbols_of(std::string_view word, Symbols& symbols) const {
    Unknown unknown;
    const size_t last = word.size() - 1;
    for (size_t i = 0; i < word.size(); ++i) {
      const auto byte = static_cast<uint8_t>(word[i]);
      const int32_t id = byte_ids_[(i == 0) * 2 + (i == last)][byte];
      if (id >= 0) {
        flush(unknown, symbols);
        symbols.push(id, byte_symbol(byte).size());
      } else {
        add_symbol(-1, affixed(byte_symbol(byte), i == 0, i == last), byte_symbol(byte).size(),
                   unknown, symbols);
      }
    }
    flush(unknown, symbols);
  }

  void char_symbols_of(std::string_view word, Symbols& symbols) const {
    Unknown unknown;
    const bool plain = this->plain();
    for (size_t at = 0; at < word.size();) {
      const size_t size = unicode::decode_at(word, at).size;
      std::string_view text = word.substr(at, size);
      std::string with_affixes;
      if (!plain) {
        with_affixes = affixed(text, at == 0, at + size == word.size());
        text = with_affixes;
      }
      add_symbol(vocabulary_.find(text), text, size, unknown, symbols);
      at += size;
    }
    flush(unknown, symbols);
  }

  std::string affixed(std::string_view symbol, bool first, bool last) const {
    return (first ? "" : settings_.continuing_prefix) + std::string(symbol) +
           (last ? settings_.word_suffix : "");
  }

  /// Repeatedly the lowest rank, found by scanning; quadratic, for short words.
  void merge_short(std::vector<int32_t>& symbols, std::vector<int32_t>& ids) const {
    const MergeTable::Entry* pairs[48];  // pairs[i]: symbols i and i + 1
    size_t n = symbols.size();
    for (size_t i = 0; i + 1 < n; ++i) pairs[i] = &merges_.find(symbols[i], symbols[i + 1]);
    while (n > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < n; ++i)
        if (pairs[i]->rank < pairs[best]->rank) best = i;
      if (pairs[best]->rank == kNoRank) break;
      symbols[best] = pairs[best]->result;
      --n;
      for (size_t i = best + 1; i < n; ++i) {
        symbols[i] = symbols[i + 1];
        pairs[i - 1] = pairs[i];
      }
      if (best + 1 < n) pairs[best] = &merges_.find(symbols[best], symbols[best + 1]);
      if (best > 0) pairs[best - 1] = &merges_.find(symbols[best - 1], symbols[best]);
    }
    ids.insert(ids.end(), symbols.begin(), symbols.begin() + static_cast<ptrdiff_t>(n));
  }

  /// The same with a heap of candidates (rank, place) and a linked list: n log n. `firsts`, unless
  /// null, gets the first symbol of each token.
  void merge_long(std::vector<int32_t>& symbols, std::vector<int32_t>& ids,
                  std::vector<uint32_t>* firsts) const {
    const auto n = static_cast<uint32_t>(symbols.size());
    constexpr uint32_t kEnd = UINT32_MAX;
    std::vector<uint32_t> next(n), previous(n);
    using Candidate = std::pair<int32_t, uint32_t>;
    std::vector<Candidate> storage;
    storage.reserve(n);
    std::priority_queue heap(std::greater<Candidate>(), std::move(storage));
    const auto push = [&](uint32_t i) {
      const int32_t rank = merges_.find(symbols[i], symbols[next[i]]).rank;
      if (rank != kNoRank) heap.push({rank, i});
    };
    for (uint32_t i = 0; i < n; ++i) {
      previous[i] = i == 0 ? kEnd : i - 1;
      next[i] = i + 1 == n ? kEnd : i + 1;
    }
    for (uint32_t i = 0; i + 1 < n; ++i) push(i);
    while (!heap.empty()) {
      const auto [rank, i] = heap.top();
      heap.pop();
      if (symbols[i] < 0 || next[i] == kEnd) continue;
      const uint32_t right = next[i];
      const MergeTable::Entry& entry = merges_.find(symbols[i], symbols[right]);
      if (entry.rank != rank) continue;  // the pair has changed since
      symbols[i] = entry.result;
      symbols[right] = -1;
      next[i] = next[right];
      if (next[i] != kEnd) previous[next[i]] = i;
      if (previous[i] != kEnd) push(previous[i]);
      if (next[i] != kEnd) push(i);
    }
    for (uint32_t i = 0; i < n; ++i) {
      if (symbols[i] < 0) continue;
      ids.push_back(symbols[i]);
      if (firsts) firsts->push_back(i);
    }
  }

  Vocabulary vocabulary_, byte_words_;
  MergeTable merges_;
  BpeSettings settings_;
  std::string where_;
  uint64_t owner_ = WordCache::new_owner();
  int32_t unk_ = -1;
  bool unk_missing_ = false;
  bool cut_at_sign_ = false;
  std::array<int32_t, 256> fallback_{};
  std::array<std::array<int32_t, 256>, 4> byte_ids_{};
};

}  // namespace

std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, const std::vector<BpeMerge>& merges,
                                BpeSettings settings, const Where& where) {
  return std::make_unique<Bpe>(std::move(vocabulary), merges, std::move(settings), where);
}

}  // namespace ocellus::tokenizer
