// The host meaning of CUDA's built-in names, for kernels compiled by g++: types, thread indices,
// barriers, exchanges within a warp, the calls of the CUDA runtime that our sources make.
// Default arguments carry file and line of the call into reports.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint2 {
  unsigned x, y;
};
struct uint3 {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace ocellus::simt {

/// Where in a kernel a thread called something.
struct Site {
  const char* file;
  int line;
};

/// Barrier of all threads of the block; all must come from the same line.
void barrier(Site site);
/// Barrier of the lanes in `mask`; orders their accesses.
void warp_barrier(unsigned mask, Site site);
enum class Exchange { kIndex, kDown, kUp, kXor };
/// Each lane of `mask` gives a word and gets that of the lane which kind and parameter name.
uint32_t exchange(Exchange kind, unsigned mask, uint32_t word, unsigned parameter, int width,
                  Site site);
/// One bit from each lane of `mask`.
unsigned vote(unsigned mask, bool value, Site site);

/// One array of shared memory: `key` tells one declaration from another. Fresh and uninitialised in
/// every block.
void* shared_array(const void* key, const char* name, size_t bytes);
void* dynamic_shared();

/// Fails unless `pointer` is a multiple of `bytes`.
void check_alignment(const void* pointer, size_t bytes, Site site);

/// Atomic read-modify-write of one word; returns the former value.
uint32_t atomic_update(void* address, uint32_t operand, uint32_t (*combine)(uint32_t, uint32_t),
                       Site site);

template <class T>
uint32_t word_of(T value) {
  static_assert(sizeof(T) == 4 && std::is_trivially_copyable_v<T>);
  uint32_t word;
  std::memcpy(&word, &value, 4);
  return word;
}
template <class T>
T from_word(uint32_t word) {
  T value;
  std::memcpy(&value, &word, 4);
  return value;
}

}  // namespace ocellus::simt

#define SIMT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define SIMT_HERE \
  ::ocellus::simt::Site { file, line }

inline void __syncthreads(SIMT_SITE) { ::ocellus::simt::barrier(SIMT_HERE); }
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) {
  ::ocellus::simt::warp_barrier(mask, SIMT_HERE);
}
inline void __threadfence() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_SITE) {
  using namespace ocellus::simt;
  return from_word<T>(exchange(Exchange::kIndex, mask, word_of(value), static_cast<unsigned>(lane),
                               width, SIMT_HERE));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  using namespace ocellus::simt;
  return from_word<T>(exchange(Exchange::kDown, mask, word_of(value), delta, width, SIMT_HERE));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  using namespace ocellus::simt;
  return from_word<T>(exchange(Exchange::kUp, mask, word_of(value), delta, width, SIMT_HERE));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SIMT_SITE) {
  using namespace ocellus::simt;
  return from_word<T>(exchange(Exchange::kXor, mask, word_of(value), static_cast<unsigned>(lanes),
                               width, SIMT_HERE));
}
inline unsigned __ballot_sync(unsigned mask, bool value, SIMT_SITE) {
  return ::ocellus::simt::vote(mask, value, SIMT_HERE);
}
inline bool __any_sync(unsigned mask, bool value, SIMT_SITE) {
  return ::ocellus::simt::vote(mask, value, SIMT_HERE) != 0;
}
inline bool __all_sync(unsigned mask, bool value, SIMT_SITE) {
  return ::ocellus::simt::vote(mask, value, SIMT_HERE) == mask;
}

template <class T>
T atomicAdd(T* address, T operand, SIMT_SITE) {
  using namespace ocellus::simt;
  return from_word<T>(atomic_update(
      address, word_of(operand),
      [](uint32_t a, uint32_t b) {
        return word_of(static_cast<T>(from_word<T>(a) + from_word<T>(b)));
      },
      SIMT_HERE));
}
template <class T>
T atomicMax(T* address, T operand, SIMT_SITE) {
  using namespace ocellus::simt;
  return from_word<T>(atomic_update(
      address, word_of(operand),
      [](uint32_t a, uint32_t b) { return from_word<T>(a) < from_word<T>(b) ? b : a; }, SIMT_HERE));
}

// --- the CUDA runtime: one device whose memory is the arena, all calls synchronous ---

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;
using cudaStream_t = struct SimtStream*;
using cudaEvent_t = struct SimtEvent*;
struct cudaDeviceProp {
  char name[32];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem;
};

cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaMallocHost(void** pointer, size_t bytes);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t status);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream);
