// y = (x - mean)·r·w + b with r = 1/√(variance + eps) over rows, and its gradients.
// Parallelisation: a block a row, 16 bytes a thread and step; sums as monoids by shuffles and
// shared memory, the variance around the mean in a pass of its own: as accurate as Welford's single
// pass, without its division for each element. Traffic: x is read three times, twice mostly from
// L1/L2; y written once. Backward for dx reads x and dy twice; dweight and dbias take passes of
// their own (device/column_sums.cuh): no atomics, hence the same bits in every run.
#include "engine/kernels/layer_norm.h"

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/column_sums.cuh"
#include "cuda/device/rows.cuh"
#include "engine/rows/monoids.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

// --- device ---

/// Two sums at once.
template <class A>
struct Sums {
  A first = A(0), second = A(0);
  __device__ void merge(const Sums& other) {
    first += other.first;
    second += other.second;
  }
};

template <class T>
__global__ void forward_kernel(const T* x, const T* weight, const T* bias, int64_t rows,
                               int64_t columns, AccT<T> eps, T* y, AccT<T>* means, AccT<T>* r) {
  using A = AccT<T>;
  const A count = static_cast<A>(columns);
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* from = x + row * columns;
    T* to = y + row * columns;
    Sum<A> sum;
    for_elements(from, columns, [&](A value, int64_t) { sum.push(value); });
    const A mean = block_reduce(sum).value / count;
    Sum<A> squares;
    for_elements(from, columns,
                 [&](A value, int64_t) { squares.push((value - mean) * (value - mean)); });
    const A scale = math::rsqrt(block_reduce(squares).value / count + eps);
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), w = load128(weight + i, n);
      Vec128<T> b{}, out;
      if (bias) b = load128(bias + i, n);
#pragma unroll
      for (int j = 0; j < Vec128<T>::kSize; ++j) {
        const A normal = (static_cast<A>(v.values[j]) - mean) * scale;
        out.values[j] =
            static_cast<T>(normal * static_cast<A>(w.values[j]) + static_cast<A>(b.values[j]));
      }
      store128(to + i, n, out);
    });
    if (threadIdx.x == 0) {
      means[row] = mean;
      r[row] = scale;
    }
  }
}

// dx = r·(g - mean(g) - (x - mean)·r²·mean(g·(x - mean))) with g = dy·w.
template <class T>
__global__ void backward_kernel(const T* x, const T* weight, const AccT<T>* means, const AccT<T>* r,
                                const T* dy, int64_t rows, int64_t columns, T* dx) {
  using A = AccT<T>;
  const A count = static_cast<A>(columns);
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *from = x + row * columns, *from_dy = dy + row * columns;
    T* to = dx + row * columns;
    const A mean = means[row], scale = r[row];
    Sums<A> sums;
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), w = load128(weight + i, n),
                      d = load128(from_dy + i, n);
#pragma unroll
      for (int j = 0; j < Vec128<T>::kSize; ++j) {
        if (j >= n) continue;
        const A g = static_cast<A>(d.values[j]) * static_cast<A>(w.values[j]);
        sums.first += g;
        sums.second += g * (static_cast<A>(v.values[j]) - mean);
      }
    });
    sums = block_reduce(sums);
    const A shift = sums.first / count, pull = sums.second * scale * scale / count;
    for_vectors<T>(columns, [&](int64_t i, int64_t n) {
      const Vec128<T> v = load128(from + i, n), w = load128(weight + i, n),
                      d = load128(from_dy + i, n);
      Vec128<T> out;
#pragma unroll
      for (int j = 0; j < Vec128<T>::kSize; ++j) {
        const A g = static_cast<A>(d.values[j]) * static_cast<A>(w.values[j]);
        const A centred = static_cast<A>(v.values[j]) - mean;
        out.values[j] = static_cast<T>(scale * (g - shift - centred * pull));
      }
      store128(to + i, n, out);
    });
  }
}

/// dy·x̂ at one place.
template <class T>
struct WeightTerm {
  const T *x, *dy;
  const AccT<T>*means, *r;
  int64_t columns;
  __device__ AccT<T> operator()(int64_t row, int64_t column) const {
    using A = AccT<T>;
    const int64_t i = row * columns + column;
    return static_cast<A>(dy[i]) * ((static_cast<A>(x[i]) - means[row]) * r[row]);
  }
};
template <class T>
struct BiasTerm {
  const T* dy;
  int64_t columns;
  __device__ AccT<T> operator()(int64_t row, int64_t column) const {
    return static_cast<AccT<T>>(dy[row * columns + column]);
  }
};

}  // namespace

LayerNormOut layer_norm_forward(OnCuda device, const Tensor& x_any, const Tensor& weight_any,
                                const Tensor& bias_any, float eps) {
  check_same_device("layer_norm", device, {&x_any, &weight_any, &bias_any});
  const Tensor x = x_any.contiguous(), weight = weight_any.contiguous();
  const Tensor bias = bias_any.defined() ? bias_any.contiguous() : Tensor();
  const int64_t rows = x.shape().rows(), columns = x.dim(-1);
  LayerNormOut out;
  on_cuda_float("layer_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    out.y = Tensor::empty(x.shape(), x.dtype(), device_of(device), "layer_norm");
    out.mean = Tensor::empty({rows}, dtype_of<A>, device_of(device), "layer_norm");
    out.r = Tensor::empty({rows}, dtype_of<A>, device_of(device), "layer_norm");
    if (rows == 0) return;
    launch("layer_norm_forward", device.index, forward_kernel<T>,
           row_shape<T>(device.index, rows, columns), x.data<T>(), weight.data<T>(),
           bias.defined() ? bias.data<T>() : nullptr, rows, columns, static_cast<A>(eps),
           out.y.mutable_data<T>("layer_norm"), out.mean.mutable_data<A>("layer_norm"),
           out.r.mutable_data<A>("layer_norm"));
  });
  return out;
}

LayerNormGrads layer_norm_backward(OnCuda device, const Tensor& x_any, const Tensor& weight_any,
                                   const LayerNormOut& saved, const Tensor& dy_any,
                                   LayerNormNeeds needs) {
  check_same_device("layer_norm", device, {&x_any, &weight_any, &saved.mean, &saved.r, &dy_any});
  const Tensor x = x_any.contiguous(), weight = weight_any.contiguous(), dy = dy_any.contiguous();
  const int64_t rows = x.shape().rows(), columns = x.dim(-1);
  LayerNormGrads grads;
  on_cuda_float("layer_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const A *means = saved.mean.data<A>(), *r = saved.r.data<A>();
    if (needs.dx) {
      grads.dx = Tensor::empty(x.shape(), x.dtype(), device_of(device), "layer_norm");
      if (rows > 0)
        launch("layer_norm_backward", device.index, backward_kernel<T>,
               row_shape<T>(device.index, rows, columns), x.data<T>(), weight.data<T>(), means, r,
               dy.data<T>(), rows, columns, grads.dx.mutable_data<T>("layer_norm"));
    }
    if (needs.dweight)
      grads.dweight = column_sums<A>("layer_norm_dweight", device.index, rows, columns,
                                     WeightTerm<T>{x.data<T>(), dy.data<T>(), means, r, columns})
                          .to(x.dtype());
    if (needs.dbias)
      grads.dbias = column_sums<A>("layer_norm_dbias", device.index, rows, columns,
                                   BiasTerm<T>{dy.data<T>(), columns})
                        .to(x.dtype());
  });
  return grads;
}

}  // namespace ocellus
