// Kernels in which a block owns a row: which elements belong to a thread, and the launch shape.
#pragma once
#include "cuda/device/launch.h"
#include "cuda/device/vec128.cuh"
#include "cuda/device/warp.cuh"

namespace ocellus {

/// Calls f(i, n) for the vectors of a row of `columns` that belong to this thread: first element i,
/// elements left in the row n.
template <class T, class F>
__device__ void for_vectors(int64_t columns, F&& f) {
  constexpr int kSize = Vec128<T>::kSize;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kSize; i < columns;
       i += static_cast<int64_t>(blockDim.x) * kSize)
    f(i, columns - i);
}

/// Calls f(value, i) for the elements of `row` that belong to this thread, widened to AccT<T>.
template <class T, class F>
__device__ void for_elements(const T* row, int64_t columns, F&& f) {
  for_vectors<T>(columns, [&](int64_t i, int64_t n) {
    const Vec128<T> v = load128(row + i, n);
#pragma unroll
    for (int j = 0; j < Vec128<T>::kSize; ++j)
      if (j < n) f(static_cast<AccT<T>>(v.values[j]), i + j);
  });
}

/// A block a row; no more threads than the row has vectors.
template <class T>
LaunchShape row_shape(int device, int64_t rows, int64_t columns) {
  const int64_t vectors = (columns + Vec128<T>::kSize - 1) / Vec128<T>::kSize;
  unsigned threads = kWarp;
  while (threads < kBlockThreads && threads < vectors) threads *= 2;
  return grid_for(device, rows, 1, threads);
}

}  // namespace ocellus
