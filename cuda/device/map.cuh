// out = f(inputs…) elementwise: one kernel for all elementwise ops.
// Parallelisation: 16 bytes of each tensor a thread where all are contiguous, else an element a
// thread through StridedIndex, which also broadcasts (stride 0). Traffic: each input read once, the
// output written once. Reads and writes of a thread are the same elements, so `out` may be an
// input.
#pragma once
#include <array>

#include "cuda/device/launch.h"
#include "cuda/device/strided.cuh"
#include "cuda/device/vec128.cuh"
#include "engine/dtype.h"

namespace ocellus {

template <class T, int N>
struct MapPointers {
  const T* in[N];
  T* out;
};

template <class T, int N, class F>
__global__ void map_kernel(MapPointers<T, N> tensors, StridedIndex<N + 1> index, F f) {
  using A = AccT<T>;
  A in[N];
  if (!index.contiguous) {
    for (int64_t i = grid_thread(); i < index.count; i += grid_threads()) {
      int64_t at[N + 1];
      index.offsets(i, at);
#pragma unroll
      for (int k = 0; k < N; ++k) in[k] = static_cast<A>(tensors.in[k][at[k]]);
      tensors.out[at[N]] = static_cast<T>(f(in));
    }
  } else {
    constexpr int kSize = Vec128<T>::kSize;
    for (int64_t i = grid_thread() * kSize; i < index.count; i += grid_threads() * kSize) {
      Vec128<T> from[N], to;
#pragma unroll
      for (int k = 0; k < N; ++k) from[k] = load128(tensors.in[k] + i, index.count - i);
#pragma unroll
      for (int j = 0; j < kSize; ++j) {
#pragma unroll
        for (int k = 0; k < N; ++k) in[k] = static_cast<A>(from[k].values[j]);
        to.values[j] = static_cast<T>(f(in));
      }
      store128(tensors.out + i, index.count - i, to);
    }
  }
}

/// map_tensors<T, N>(op, device, inputs, out, f) — inputs of out's shape and dtype T, any strides;
/// f takes an array of N values of AccT<T>.
template <class T, int N, class F>
void map_tensors(const char* op, int device, const std::array<const Tensor*, N>& inputs,
                 Tensor& out, const F& f) {
  if (out.numel() == 0) return;
  MapPointers<T, N> tensors;
  std::array<Strides, N + 1> strides;
  for (int k = 0; k < N; ++k) {
    tensors.in[k] = inputs[k]->template data<T>();
    strides[k] = inputs[k]->strides();
  }
  tensors.out = out.mutable_data<T>(op);
  strides[N] = out.strides();
  const StridedIndex<N + 1> index(out.shape(), strides);
  const int64_t per_thread = index.contiguous ? Vec128<T>::kSize : 1;
  launch(op, device, map_kernel<T, N, F>, grid_for(device, index.count, per_thread * kBlockThreads),
         tensors, index, f);
}

}  // namespace ocellus
