// What row kernels share: loading a row as the accumulation type, and sums over rows that come out
// with the same bits for any number of threads.
#pragma once
#include <algorithm>
#include <vector>

#include "engine/cpu/strided_loop.h"
#include "engine/dtype.h"
#include "engine/parallel.h"
#include "engine/tensor.h"

namespace ocellus {

/// Rows of `columns` elements that make a parallel chunk worth its hand-over.
inline int64_t rows_per_chunk(int64_t columns) {
  return std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns));
}

/// Rows a chunk where each element costs an exponential or two: half as many.
inline int64_t exponential_rows_per_chunk(int64_t columns) {
  return std::max<int64_t>(1, kChunkElements / 2 / std::max<int64_t>(1, columns));
}

/// RowBuffer<T> — a row as AccT<T>: the row itself where T is that already, else a widened copy.
template <class T>
class RowBuffer {
 public:
  using A = AccT<T>;
  explicit RowBuffer(int64_t columns)
      : data_(std::is_same_v<T, A> ? 0 : static_cast<size_t>(columns)), columns_(columns) {}

  /// The elements at `from`, valid until the next load.
  const A* load(const T* from) {
    if constexpr (std::is_same_v<T, A>) {
      return from;
    } else {
      for (int64_t i = 0; i < columns_; ++i) data_[i] = static_cast<A>(from[i]);
      return data_.data();
    }
  }
  /// Where to compute the row that goes to `to`; store(to) then rounds it into place.
  A* target(T* to) {
    if constexpr (std::is_same_v<T, A>)
      return to;
    else
      return data_.data();
  }
  void store(T* to) const {
    if constexpr (!std::is_same_v<T, A>)
      for (int64_t i = 0; i < columns_; ++i) to[i] = static_cast<T>(data_[i]);
  }

 private:
  std::vector<A> data_;
  int64_t columns_;
};

/// ColumnSums<A> — Σ over rows of vectors of `columns`: one partial sum for each block of rows,
/// merged in order of the blocks. Blocks depend on the shape alone; there are at most 64.
template <class A>
class ColumnSums {
 public:
  ColumnSums(int64_t rows, int64_t columns)
      : columns_(columns),
        rows_per_block_(std::max(rows_per_chunk(columns), (rows + kBlocks - 1) / kBlocks)),
        blocks_((rows + rows_per_block_ - 1) / rows_per_block_),
        partial_(static_cast<size_t>(blocks_ * columns), A(0)) {}

  int64_t rows_per_block() const { return rows_per_block_; }
  /// The partial sums of the block that begins with row `begin`.
  A* block(int64_t begin) { return partial_.data() + begin / rows_per_block_ * columns_; }

  /// to[c] = Σ over blocks, rounded to T.
  template <class T>
  void merge(T* to) const {
    const int64_t grain = std::max<int64_t>(64, kChunkElements / std::max<int64_t>(1, blocks_));
    parallel_for(columns_, grain, [&](int64_t begin, int64_t end) {
      std::vector<A> sum(static_cast<size_t>(end - begin), A(0));
      for (int64_t b = 0; b < blocks_; ++b) {
        const A* from = partial_.data() + b * columns_ + begin;
        for (int64_t c = 0; c < end - begin; ++c) sum[c] += from[c];
      }
      for (int64_t c = begin; c < end; ++c) to[c] = static_cast<T>(sum[c - begin]);
    });
  }

 private:
  static constexpr int64_t kBlocks = 64;
  int64_t columns_, rows_per_block_, blocks_;
  std::vector<A> partial_;
};

}  // namespace ocellus
