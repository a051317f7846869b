#include "engine/memory/raw_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "engine/memory/host_memory.h"

namespace ocellus {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

class HostMemory : public RawMemory {
 public:
  void* allocate(size_t bytes) override {
    const size_t alignment = bytes >= kHugePage ? kHugePage : 4096;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* pointer = std::aligned_alloc(alignment, rounded);
    if (pointer && bytes >= kHugePage) madvise(pointer, rounded, MADV_HUGEPAGE);
    return pointer;
  }
  void release(void* pointer, size_t) override { std::free(pointer); }
  Device device() const override { return kCpu; }
};

class FakeMemory : public RawMemory {
 public:
  FakeMemory(size_t limit, int index) : limit_(limit), index_(index) {}
  void* allocate(size_t bytes) override {
    if (bytes > limit_ - used_) return nullptr;
    void* pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (pointer) used_ += bytes;
    return pointer;
  }
  void release(void* pointer, size_t bytes) override {
    std::free(pointer);
    used_ -= bytes;
  }
  Device device() const override { return {DeviceType::kFake, index_}; }

 private:
  size_t limit_, used_ = 0;
  int index_;
};

}  // namespace

size_t host_memory_bytes() {
  auto bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t group = 0;  // the bound of a container; "max" leaves this 0
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> group && group > 0) bytes = std::min(bytes, group);
  return bytes;
}
std::unique_ptr<RawMemory> make_host_memory() { return std::make_unique<HostMemory>(); }
std::unique_ptr<RawMemory> make_fake_memory(size_t limit, int index) {
  return std::make_unique<FakeMemory>(limit, index);
}

}  // namespace ocellus
