#include "engine/kernels/rms_norm.h"

#include "engine/cpu/row_blocks.h"
#include "engine/rows/lanes.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

template <class T>
void forward(const Tensor& x, const Tensor& weight, float eps, RmsNormOut& out) {
  using A = AccT<T>;
  const int64_t columns = x.dim(-1);
  const T* from = x.data<T>();
  RowBuffer<T> weights(columns);
  const A* w = weights.load(weight.data<T>());
  T* to = out.y.mutable_data<T>("rms_norm");
  A* r = out.r.mutable_data<A>("rms_norm");
  parallel_for(x.shape().rows(), rows_per_chunk(columns), [&](int64_t begin, int64_t end) {
    RowBuffer<T> in(columns), result(columns);
    for (int64_t n = begin; n < end; ++n) {
      const A* v = in.load(from + n * columns);
      const A squares = sum_row<A>(columns, [v]<class V>(int64_t i) {
        const V value = at<V>(v, i);
        return value * value;
      });
      const A scale = math::rsqrt(squares / static_cast<A>(columns) + static_cast<A>(eps));
      A* y = result.target(to + n * columns);
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) y[i] = v[i] * scale * w[i];
      result.store(to + n * columns);
      r[n] = scale;
    }
  });
}

template <class T>
void backward(const Tensor& x, const Tensor& weight, const Tensor& r, const Tensor& dy,
              RmsNormGrads& grads) {
  using A = AccT<T>;
  const int64_t columns = x.dim(-1), rows = x.shape().rows();
  const T *from = x.data<T>(), *from_dy = dy.data<T>();
  const A* scales = r.data<A>();
  RowBuffer<T> weights(columns);
  const A* w = weights.load(weight.data<T>());
  T* dx = grads.dx.defined() ? grads.dx.mutable_data<T>("rms_norm") : nullptr;
  const bool need_dweight = grads.dweight.defined();
  ColumnSums<A> dweight(rows, columns);
  parallel_for(rows, dweight.rows_per_block(), [&](int64_t begin, int64_t end) {
    RowBuffer<T> in(columns), in_dy(columns), result(columns);
    A* dw = dweight.block(begin);
    for (int64_t n = begin; n < end; ++n) {
      const A *v = in.load(from + n * columns), *d = in_dy.load(from_dy + n * columns);
      const A scale = scales[n];
      if (need_dweight) {
#pragma omp simd
        for (int64_t i = 0; i < columns; ++i) dw[i] += d[i] * (v[i] * scale);
      }
      if (!dx) continue;
      const A dot = sum_row<A>(
          columns, [=]<class V>(int64_t i) { return at<V>(d, i) * at<V>(w, i) * at<V>(v, i); });
      // x̂·mean(g·x̂) = x·r²·mean(g·x)
      const A pull = scale * scale * dot / static_cast<A>(columns);
      A* out = result.target(dx + n * columns);
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] = scale * (d[i] * w[i] - v[i] * pull);
      result.store(dx + n * columns);
    }
  });
  if (need_dweight) dweight.merge(grads.dweight.mutable_data<T>("rms_norm"));
}

}  // namespace

RmsNormOut rms_norm_forward(OnCpu, const Tensor& x_any, const Tensor& weight, float eps) {
  const Tensor x = x_any.contiguous();
  RmsNormOut out;
  on_float("rms_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    out.y = Tensor::empty(x.shape(), x.dtype(), kCpu, "rms_norm");
    out.r = Tensor::empty({x.shape().rows()}, dtype_of<AccT<T>>, kCpu, "rms_norm");
    forward<T>(x, weight.contiguous(), eps, out);
  });
  return out;
}

RmsNormGrads rms_norm_backward(OnCpu, const Tensor& x, const Tensor& weight, const Tensor& r,
                               const Tensor& dy, bool need_dx, bool need_dweight) {
  RmsNormGrads grads;
  if (need_dx) grads.dx = Tensor::empty(x.shape(), x.dtype(), kCpu, "rms_norm");
  if (need_dweight) grads.dweight = Tensor::empty(weight.shape(), x.dtype(), kCpu, "rms_norm");
  on_float("rms_norm", x.dtype(), [&](auto tag) {
    backward<typename decltype(tag)::type>(x.contiguous(), weight.contiguous(), r, dy.contiguous(),
                                           grads);
  });
  return grads;
}

}  // namespace ocellus
