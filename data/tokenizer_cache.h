// Words that a thread has already encoded.
#pragma once
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace ocellus::tokenizer {

/// A direct-mapped table of short words and their ids: a new word takes the place of an old one, so
/// the memory is bounded (1 MiB). Each thread has its own, so nothing is locked.
class WordCache {
 public:
  /// A number for a model, never given twice.
  static uint64_t new_owner() {
    static std::atomic<uint64_t> counter{0};
    return ++counter;
  }

  /// The calling thread's table for the model `owner`; the four models used last keep theirs.
  static WordCache& of(uint64_t owner) {
    thread_local std::array<WordCache, 4> caches;
    thread_local uint64_t clock = 0;
    WordCache* oldest = &caches[0];
    for (WordCache& cache : caches) {
      if (cache.owner_ == owner) {
        cache.used_ = ++clock;
        return cache;
      }
      if (cache.used_ < oldest->used_) oldest = &cache;
    }
    oldest->owner_ = owner;
    oldest->used_ = ++clock;
    oldest->entries_ = std::make_unique<Entry[]>(kEntries);
    return *oldest;
  }

  /// Appends the ids of `word` (not empty); `encode_word(word, ids)` appends them if they are
  /// unknown.
  template <class Encode>
  void encode(std::string_view word, std::vector<int32_t>& ids, Encode&& encode_word) {
    if (word.size() > sizeof(Entry::word)) {
      encode_word(word, ids);
      return;
    }
    Entry& entry = entries_[XXH3_64bits(word.data(), word.size()) & (kEntries - 1)];
    if (entry.length == word.size() && std::memcmp(entry.word, word.data(), word.size()) == 0) {
      ids.insert(ids.end(), entry.ids, entry.ids + entry.count);
      return;
    }
    const size_t before = ids.size();
    encode_word(word, ids);
    const size_t count = ids.size() - before;
    if (count > std::size(entry.ids)) return;
    std::memcpy(entry.word, word.data(), word.size());
    entry.length = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(count);
    std::copy(ids.begin() + static_cast<ptrdiff_t>(before), ids.end(), entry.ids);
  }

 private:
  static constexpr size_t kEntries = 1 << 14;
  struct alignas(64) Entry {
    char word[28];
    uint8_t length, count;
    int32_t ids[8];
  };

  uint64_t owner_ = 0, used_ = 0;
  std::unique_ptr<Entry[]> entries_;
};

}  // namespace ocellus::tokenizer
