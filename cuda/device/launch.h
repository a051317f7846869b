// The one way to start a kernel, and shared memory as raw bytes.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "cuda/runtime/context.h"
#include "engine/dispatch.h"
#if defined(OCELLUS_SIMT)  // compiled by g++ for the emulator
#include "cuda/simt/schedule.h"
#endif

namespace ocellus {

/// SHARED(scratch, float[32]) — an array in shared memory of the block, uninitialised. Storage is
/// raw bytes because nvcc refuses constructors there, and the monoids have them.
template <class T>
struct SharedType;
template <class T, size_t n>
struct SharedType<T[n]> {
  using type = T;
  static constexpr size_t bytes = n * sizeof(T);
};
/// DYNAMIC_SHARED(bytes) — the shared memory whose size the launch gives, aligned to 128 bytes.
#if defined(OCELLUS_SIMT)
#define SHARED(name, ...)                                            \
  static const char name##_key = 0;                                  \
  auto* name = static_cast<typename SharedType<__VA_ARGS__>::type*>( \
      simt::shared_array(&name##_key, #name, SharedType<__VA_ARGS__>::bytes))
#define DYNAMIC_SHARED(name) auto* name = static_cast<unsigned char*>(simt::dynamic_shared())
#else
#define SHARED(name, ...)                                                            \
  __shared__ alignas(16) unsigned char name##_bytes[SharedType<__VA_ARGS__>::bytes]; \
  auto* name = reinterpret_cast<typename SharedType<__VA_ARGS__>::type*>(name##_bytes)
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#endif

/// on_cuda_float — the element types of kernels: f32 and bf16. f64 belongs to the gradient checks,
/// which run on the CPU; its kernels would lengthen every build by half.
template <class F>
void on_cuda_float(const char* op, DType dtype, F&& f) {
  on_dtype<f32, bf16>(op, dtype, std::forward<F>(f));
}

inline constexpr int kBlockThreads = 256;

struct LaunchShape {
  unsigned grid = 1, grid_y = 1;
  unsigned threads = kBlockThreads;
  unsigned grid_z = 1;
  size_t shared_bytes = 0;  // dynamic shared memory
};

/// grid_for(device, items, per_block) — blocks of a kernel that strides over its items by the grid:
/// enough for all items, at most eight for each multiprocessor.
inline LaunchShape grid_for(int device, int64_t items, int64_t per_block,
                            unsigned threads = kBlockThreads) {
  const int64_t limit = int64_t{8} * device_context(device).multiprocessors;
  const int64_t needed = (items + per_block - 1) / per_block;
  return {static_cast<unsigned>(std::clamp<int64_t>(needed, 1, limit)), 1, threads};
}

/// Static and dynamic shared memory of a block beyond this must be asked for.
inline constexpr size_t kSharedUnasked = size_t{48} << 10;

/// launch(name, device, kernel, shape, args…) — starts `kernel` on the current stream of the
/// device; throws Error naming the kernel.
template <class... Parameters, class... Args>
void launch(const char* name, int device, void (*kernel)(Parameters...), LaunchShape shape,
            const Args&... args) {
#if defined(OCELLUS_SIMT)
  static_cast<void>(device);
  simt::KernelCall<Parameters...>(kernel, args...)
      .run(name,
           {dim3(shape.grid, shape.grid_y, shape.grid_z), dim3(shape.threads), shape.shared_bytes});
#else
  const DeviceGuard guard(device);
  const void* code = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > kSharedUnasked)
    CUDA_CHECK(cudaFuncSetAttribute(code, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shape.shared_bytes)));
  std::tuple<Parameters...> values(static_cast<Parameters>(args)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value...};
        // Errors come back in after_launch, with the kernel's name.
        static_cast<void>(cudaLaunchKernel(code, dim3(shape.grid, shape.grid_y, shape.grid_z),
                                           dim3(shape.threads), pointers, shape.shared_bytes,
                                           current_stream(device)));
      },
      values);
  after_launch(name, device);
#endif
}

/// First item and stride of this thread where all threads of the grid share the items.
__device__ inline int64_t grid_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t grid_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

}  // namespace ocellus
