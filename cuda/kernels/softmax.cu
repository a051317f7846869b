// Softmax, its logarithm, and their gradients, over rows.
// Parallelisation: a block a row, 16 bytes a thread and step; maximum and sum together as the
// monoid OnlineSoftmax. Traffic: x is read twice, the second time mostly from L1/L2; y written
// once. Backward reads y and dy twice.
#include "engine/kernels/softmax.h"

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/online_softmax.cuh"
#include "cuda/device/rows.cuh"
#include "engine/rows/monoids.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

template <class T, bool log>
__global__ void forward_kernel(const T* x, int64_t rows, int64_t columns, T* y) {
  using A = AccT<T>;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* from = x + row * columns;
    T* to = y + row * columns;
    const OnlineSoftmax<A> total = block_reduce(softmax_part(from, columns));
    // A row of -infinity alone: zeros, or with `log` itself.
    const A shift = total.max == kNone ? A(0) : log ? total.log_sum() : total.max;
    const A scale = total.sum == A(0) ? A(0) : A(1) / total.sum;
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n);
      Vec128<T> out;
#pragma unroll
      for (int j = 0; j < Vec128<T>::kSize; ++j) {
        const A centred = static_cast<A>(v.values[j]) - shift;
        out.values[j] = static_cast<T>(log ? centred : math::exp(centred) * scale);
      }
      store128(to + i, n, out);
    });
  }
}

// dx = y·(dy - Σ dy·y), or with `log` dx = dy - e^y·Σ dy.
template <class T, bool log>
__global__ void backward_kernel(const T* y, const T* dy, int64_t rows, int64_t columns, T* dx) {
  using A = AccT<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *from = y + row * columns, *from_dy = dy + row * columns;
    T* to = dx + row * columns;
    Sum<A> sum;
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), d = load128(from_dy + i, n);
#pragma unroll
      for (int j = 0; j < Vec128<T>::kSize; ++j)
        if (j < n)
          sum.push(log ? static_cast<A>(d.values[j])
                       : static_cast<A>(d.values[j]) * static_cast<A>(v.values[j]));
    });
    const A total = block_reduce(sum).value;
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), d = load128(from_dy + i, n);
      Vec128<T> out;
#pragma unroll
      for (int j = 0; j < Vec128<T>::kSize; ++j) {
        const A value = static_cast<A>(v.values[j]), dvalue = static_cast<A>(d.values[j]);
        out.values[j] =
            static_cast<T>(log ? dvalue - math::exp(value) * total : value * (dvalue - total));
      }
      store128(to + i, n, out);
    });
  }
}

}  // namespace

Tensor softmax_forward(OnCuda device, const Tensor& x_any, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  const Tensor x = x_any.contiguous();
  const int64_t rows = x.shape().rows(), columns = x.dim(-1);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device_of(device), op);
  on_cuda_float(op, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (x.numel() > 0)
      launch(op, device.index, log ? forward_kernel<T, true> : forward_kernel<T, false>,
             row_shape<T>(device.index, rows, columns), x.data<T>(), rows, columns,
             y.mutable_data<T>(op));
  });
  return y;
}

Tensor softmax_backward(OnCuda device, const Tensor& y_any, const Tensor& dy_any, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  check_same_device(op, device, {&y_any, &dy_any});
  const Tensor y = y_any.contiguous(), dy = dy_any.contiguous();
  const int64_t rows = y.shape().rows(), columns = y.dim(-1);
  Tensor dx = Tensor::empty(y.shape(), y.dtype(), device_of(device), op);
  on_cuda_float(op, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (y.numel() > 0)
      launch(op, device.index, log ? backward_kernel<T, true> : backward_kernel<T, false>,
             row_shape<T>(device.index, rows, columns), y.data<T>(), dy.data<T>(), rows, columns,
             dx.mutable_data<T>(op));
  });
  return dx;
}

}  // namespace ocellus
