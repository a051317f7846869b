// The one way to start a kernel, and shared memory as raw bytes.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "cuda/runtime/context.h"

namespace ocellus {

/// SHARED(scratch, float[32]) — an array in shared memory of the block, uninitialised. Storage is raw
/// bytes because nvcc refuses constructors there, and the monoids have them.
template <class T> struct SharedType;
template <class T, size_t n> struct SharedType<T[n]> {
  using type = T;
  static constexpr size_t bytes = n * sizeof(T);
};
#define SHARED(name, ...)                                                                \
  __shared__ alignas(16) unsigned char name##_bytes[SharedType<__VA_ARGS__>::bytes];   \
  auto* name = reinterpret_cast<typename SharedType<__VA_ARGS__>::type*>(name##_bytes)

inline constexpr int kBlockThreads = 256;

struct LaunchShape {
  unsigned grid = 1, grid_y = 1;
  unsigned threads = kBlockThreads;
};

/// grid_for(device, items, per_block) — blocks of a kernel that strides over its items by the grid:
/// enough for all items, at most eight for each multiprocessor.
inline LaunchShape grid_for(int device, int64_t items, int64_t per_block,
                            unsigned threads = kBlockThreads) {
  const int64_t limit = int64_t{8} * device_context(device).multiprocessors;
  const int64_t needed = (items + per_block - 1) / per_block;
  return {static_cast<unsigned>(std::clamp<int64_t>(needed, 1, limit)), 1, threads};
}

/// launch(name, device, kernel, shape, args…) — starts `kernel` on the current stream of the device;
/// throws Error naming the kernel.
template <class... Parameters, class... Args>
void launch(const char* name, int device, void (*kernel)(Parameters...), LaunchShape shape,
            const Args&... args) {
  const DeviceGuard guard(device);
  std::tuple<Parameters...> values(static_cast<Parameters>(args)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value...};
        // Errors come back in after_launch, with the kernel's name.
        static_cast<void>(cudaLaunchKernel(reinterpret_cast<const void*>(kernel),
                                           dim3(shape.grid, shape.grid_y), dim3(shape.threads),
                                           pointers, 0, current_stream(device)));
      },
      values);
  after_launch(name, device);
}

/// First item and stride of this thread where all threads of the grid share the items.
__device__ inline int64_t grid_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t grid_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

}  // namespace ocellus
