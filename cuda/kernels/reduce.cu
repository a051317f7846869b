// Sums over dimensions, as passes over contiguous memory: of the last dimension (a row becomes a
// number) and of a middle one (rows are added up). What is between passes stays f32.
// Parallelisation: a block a row, long rows in chunks of fixed length; a middle dimension by
// device/column_sums.cuh. No atomics: the order of additions depends on the shape alone. Traffic: x
// once.
#include "engine/kernels/reduce.h"

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/column_sums.cuh"
#include "cuda/device/rows.cuh"
#include "engine/kernels/elementwise.h"
#include "engine/rows/monoids.h"
#include "engine/rows/sum_groups.h"

namespace ocellus {
namespace {

constexpr int64_t kChunk = 16384;  // elements of a row that one block adds up

// sums[r·chunks + c] = Σ of chunk c of row r.
template <class T>
__global__ void chunk_sums_kernel(const T* x, int64_t items, int64_t columns, int64_t chunks,
                                  AccT<T>* sums) {
  using A = AccT<T>;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const int64_t begin = item % chunks * kChunk;
    const int64_t count = columns - begin < kChunk ? columns - begin : kChunk;
    Sum<A> sum;
    for_elements(x + item / chunks * columns + begin, count,
                 [&](A value, int64_t) { sum.push(value); });
    sum = block_reduce(sum);
    if (threadIdx.x == 0) sums[item] = sum.value;
  }
}

template <class T>
Tensor sum_rows(const char* op, OnCuda device, const Tensor& x, int64_t rows, int64_t columns) {
  using A = AccT<T>;
  const int64_t chunks = std::max<int64_t>(1, (columns + kChunk - 1) / kChunk);
  Tensor sums = Tensor::empty({rows * chunks}, dtype_of<A>, device_of(device), op);
  if (rows > 0)
    launch(op, device.index, chunk_sums_kernel<T>,
           row_shape<T>(device.index, rows * chunks, std::min(columns, kChunk)), x.data<T>(),
           rows * chunks, columns, chunks, sums.mutable_data<A>(op));
  return chunks == 1 ? sums : sum_rows<A>(op, device, sums, rows, chunks);
}

/// Element (row, outer·inner + column) of [outer, n, inner].
template <class T>
struct MiddleTerm {
  const T* x;
  int64_t n, inner;
  __device__ AccT<T> operator()(int64_t row, int64_t column) const {
    return static_cast<AccT<T>>(x[(column / inner * n + row) * inner + column % inner]);
  }
};

Tensor one_pass(const char* op, OnCuda device, const Tensor& x, const SumPass& pass) {
  Tensor out;
  on_cuda_float(op, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (pass.inner == 1)
      out = sum_rows<T>(op, device, x, pass.outer, pass.n);
    else
      out = column_sums<AccT<T>>(op, device.index, pass.n, pass.outer * pass.inner,
                                 MiddleTerm<T>{x.data<T>(), pass.n, pass.inner});
  });
  return out;
}

}  // namespace

Tensor sum_to(OnCuda device, const Tensor& x, const Shape& shape, double factor, const char* op) {
  check<ShapeError>(broadcast_shapes(op, shape, x.shape()) == x.shape(),
                    "{}: {} is no broadcast of {}", op, to_string(x.shape()), to_string(shape));
  if (!is_floating(x.dtype())) fail_dtype(op, x.dtype(), {DType::kF32, DType::kBF16});
  std::vector<SumGroup> groups = sum_groups(x.shape(), shape);
  Tensor y = any_summed(groups) ? x.contiguous() : x.clone();
  while (any_summed(groups)) y = one_pass(op, device, y, take_pass(groups));
  if (factor != 1) scale_in_place(y, factor);
  return y.to(x.dtype()).view_as(shape);
}

}  // namespace ocellus
