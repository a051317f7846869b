// 16 bytes at a time: the widest access of a thread, and what keeps memory-bound kernels at the
// bandwidth of memory.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace ocellus {

template <class T>
struct alignas(16) Vec128 {
  static constexpr int kSize = static_cast<int>(16 / sizeof(T));
  T values[kSize];
};

__device__ inline bool aligned128(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

/// load128(from, count) — the first min(count, kSize) elements at `from`; the others are
/// unspecified. One access where `from` is aligned and the vector is full, else one for each
/// element.
template <class T>
__device__ Vec128<T> load128(const T* from, int64_t count) {
  Vec128<T> vec;
  if (count >= Vec128<T>::kSize && aligned128(from)) {
    const uint4 raw = *reinterpret_cast<const uint4*>(from);
    memcpy(static_cast<void*>(&vec), &raw, 16);
  } else {
#pragma unroll
    for (int i = 0; i < Vec128<T>::kSize; ++i) vec.values[i] = i < count ? from[i] : from[0];
  }
  return vec;
}

/// store128(to, count, vec) — writes the first min(count, kSize) elements.
template <class T>
__device__ void store128(T* to, int64_t count, const Vec128<T>& vec) {
  if (count >= Vec128<T>::kSize && aligned128(to)) {
    uint4 raw;
    memcpy(&raw, &vec, 16);
    *reinterpret_cast<uint4*>(to) = raw;
  } else {
#pragma unroll
    for (int i = 0; i < Vec128<T>::kSize; ++i)
      if (i < count) to[i] = vec.values[i];
  }
}

}  // namespace ocellus
