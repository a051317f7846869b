#include "engine/kernels/layer_norm.h"

#include "engine/cpu/row_blocks.h"
#include "engine/rows/lanes.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

template <class T>
void forward(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps,
             LayerNormOut& out) {
  using A = AccT<T>;
  const int64_t columns = x.dim(-1);
  const T* from = x.data<T>();
  RowBuffer<T> weights(columns), biases(columns);
  const A* w = weights.load(weight.data<T>());
  const std::vector<A> zeros(bias.defined() ? 0 : static_cast<size_t>(columns), A(0));
  const A* b = bias.defined() ? biases.load(bias.data<T>()) : zeros.data();
  T* to = out.y.mutable_data<T>("layer_norm");
  A *means = out.mean.mutable_data<A>("layer_norm"), *r = out.r.mutable_data<A>("layer_norm");
  parallel_for(x.shape().rows(), rows_per_chunk(columns), [&](int64_t begin, int64_t end) {
    RowBuffer<T> in(columns), result(columns);
    const A count = static_cast<A>(columns);
    for (int64_t n = begin; n < end; ++n) {
      const A* v = in.load(from + n * columns);
      const A mean = sum_row<A>(columns, [v]<class V>(int64_t i) { return at<V>(v, i); }) / count;
      const A squares = sum_row<A>(columns, [v, mean]<class V>(int64_t i) {
        const V centred = at<V>(v, i) - mean;
        return centred * centred;
      });
      const A variance = squares / count;
      const A scale = math::rsqrt(variance + static_cast<A>(eps));
      A* y = result.target(to + n * columns);
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) y[i] = (v[i] - mean) * scale * w[i] + b[i];
      result.store(to + n * columns);
      means[n] = mean;
      r[n] = scale;
    }
  });
}

template <class T>
void backward(const Tensor& x, const Tensor& weight, const LayerNormOut& saved, const Tensor& dy,
              LayerNormGrads& grads) {
  using A = AccT<T>;
  const int64_t columns = x.dim(-1), rows = x.shape().rows();
  const T *from = x.data<T>(), *from_dy = dy.data<T>();
  const A *means = saved.mean.data<A>(), *scales = saved.r.data<A>();
  RowBuffer<T> weights(columns);
  const A* w = weights.load(weight.data<T>());
  T* dx = grads.dx.defined() ? grads.dx.mutable_data<T>("layer_norm") : nullptr;
  const bool need_sums = grads.dweight.defined() || grads.dbias.defined();
  // dweight and dbias side by side, so that one pass over dy serves both.
  ColumnSums<A> sums(rows, 2 * columns);
  parallel_for(rows, sums.rows_per_block(), [&](int64_t begin, int64_t end) {
    RowBuffer<T> in(columns), in_dy(columns), result(columns);
    A *dw = sums.block(begin), *db = dw + columns;
    const A count = static_cast<A>(columns);
    for (int64_t n = begin; n < end; ++n) {
      const A *v = in.load(from + n * columns), *d = in_dy.load(from_dy + n * columns);
      const A mean = means[n], scale = scales[n];
      if (need_sums) {
#pragma omp simd
        for (int64_t i = 0; i < columns; ++i) {
          dw[i] += d[i] * ((v[i] - mean) * scale);
          db[i] += d[i];
        }
      }
      if (!dx) continue;
      // x̂ and g are computed again where they are used: cheaper than a buffer.
      const auto g = [=]<class V>(int64_t i) { return at<V>(d, i) * at<V>(w, i); };
      const A shift = sum_row<A>(columns, g) / count;
      const A dot = sum_row<A>(columns, [=]<class V>(int64_t i) {
        return g.template operator()<V>(i) * (at<V>(v, i) - mean);
      });
      const A pull = dot * scale * scale / count;  // (x - mean)·pull = x̂·mean(g·x̂)
      A* out = result.target(dx + n * columns);
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i)
        out[i] = scale * (d[i] * w[i] - shift - (v[i] - mean) * pull);
      result.store(dx + n * columns);
    }
  });
  if (!need_sums) return;
  Tensor both = Tensor::empty({2 * columns}, x.dtype(), kCpu, "layer_norm");
  T* merged = both.mutable_data<T>("layer_norm");
  sums.merge(merged);
  if (grads.dweight.defined())
    std::copy_n(merged, columns, grads.dweight.mutable_data<T>("layer_norm"));
  if (grads.dbias.defined())
    std::copy_n(merged + columns, columns, grads.dbias.mutable_data<T>("layer_norm"));
}

}  // namespace

LayerNormOut layer_norm_forward(OnCpu, const Tensor& x_any, const Tensor& weight,
                                const Tensor& bias, float eps) {
  const Tensor x = x_any.contiguous();
  LayerNormOut out;
  on_float("layer_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr DType statistics = dtype_of<AccT<T>>;
    out.y = Tensor::empty(x.shape(), x.dtype(), kCpu, "layer_norm");
    out.mean = Tensor::empty({x.shape().rows()}, statistics, kCpu, "layer_norm");
    out.r = Tensor::empty({x.shape().rows()}, statistics, kCpu, "layer_norm");
    forward<T>(x, weight.contiguous(), bias.contiguous(), eps, out);
  });
  return out;
}

LayerNormGrads layer_norm_backward(OnCpu, const Tensor& x, const Tensor& weight,
                                   const LayerNormOut& saved, const Tensor& dy,
                                   LayerNormNeeds needs) {
  LayerNormGrads grads;
  if (needs.dx) grads.dx = Tensor::empty(x.shape(), x.dtype(), kCpu, "layer_norm");
  if (needs.dweight) grads.dweight = Tensor::empty(weight.shape(), x.dtype(), kCpu, "layer_norm");
  if (needs.dbias) grads.dbias = Tensor::empty(weight.shape(), x.dtype(), kCpu, "layer_norm");
  on_float("layer_norm", x.dtype(), [&](auto tag) {
    backward<typename decltype(tag)::type>(x.contiguous(), weight.contiguous(), saved,
                                           dy.contiguous(), grads);
  });
  return grads;
}

}  // namespace ocellus
