// One walk over several tensors of the same shape and any strides, row by row, in parallel.
#pragma once
#include <algorithm>
#include <array>

#include "engine/parallel.h"
#include "engine/tensor.h"

namespace ocellus {

/// Elements a parallel chunk should hold, so that it is worth handing to a thread.
inline constexpr int64_t kChunkElements = 16384;

/// StridedLoop<N> — the geometry of N tensors walked together. Neighbouring dimensions that every
/// tensor runs through without a gap are merged, so that most loops have one or two dimensions.
template <int N>
class StridedLoop {
 public:
  StridedLoop(const Shape& shape, const std::array<Strides, N>& strides) {
    for (int i = 0; i < shape.rank(); ++i) {
      if (shape[i] == 1) continue;
      if (rank_ > 0 && mergeable(strides, i, shape[i])) {
        dims_[rank_ - 1] *= shape[i];
      } else {
        dims_[rank_++] = shape[i];
      }
      for (int k = 0; k < N; ++k) strides_[k][rank_ - 1] = strides[k][i];
    }
    if (rank_ == 0) {
      dims_[0] = 1;
      rank_ = 1;
    }
    empty_ = shape.numel() == 0;
  }

  /// body(offsets, count, steps): for each k, elements offsets[k] + j·steps[k], j < count.
  template <class Body>
  void run(Body&& body) const {
    if (empty_) return;
    const int64_t inner = dims_[rank_ - 1];
    int64_t rows = 1;
    for (int i = 0; i + 1 < rank_; ++i) rows *= dims_[i];
    std::array<int64_t, N> steps;
    for (int k = 0; k < N; ++k) steps[k] = strides_[k][rank_ - 1];
    if (rows == 1) {  // one long row: cut it
      parallel_for(inner, kChunkElements, [&](int64_t begin, int64_t end) {
        std::array<int64_t, N> offsets;
        for (int k = 0; k < N; ++k) offsets[k] = begin * steps[k];
        body(offsets, end - begin, steps);
      });
      return;
    }
    parallel_for(rows, std::max<int64_t>(1, kChunkElements / inner),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t row = begin; row < end; ++row) body(offsets_of(row), inner, steps);
                 });
  }

 private:
  bool mergeable(const std::array<Strides, N>& strides, int i, int64_t extent) const {
    for (int k = 0; k < N; ++k)
      if (strides_[k][rank_ - 1] != strides[k][i] * extent) return false;
    return true;
  }
  std::array<int64_t, N> offsets_of(int64_t row) const {
    std::array<int64_t, N> offsets{};
    for (int i = rank_ - 2; i >= 0; --i) {
      const int64_t index = row % dims_[i];
      row /= dims_[i];
      for (int k = 0; k < N; ++k) offsets[k] += index * strides_[k][i];
    }
    return offsets;
  }

  int rank_ = 0;
  bool empty_ = false;
  int64_t dims_[kMaxRank] = {};
  int64_t strides_[N][kMaxRank] = {};
};

}  // namespace ocellus
