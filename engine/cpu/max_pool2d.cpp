#include "engine/kernels/max_pool2d.h"

#include <algorithm>

#include "engine/cpu/row_blocks.h"

namespace ocellus {

MaxPoolOut max_pool2d_forward(OnCpu, const Tensor& x_any, PoolShape s) {
  const Tensor x = x_any.contiguous();
  const int64_t height = x.dim(2), width = x.dim(3);
  const Shape out_shape{x.dim(0), x.dim(1), s.out(height), s.out(width)};
  MaxPoolOut out{Tensor::empty(out_shape, x.dtype(), kCpu, "max_pool2d"),
                 Tensor::empty(out_shape, DType::kI32, kCpu, "max_pool2d")};
  const int64_t rows = out_shape[2], columns = out_shape[3];
  on_float("max_pool2d", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    T* y = out.y.mutable_data<T>("max_pool2d");
    auto* where = out.where.mutable_data<int32_t>("max_pool2d");
    parallel_for(x.dim(0) * x.dim(1), rows_per_chunk(rows * columns * s.kernel * s.kernel),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t p = begin; p < end; ++p)
                     for (int64_t i = 0; i < rows; ++i)
                       for (int64_t j = 0; j < columns; ++j) {
                         const T* plane = from + p * height * width;
                         const int64_t top = std::max<int64_t>(0, i * s.stride - s.padding);
                         const int64_t left = std::max<int64_t>(0, j * s.stride - s.padding);
                         const int64_t bottom =
                             std::min(height, i * s.stride - s.padding + s.kernel);
                         const int64_t right = std::min(width, j * s.stride - s.padding + s.kernel);
                         int64_t best = top * width + left;
                         for (int64_t u = top; u < bottom; ++u)
                           for (int64_t v = left; v < right; ++v) {
                             const A value = static_cast<A>(plane[u * width + v]);
                             // A NaN wins, so that it is seen.
                             if (value > static_cast<A>(plane[best]) || value != value)
                               best = u * width + v;
                           }
                         const int64_t at = (p * rows + i) * columns + j;
                         y[at] = plane[best];
                         where[at] = static_cast<int32_t>(best);
                       }
                 });
  });
  return out;
}

Tensor max_pool2d_backward(OnCpu, const Tensor& dy_any, const Tensor& where, const Shape& x_shape,
                           PoolShape) {
  const Tensor dy = dy_any.contiguous();
  const int64_t plane = x_shape[2] * x_shape[3], windows = dy.dim(2) * dy.dim(3);
  Tensor dx = Tensor::empty(x_shape, dy.dtype(), kCpu, "max_pool2d");
  on_float("max_pool2d", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = dy.data<T>();
    const auto* places = where.data<int32_t>();
    T* to = dx.mutable_data<T>("max_pool2d");
    parallel_for(x_shape[0] * x_shape[1], rows_per_chunk(plane), [&](int64_t begin, int64_t end) {
      std::vector<A> sum(static_cast<size_t>(plane));
      for (int64_t p = begin; p < end; ++p) {
        std::fill(sum.begin(), sum.end(), A(0));
        for (int64_t i = p * windows; i < (p + 1) * windows; ++i)
          sum[places[i]] += static_cast<A>(from[i]);
        for (int64_t i = 0; i < plane; ++i) to[p * plane + i] = static_cast<T>(sum[i]);
      }
    });
  });
  return dx;
}

}  // namespace ocellus
