#include "engine/memory/caching_allocator.h"

#include <algorithm>
#include <cstring>

#include "engine/memory/host_memory.h"

namespace ocellus {

// A block is a piece of one raw allocation (a segment); neighbours in it are linked, so that free
// neighbours merge again.
struct CachingAllocator::Block {
  char* start = nullptr;
  size_t size = 0;       // rounded, canaries included
  size_t requested = 0;  // what the caller asked for
  bool in_use = false, small = false, canaries = false;
  Block *previous = nullptr, *next = nullptr;
  const char* owner = "";
};

bool CachingAllocator::BySize::operator()(const Block* a, const Block* b) const {
  return a->size != b->size ? a->size < b->size : a->start < b->start;
}

namespace {
constexpr size_t kCanaryBytes = CachingAllocator::kRound;
constexpr unsigned char kCanary = 0xC5;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }
}  // namespace

Memory::Memory(Memory&& other) noexcept { *this = std::move(other); }
Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(pointer_, other.pointer_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(allocator_, other.allocator_);
  std::swap(keep_alive_, other.keep_alive_);
  return *this;
}
Memory::~Memory() {
  if (allocator_) allocator_->give_back(pointer_, bytes_);
}
Memory Memory::borrowed(void* pointer, size_t bytes, std::shared_ptr<const void> keep_alive) {
  Memory memory;
  memory.pointer_ = pointer;
  memory.bytes_ = bytes;
  memory.keep_alive_ = std::move(keep_alive);
  return memory;
}

CachingAllocator::CachingAllocator(std::unique_ptr<RawMemory> raw)
    : raw_(std::move(raw)),
      small_(std::make_unique<std::set<Block*, BySize>>()),
      large_(std::make_unique<std::set<Block*, BySize>>()) {}

CachingAllocator::~CachingAllocator() { release_cached_locked(); }

std::set<CachingAllocator::Block*, CachingAllocator::BySize>& CachingAllocator::pool_of(
    const Block& block) {
  return block.small ? *small_ : *large_;
}

void* CachingAllocator::raw_allocate(size_t bytes) {
  if (limit_ && stats_.reserved + bytes > limit_) return nullptr;
  void* pointer = raw_->allocate(bytes);
  if (pointer) {
    stats_.reserved += bytes;
    ++stats_.raw_calls;
  }
  return pointer;
}

// The smallest cached block of at least `rounded` bytes, or nullptr.
CachingAllocator::Block* CachingAllocator::take_cached(std::set<Block*, BySize>& pool,
                                                       size_t rounded) {
  Block key;
  key.size = rounded;
  auto found = pool.lower_bound(&key);
  if (found == pool.end()) return nullptr;
  Block* block = *found;
  pool.erase(found);
  return block;
}

// Cuts the rest off a block that is larger than needed and puts the rest back into its pool.
void CachingAllocator::split(Block* block, size_t rounded) {
  const size_t rest = block->size - rounded;
  if (rest < (block->small ? kRound : kSmall)) return;
  Block* tail = new Block;
  tail->start = block->start + rounded;
  tail->size = rest;
  tail->small = block->small;
  tail->previous = block;
  tail->next = block->next;
  if (tail->next) tail->next->previous = tail;
  block->next = tail;
  block->size = rounded;
  pool_of(*tail).insert(tail);
}

CachingAllocator::Block* CachingAllocator::find_or_create(size_t rounded) {
  const bool small = rounded <= kSmall;
  auto& pool = small ? *small_ : *large_;
  // Whatever a block has more than is needed is split off, so less than kSmall is ever wasted.
  if (Block* block = take_cached(pool, rounded)) {
    split(block, rounded);
    return block;
  }
  const size_t segment = small ? kSlab : rounded;
  void* pointer = raw_allocate(segment);
  if (!pointer) {
    release_cached_locked();
    pointer = raw_allocate(segment);
  }
  if (!pointer) return nullptr;
  Block* block = new Block;
  block->start = static_cast<char*>(pointer);
  block->size = segment;
  block->small = small;
  split(block, rounded);
  return block;
}

Memory CachingAllocator::allocate(size_t bytes, const char* owner) {
  std::lock_guard lock(mutex_);
  ++stats_.requests;
  const size_t padding = canaries_ ? 2 * kCanaryBytes : 0;
  check<OutOfMemory>(bytes <= (size_t{1} << 62), "{}: cannot allocate {} bytes", owner, bytes);
  const size_t rounded = round_up(std::max<size_t>(bytes, 1), kRound) + padding;
  Block* block = find_or_create(rounded);
  if (!block) throw OutOfMemory(std::string(owner) + ": " + report_locked(bytes));
  block->in_use = true;
  block->requested = bytes;
  block->owner = owner;
  block->canaries = canaries_;
  char* pointer = block->start + (canaries_ ? kCanaryBytes : 0);
  if (canaries_) {
    std::memset(block->start, kCanary, kCanaryBytes);
    std::memset(pointer + bytes, kCanary, block->size - kCanaryBytes - bytes);
  }
  live_[pointer] = block;
  owners_[owner] += block->size;
  stats_.in_use += block->size;
  stats_.peak = std::max(stats_.peak, stats_.in_use);
  Memory memory;
  memory.pointer_ = pointer;
  memory.bytes_ = bytes;
  memory.device_ = raw_->device();
  memory.allocator_ = shared_from_this();
  return memory;
}

CachingAllocator::Block* CachingAllocator::merge_neighbours(Block* block) {
  if (Block* next = block->next; next && !next->in_use) {
    pool_of(*next).erase(next);
    block->size += next->size;
    block->next = next->next;
    if (block->next) block->next->previous = block;
    delete next;
  }
  if (Block* previous = block->previous; previous && !previous->in_use) {
    pool_of(*previous).erase(previous);
    previous->size += block->size;
    previous->next = block->next;
    if (previous->next) previous->next->previous = previous;
    delete block;
    block = previous;
  }
  return block;
}

void CachingAllocator::give_back(void* pointer, size_t) {
  std::lock_guard lock(mutex_);
  auto found = live_.find(pointer);
  Block* block = found->second;
  live_.erase(found);
  if (first_violation_.empty() && !canary_intact(*block)) first_violation_ = violation_of(*block);
  auto owner = owners_.find(block->owner);
  if ((owner->second -= block->size) == 0) owners_.erase(owner);
  stats_.in_use -= block->size;
  block->in_use = false;
  block = merge_neighbours(block);
  pool_of(*block).insert(block);
}

void CachingAllocator::release_cached_locked() {
  ++stats_.flushes;
  for (auto* pool : {small_.get(), large_.get()})
    for (auto it = pool->begin(); it != pool->end();) {
      Block* block = *it;
      if (block->previous || block->next) {  // part of its segment is still in use
        ++it;
        continue;
      }
      it = pool->erase(it);
      raw_->release(block->start, block->size);
      stats_.reserved -= block->size;
      delete block;
    }
}

void CachingAllocator::release_cached() {
  std::lock_guard lock(mutex_);
  release_cached_locked();
}

void CachingAllocator::set_limit(size_t bytes) {
  std::lock_guard lock(mutex_);
  limit_ = bytes;
}

void CachingAllocator::set_canaries(bool on) {
  check<DeviceError>(raw_->host_visible(), "set_canaries: {} memory is not visible to the host",
                     to_string(raw_->device()));
  std::lock_guard lock(mutex_);
  canaries_ = on;
}

bool CachingAllocator::canary_intact(const Block& block) const {
  if (!block.canaries) return true;
  const auto* bytes = reinterpret_cast<const unsigned char*>(block.start);
  auto untouched = [](unsigned char byte) { return byte == kCanary; };
  return std::all_of(bytes, bytes + kCanaryBytes, untouched) &&
         std::all_of(bytes + kCanaryBytes + block.requested, bytes + block.size, untouched);
}

std::string CachingAllocator::violation_of(const Block& block) {
  return fmt::format("{}: wrote outside of a block of {} bytes it owns", block.owner,
                     block.requested);
}

void CachingAllocator::check_canaries() const {
  std::lock_guard lock(mutex_);
  check<Error>(first_violation_.empty(), "{}", first_violation_);
  for (const auto& [pointer, block] : live_)
    check<Error>(canary_intact(*block), "{}", violation_of(*block));
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.peak = stats_.in_use;
}

std::vector<std::pair<std::string, uint64_t>> CachingAllocator::owners() const {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, uint64_t>> list(owners_.begin(), owners_.end());
  std::sort(list.begin(), list.end(), [](auto& a, auto& b) { return a.second > b.second; });
  return list;
}

std::string CachingAllocator::report(size_t requested) const {
  std::lock_guard lock(mutex_);
  return report_locked(requested);
}

std::string CachingAllocator::report_locked(size_t requested) const {
  size_t largest = 0;
  for (auto* pool : {small_.get(), large_.get()})
    for (const Block* block : *pool) largest = std::max(largest, block->size);
  std::string text = fmt::format(
      "out of memory on {}\n  requested           {:>16} bytes\n  in use              {:>16}\n"
      "  cached              {:>16}\n  largest free block  {:>16}\n  limit               {:>16}\n"
      "  largest owners:",
      to_string(raw_->device()), requested, stats_.in_use, stats_.reserved - stats_.in_use, largest,
      limit_ ? std::to_string(limit_) : "none");
  std::vector<std::pair<std::string, uint64_t>> list(owners_.begin(), owners_.end());
  std::sort(list.begin(), list.end(), [](auto& a, auto& b) { return a.second > b.second; });
  if (list.size() > 10) list.resize(10);
  for (const auto& [owner, bytes] : list) text += fmt::format("\n    {:<18}{:>16}", owner, bytes);
  return text;
}

namespace {
std::vector<std::shared_ptr<CachingAllocator>>& registered() {
  static std::vector<std::shared_ptr<CachingAllocator>> list;
  return list;
}
}  // namespace

const std::shared_ptr<CachingAllocator>& allocator_of(Device device) {
  // Never destroyed: tensors with static lifetime may outlive every other static.
  // The limit: Linux would promise more than there is, and kill the process once it is used.
  static auto* host = [] {
    auto made = std::make_shared<CachingAllocator>(make_host_memory());
    made->set_limit(host_memory_bytes());
    return new std::shared_ptr<CachingAllocator>(std::move(made));
  }();
  if (device.type == DeviceType::kCpu) return *host;
  for (const auto& allocator : registered())
    if (allocator->device() == device) return allocator;
  fail<DeviceError>("{}: there is no such device in this process", to_string(device));
}

void register_allocator(std::shared_ptr<CachingAllocator> allocator) {
  for (auto& existing : registered())
    if (existing->device() == allocator->device()) {
      existing = std::move(allocator);
      return;
    }
  registered().push_back(std::move(allocator));
}

PeakScope::PeakScope(Device device) : allocator_(allocator_of(device)) {
  allocator_->reset_peak();
  at_start_ = allocator_->stats().in_use;
}
uint64_t PeakScope::peak_bytes() const { return allocator_->stats().peak - at_start_; }

}  // namespace ocellus
