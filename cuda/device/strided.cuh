// Walking N tensors of one shape and any strides by a linear index.
#pragma once
#include <cuda_runtime.h>

#include <array>
#include <cstdint>

#include "engine/tensor.h"

namespace ocellus {

/// StridedIndex<N> — made on the host, passed by value. Neighbouring dimensions that every tensor
/// runs through without a gap are merged, as in engine/cpu/strided_loop.h.
template <int N>
struct StridedIndex {
  int rank = 0;
  bool contiguous = true;  // all N tensors: offset = index
  int64_t count = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[N][kMaxRank] = {};

  StridedIndex(const Shape& shape, const std::array<Strides, N>& from) : count(shape.numel()) {
    for (int i = 0; i < shape.rank(); ++i) {
      if (shape[i] == 1) continue;
      if (rank > 0 && mergeable(from, i, shape[i]))
        dims[rank - 1] *= shape[i];
      else
        dims[rank++] = shape[i];
      for (int k = 0; k < N; ++k) strides[k][rank - 1] = from[k][i];
    }
    contiguous = rank <= 1;
    for (int k = 0; k < N && rank == 1; ++k) contiguous = contiguous && strides[k][0] == 1;
  }

  /// Offsets of element `index` in each tensor. Division of 32-bit numbers is several times as
  /// fast.
  __device__ void offsets(int64_t index, int64_t (&out)[N]) const {
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = 0;
    for (int i = rank - 1; i >= 0; --i) {
      int64_t rest, place;
      if ((index | dims[i]) >> 32 == 0) {
        const uint32_t small = static_cast<uint32_t>(index), dim = static_cast<uint32_t>(dims[i]);
        rest = small / dim;
        place = small % dim;
      } else {
        rest = index / dims[i];
        place = index % dims[i];
      }
      index = rest;
#pragma unroll
      for (int k = 0; k < N; ++k) out[k] += place * strides[k][i];
    }
  }

 private:
  bool mergeable(const std::array<Strides, N>& from, int i, int64_t extent) const {
    for (int k = 0; k < N; ++k)
      if (strides[k][rank - 1] != from[k][i] * extent) return false;
    return true;
  }
};

}  // namespace ocellus
