// One allocator for host and device memory. Sizes are rounded up to 512 bytes; requests of at most
// 1 MiB are packed in 2 MiB slabs; larger ones take the best-fitting cached block, split when the rest
// is worth keeping. When the device refuses: give all cached blocks back, try once more, then throw
// OutOfMemory with a table that says who holds what.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/memory/raw_memory.h"

namespace ocellus {

struct MemoryStats {
  uint64_t in_use = 0;     // bytes handed out, rounded sizes
  uint64_t peak = 0;       // largest in_use since reset_peak()
  uint64_t reserved = 0;   // bytes held from the device, in use or cached
  uint64_t requests = 0;   // calls of allocate()
  uint64_t raw_calls = 0;  // of them, how many reached the device
  uint64_t flushes = 0;    // times that all cached blocks were given back
};

class CachingAllocator;

/// Memory — one block, returned to its allocator by the destructor. It keeps that allocator alive,
/// so the order of destruction never matters.
class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();
  /// A block that someone else owns (a mapped file): never returned, `keep_alive` held until then.
  static Memory borrowed(void* pointer, size_t bytes, std::shared_ptr<const void> keep_alive);

  void* data() const { return pointer_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  friend class CachingAllocator;
  void* pointer_ = nullptr;
  size_t bytes_ = 0;  // as requested
  Device device_;
  std::shared_ptr<CachingAllocator> allocator_;
  std::shared_ptr<const void> keep_alive_;
};

class CachingAllocator : public std::enable_shared_from_this<CachingAllocator> {
 public:
  static constexpr size_t kRound = 512;
  static constexpr size_t kSmall = size_t{1} << 20;
  static constexpr size_t kSlab = size_t{2} << 20;

  explicit CachingAllocator(std::unique_ptr<RawMemory> raw);
  ~CachingAllocator();

  /// A block of at least `bytes`, aligned to 512 bytes, uninitialised, owned by `owner` (a literal:
  /// the op that asked). Throws OutOfMemory.
  Memory allocate(size_t bytes, const char* owner);

  /// Gives every cached block that is not in use back to the device.
  void release_cached();
  /// No block beyond this many reserved bytes; 0 lifts the limit.
  void set_limit(size_t bytes);
  /// Writes a pattern around every block from now on; check_canaries() then finds who wrote outside.
  void set_canaries(bool on);
  /// Throws Error naming the owner of the first block whose surroundings were overwritten, live or
  /// given back since.
  void check_canaries() const;

  MemoryStats stats() const;
  void reset_peak();
  /// Bytes in use by owner name, largest first.
  std::vector<std::pair<std::string, uint64_t>> owners() const;
  /// The table of an OutOfMemory error.
  std::string report(size_t requested) const;
  Device device() const { return raw_->device(); }

 private:
  friend class Memory;
  struct Block;
  struct BySize {
    bool operator()(const Block* a, const Block* b) const;
  };

  Block* find_or_create(size_t rounded);
  Block* take_cached(std::set<Block*, BySize>& pool, size_t rounded);
  void* raw_allocate(size_t bytes);
  void split(Block* block, size_t rounded);
  Block* merge_neighbours(Block* block);
  void give_back(void* pointer, size_t bytes);
  void release_cached_locked();
  bool canary_intact(const Block& block) const;
  static std::string violation_of(const Block& block);
  std::string report_locked(size_t requested) const;
  std::set<Block*, BySize>& pool_of(const Block& block);

  std::unique_ptr<RawMemory> raw_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, Block*> live_;       // by the pointer handed out
  std::map<std::string, uint64_t, std::less<>> owners_;
  std::unique_ptr<std::set<Block*, BySize>> small_, large_;  // cached, by size
  MemoryStats stats_;
  size_t limit_ = 0;
  bool canaries_ = false;
  std::string first_violation_;  // of a block that was given back overwritten
};

/// The allocator of a device: the host's always; others once registered.
const std::shared_ptr<CachingAllocator>& allocator_of(Device device);
bool has_allocator(Device device);
void register_allocator(std::shared_ptr<CachingAllocator> allocator);

/// PeakScope — peak bytes in use while it lives, above what was in use when it began.
class PeakScope {
 public:
  explicit PeakScope(Device device = kCpu);
  uint64_t peak_bytes() const;

 private:
  std::shared_ptr<CachingAllocator> allocator_;
  uint64_t at_start_;
};

}  // namespace ocellus
