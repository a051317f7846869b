// The device of the emulator: the arena behind the caching allocator, which says what kernels may
// address. Bytes around a tensor and those of a freed one are out of bounds.
#include "cuda/simt/shadow.h"
#include "engine/memory/caching_allocator.h"

namespace ocellus {
namespace {

class SimtMemory : public RawMemory {
 public:
  void* allocate(size_t bytes) override { return simt::reserve(bytes); }
  void release(void* pointer, size_t bytes) override { simt::unreserve(pointer, bytes); }
  Device device() const override { return {DeviceType::kCuda, 0}; }
  bool host_visible() const override { return false; }
  void lent(void* pointer, size_t bytes) override { simt::allow(pointer, bytes); }
  void returned(void* pointer, size_t bytes) override { simt::forbid(pointer, bytes); }
};

const bool registered = [] {
  register_allocator(std::make_shared<CachingAllocator>(std::make_unique<SimtMemory>()));
  return true;
}();

}  // namespace
}  // namespace ocellus
