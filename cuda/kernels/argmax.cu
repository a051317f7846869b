// Index of the largest element of each row: a block a row, the monoid ArgMax. Reads x once.
#include "engine/kernels/argmax.h"

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/rows.cuh"
#include "engine/rows/monoids.h"

namespace ocellus {
namespace {

template <class T>
__global__ void argmax_kernel(const T* x, int64_t rows, int64_t columns, int64_t* y) {
  using A = AccT<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    ArgMax<A> best;
    for_elements(x + row * columns, columns, [&](A value, int64_t i) {
      if (value == value) best.push(value, i);  // NaN is never the largest
    });
    best = block_reduce(best);
    if (threadIdx.x == 0) y[row] = best.index < 0 ? 0 : best.index;
  }
}

}  // namespace

Tensor argmax_last(OnCuda device, const Tensor& x_any) {
  check<ShapeError>(x_any.rank() >= 1 && x_any.dim(-1) >= 1,
                    "argmax_last: the last dimension of x must not be empty, got {}",
                    to_string(x_any.shape()));
  const Tensor x = x_any.contiguous();
  Shape shape;
  for (int i = 0; i + 1 < x.rank(); ++i) shape.push_back(x.dim(i));
  Tensor y = Tensor::empty(shape, DType::kI64, device_of(device), "argmax_last");
  on_cuda_float("argmax_last", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (y.numel() > 0)
      launch("argmax_last", device.index, argmax_kernel<T>,
             row_shape<T>(device.index, y.numel(), x.dim(-1)), x.data<T>(), y.numel(), x.dim(-1),
             y.mutable_data<int64_t>("argmax_last"));
  });
  return y;
}

}  // namespace ocellus
