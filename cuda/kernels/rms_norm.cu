// y = x·r·w with r = 1/√(mean(x²) + eps) over rows, and its gradients.
// Parallelisation: a block a row, 16 bytes a thread and step; sums as monoids by shuffles and
// shared memory. Traffic: x is read twice, the second time mostly from L1/L2; y written once.
// Backward for dx reads x and dy twice. dweight takes a pass of its own over x and dy
// (device/column_sums.cuh): no atomics, hence the same bits in every run.
#include "engine/kernels/rms_norm.h"

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/column_sums.cuh"
#include "cuda/device/rows.cuh"
#include "engine/rows/monoids.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

// --- device ---

template <class T>
__global__ void forward_kernel(const T* x, const T* weight, int64_t rows, int64_t columns,
                               AccT<T> eps, T* y, AccT<T>* r) {
  using A = AccT<T>;
  constexpr int kSize = Vec128<T>::kSize;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* from = x + row * columns;
    T* to = y + row * columns;
    Sum<A> squares;
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n);
#pragma unroll
      for (int j = 0; j < kSize; ++j) {
        const A value = static_cast<A>(v.values[j]);
        if (j < n) squares.push(value * value);
      }
    });
    squares = block_reduce(squares);
    const A scale = math::rsqrt(squares.value / static_cast<A>(columns) + eps);
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), w = load128(weight + i, n);
      Vec128<T> out;
#pragma unroll
      for (int j = 0; j < kSize; ++j)
        out.values[j] =
            static_cast<T>(static_cast<A>(v.values[j]) * scale * static_cast<A>(w.values[j]));
      store128(to + i, n, out);
    });
    if (threadIdx.x == 0) r[row] = scale;
  }
}

// dx = r·(g - x·r²·mean(g·x)) with g = dy·w.
template <class T>
__global__ void backward_kernel(const T* x, const T* weight, const AccT<T>* r, const T* dy,
                                int64_t rows, int64_t columns, T* dx) {
  using A = AccT<T>;
  constexpr int kSize = Vec128<T>::kSize;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *from = x + row * columns, *from_dy = dy + row * columns;
    T* to = dx + row * columns;
    Sum<A> dot;
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), w = load128(weight + i, n),
                      d = load128(from_dy + i, n);
#pragma unroll
      for (int j = 0; j < kSize; ++j)
        if (j < n)
          dot.push(static_cast<A>(d.values[j]) * static_cast<A>(w.values[j]) *
                   static_cast<A>(v.values[j]));
    });
    dot = block_reduce(dot);
    const A scale = r[row];
    const A pull = scale * scale * dot.value / static_cast<A>(columns);
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), w = load128(weight + i, n),
                      d = load128(from_dy + i, n);
      Vec128<T> out;
#pragma unroll
      for (int j = 0; j < kSize; ++j) {
        const A g = static_cast<A>(d.values[j]) * static_cast<A>(w.values[j]);
        out.values[j] = static_cast<T>(scale * (g - static_cast<A>(v.values[j]) * pull));
      }
      store128(to + i, n, out);
    });
  }
}

/// dy·x̂ at one place.
template <class T>
struct WeightTerm {
  const T *x, *dy;
  const AccT<T>* r;
  int64_t columns;
  __device__ AccT<T> operator()(int64_t row, int64_t column) const {
    using A = AccT<T>;
    const int64_t i = row * columns + column;
    return static_cast<A>(dy[i]) * (static_cast<A>(x[i]) * r[row]);
  }
};

}  // namespace

RmsNormOut rms_norm_forward(OnCuda device, const Tensor& x_any, const Tensor& weight_any,
                            float eps) {
  check_same_device("rms_norm", device, {&x_any, &weight_any});
  const Tensor x = x_any.contiguous(), weight = weight_any.contiguous();
  const int64_t rows = x.shape().rows(), columns = x.dim(-1);
  RmsNormOut out;
  on_cuda_float("rms_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    out.y = Tensor::empty(x.shape(), x.dtype(), device_of(device), "rms_norm");
    out.r = Tensor::empty({rows}, dtype_of<A>, device_of(device), "rms_norm");
    if (rows == 0) return;
    launch("rms_norm_forward", device.index, forward_kernel<T>,
           row_shape<T>(device.index, rows, columns), x.data<T>(), weight.data<T>(), rows, columns,
           static_cast<A>(eps), out.y.mutable_data<T>("rms_norm"),
           out.r.mutable_data<A>("rms_norm"));
  });
  return out;
}

RmsNormGrads rms_norm_backward(OnCuda device, const Tensor& x_any, const Tensor& weight_any,
                               const Tensor& r, const Tensor& dy_any, bool need_dx,
                               bool need_dweight) {
  check_same_device("rms_norm", device, {&x_any, &weight_any, &r, &dy_any});
  const Tensor x = x_any.contiguous(), weight = weight_any.contiguous(), dy = dy_any.contiguous();
  const int64_t rows = x.shape().rows(), columns = x.dim(-1);
  RmsNormGrads grads;
  on_cuda_float("rms_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    if (need_dx) {
      grads.dx = Tensor::empty(x.shape(), x.dtype(), device_of(device), "rms_norm");
      if (rows > 0)
        launch("rms_norm_backward", device.index, backward_kernel<T>,
               row_shape<T>(device.index, rows, columns), x.data<T>(), weight.data<T>(),
               r.data<A>(), dy.data<T>(), rows, columns, grads.dx.mutable_data<T>("rms_norm"));
    }
    if (need_dweight)
      grads.dweight = column_sums<A>("rms_norm_dweight", device.index, rows, columns,
                                     WeightTerm<T>{x.data<T>(), dy.data<T>(), r.data<A>(), columns})
                          .to(x.dtype())
                          .view_as(weight.shape());
  });
  return grads;
}

}  // namespace ocellus
