// Device memory below the caching allocator. Allocators of all possible GPUs are registered when
// the program starts, without a call to CUDA; the first allocation makes the context and says what
// is wrong if there is none.
#include <cuda_runtime_api.h>

#include "cuda/runtime/context.h"
#include "engine/memory/caching_allocator.h"

namespace ocellus {
namespace {

constexpr int kRegistered = 16;  // more than a machine holds; each entry costs a few hundred bytes

class CudaMemory : public RawMemory {
 public:
  explicit CudaMemory(int index) : index_(index) {}

  void* allocate(size_t bytes) override {
    static_cast<void>(device_context(index_));
    const DeviceGuard guard(index_);
    void* pointer = nullptr;
    const cudaError_t status = cudaMalloc(&pointer, bytes);
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());  // the allocator flushes its cache and tries again
      return nullptr;
    }
    CUDA_CHECK(status);
    return pointer;
  }

  // cudaFree waits for the work that may use the block. Runs in destructors, also while the process
  // ends and CUDA has gone already: nothing sensible can be done about an error.
  void release(void* pointer, size_t) override {
    int before = 0;
    if (cudaGetDevice(&before) != cudaSuccess) return;
    static_cast<void>(cudaSetDevice(index_));
    static_cast<void>(cudaFree(pointer));
    static_cast<void>(cudaSetDevice(before));
  }

  Device device() const override { return {DeviceType::kCuda, index_}; }
  bool host_visible() const override { return false; }

 private:
  int index_;
};

const bool registered = [] {
  for (int i = 0; i < kRegistered; ++i)
    register_allocator(std::make_shared<CachingAllocator>(std::make_unique<CudaMemory>(i)));
  return true;
}();

}  // namespace
}  // namespace ocellus
