#include "engine/kernels/batch_norm.h"

#include "engine/cpu/row_blocks.h"
#include "engine/rows/lanes.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

struct Planes {
  int64_t batch, channels, size;
  explicit Planes(const Tensor& x)
      : batch(x.dim(0)), channels(x.dim(1)), size(x.dim(2) * x.dim(3)) {}
  int64_t at(int64_t b, int64_t c) const { return (b * channels + c) * size; }
  int64_t count() const { return batch * size; }
};

// Each channel is one thread's: its planes in order of the batch.
template <class F>
void for_channels(const Planes& p, F&& body) {
  parallel_for(p.channels, rows_per_chunk(p.count()), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) body(c);
  });
}

Tensor wide_channels(const Planes& p, DType dtype) {
  return Tensor::empty({p.channels}, dtype == DType::kF64 ? DType::kF64 : DType::kF32, kCpu,
                       "batch_norm");
}

template <class A>
A inverse_deviation(A variance, float eps) {
  return math::rsqrt(variance + static_cast<A>(eps));
}

}  // namespace

ChannelStatistics channel_statistics(OnCpu, const Tensor& x_any) {
  const Tensor x = x_any.contiguous();
  const Planes p(x);
  ChannelStatistics out{wide_channels(p, x.dtype()), wide_channels(p, x.dtype())};
  on_float("batch_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    A *means = out.mean.mutable_data<A>("batch_norm"),
      *variances = out.variance.mutable_data<A>("batch_norm");
    for_channels(p, [&](int64_t c) {
      RowBuffer<T> row(p.size);
      A sum = 0, squares = 0;
      for (int64_t b = 0; b < p.batch; ++b) {
        const A* v = row.load(from + p.at(b, c));
        sum += sum_row<A>(p.size, [v]<class V>(int64_t i) { return at<V>(v, i); });
      }
      const A mean = sum / static_cast<A>(p.count());
      for (int64_t b = 0; b < p.batch; ++b) {
        const A* v = row.load(from + p.at(b, c));
        squares += sum_row<A>(p.size, [v, mean]<class V>(int64_t i) {
          const V centred = at<V>(v, i) - mean;
          return centred * centred;
        });
      }
      means[c] = mean;
      variances[c] = squares / static_cast<A>(p.count());
    });
  });
  return out;
}

Tensor batch_norm_forward(OnCpu, const Tensor& x_any, const Tensor& weight, const Tensor& bias,
                          const ChannelStatistics& statistics, float eps) {
  const Tensor x = x_any.contiguous();
  const Planes p(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), kCpu, "batch_norm");
  on_float("batch_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const Tensor w = weight.to(dtype_of<A>).contiguous(), b = bias.to(dtype_of<A>).contiguous();
    const Tensor mean = statistics.mean.to(dtype_of<A>),
                 variance = statistics.variance.to(dtype_of<A>);
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>("batch_norm");
    for_channels(p, [&](int64_t c) {
      const A m = mean.data<A>()[c], offset = b.data<A>()[c];
      const A scale = inverse_deviation(variance.data<A>()[c], eps) * w.data<A>()[c];
      for (int64_t n = 0; n < p.batch; ++n) {
        const T* v = from + p.at(n, c);
        T* out = to + p.at(n, c);
#pragma omp simd
        for (int64_t i = 0; i < p.size; ++i)
          out[i] = static_cast<T>((static_cast<A>(v[i]) - m) * scale + offset);
      }
    });
  });
  return y;
}

BatchNormGrads batch_norm_backward(OnCpu, const Tensor& x_any, const Tensor& weight,
                                   const ChannelStatistics& statistics, float eps,
                                   const Tensor& dy_any, bool through_statistics) {
  const Tensor x = x_any.contiguous(), dy = dy_any.contiguous();
  const Planes p(x);
  BatchNormGrads out{Tensor::empty(x.shape(), x.dtype(), kCpu, "batch_norm"),
                     wide_channels(p, x.dtype()), wide_channels(p, x.dtype())};
  on_float("batch_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const Tensor w = weight.to(dtype_of<A>).contiguous();
    const Tensor mean = statistics.mean.to(dtype_of<A>),
                 variance = statistics.variance.to(dtype_of<A>);
    const T *from = x.data<T>(), *gradient = dy.data<T>();
    T* dx = out.dx.mutable_data<T>("batch_norm");
    A *dw = out.dweight.mutable_data<A>("batch_norm"),
      *db = out.dbias.mutable_data<A>("batch_norm");
    for_channels(p, [&](int64_t c) {
      RowBuffer<T> row(p.size), row_dy(p.size);
      const A m = mean.data<A>()[c], r = inverse_deviation(variance.data<A>()[c], eps);
      A sum = 0, product = 0;
      for (int64_t b = 0; b < p.batch; ++b) {
        const A *v = row.load(from + p.at(b, c)), *g = row_dy.load(gradient + p.at(b, c));
        sum += sum_row<A>(p.size, [g]<class V>(int64_t i) { return at<V>(g, i); });
        product += sum_row<A>(
            p.size, [v, g, m]<class V>(int64_t i) { return at<V>(g, i) * (at<V>(v, i) - m); });
      }
      db[c] = sum;
      dw[c] = product * r;
      const A scale = w.data<A>()[c] * r, count = static_cast<A>(p.count());
      for (int64_t b = 0; b < p.batch; ++b) {
        const T *v = from + p.at(b, c), *g = gradient + p.at(b, c);
        T* to = dx + p.at(b, c);
        if (through_statistics) {
          const A mean_dy = sum / count, slope = product * r * r / count;
#pragma omp simd
          for (int64_t i = 0; i < p.size; ++i)
            to[i] = static_cast<T>(
                scale * (static_cast<A>(g[i]) - mean_dy - (static_cast<A>(v[i]) - m) * slope));
        } else {
#pragma omp simd
          for (int64_t i = 0; i < p.size; ++i)
            to[i] = static_cast<T>(scale * static_cast<A>(g[i]));
        }
      }
    });
  });
  return out;
}

}  // namespace ocellus
