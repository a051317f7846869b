// Σ over rows of a term for each column, with the same bits in every run: bias and weight
// gradients. Two stages: a block of rows is summed in order by one thread a column (neighbouring
// threads read neighbouring columns), then the partial sums are added in order of the blocks.
// Blocks depend on the shape alone. Traffic: the inputs once, plus at most 2·64·columns partial
// sums.
#pragma once
#include <algorithm>

#include "cuda/device/launch.h"
#include "engine/dtype.h"
#include "engine/tensor.h"

namespace ocellus {

inline constexpr int kColumnThreads = 128;

template <class A, class Term>
__global__ void partial_sums_kernel(Term term, int64_t rows, int64_t columns,
                                    int64_t rows_per_block, A* partial) {
  const int64_t begin = blockIdx.y * rows_per_block;
  const int64_t end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  for (int64_t column = grid_thread(); column < columns; column += grid_threads()) {
    A sum = A(0);
    for (int64_t row = begin; row < end; ++row) sum += term(row, column);
    partial[blockIdx.y * columns + column] = sum;
  }
}

template <class A>
__global__ void merge_sums_kernel(const A* partial, int64_t blocks, int64_t columns, A* sums) {
  for (int64_t column = grid_thread(); column < columns; column += grid_threads()) {
    A sum = A(0);
    for (int64_t block = 0; block < blocks; ++block) sum += partial[block * columns + column];
    sums[column] = sum;
  }
}

/// column_sums<A>(op, device, rows, columns, term) — sums[c] = Σ over r of term(r, c), as [columns]
/// of A. `term` is a struct with a device operator().
template <class A, class Term>
Tensor column_sums(const char* op, int device, int64_t rows, int64_t columns, const Term& term) {
  constexpr int64_t kBlocks = 64, kFewestRows = 16;
  const Device where{DeviceType::kCuda, device};
  const int64_t per_block = std::max(kFewestRows, (rows + kBlocks - 1) / kBlocks);
  const int64_t blocks = std::max<int64_t>(1, (rows + per_block - 1) / per_block);
  Tensor sums = Tensor::empty({columns}, dtype_of<A>, where, op);
  if (columns == 0) return sums;
  Tensor partial = Tensor::empty({blocks, columns}, dtype_of<A>, where, op);
  A* to = partial.mutable_data<A>(op);
  LaunchShape shape = grid_for(device, columns, kColumnThreads, kColumnThreads);
  const LaunchShape merge_shape = shape;
  shape.grid_y = static_cast<unsigned>(blocks);
  launch(op, device, partial_sums_kernel<A, Term>, shape, term, rows, columns, per_block, to);
  launch(op, device, merge_sums_kernel<A>, merge_shape, to, blocks, columns,
         sums.mutable_data<A>(op));
  return sums;
}

}  // namespace ocellus
