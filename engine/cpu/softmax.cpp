#include "engine/kernels/softmax.h"

#include <algorithm>

#include "engine/cpu/strided_loop.h"
#include "engine/rows/lanes.h"
#include "engine/rows/monoids.h"

namespace ocellus {
namespace {
int64_t row_grain(int64_t columns) {
  return std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns));
}
}  // namespace

Tensor softmax_forward(OnCpu, const Tensor& x, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  const int64_t columns = x.dim(-1), rows = x.shape().rows();
  Tensor out = Tensor::empty(x.shape(), x.dtype(), kCpu, op);
  on_float(op, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    T* to = out.mutable_data<T>(op);
    parallel_for(rows, row_grain(columns), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* in = from + row * columns;
        T* y = to + row * columns;
        A top = reduce_row<Max<A>>(columns, [&](int64_t i) { return static_cast<A>(in[i]); }).value;
        if (top == -std::numeric_limits<A>::infinity()) top = 0;  // nothing to subtract from -inf
        const A sum = reduce_row<Sum<A>>(columns, [&](int64_t i) {
                        return math::exp(static_cast<A>(in[i]) - top);
                      }).value;
        if (log) {
          const A shift = top + math::log(sum);
          for (int64_t i = 0; i < columns; ++i)
            y[i] = static_cast<T>(static_cast<A>(in[i]) - shift);
        } else {
          const A scale = sum > A(0) ? A(1) / sum : A(0);
#pragma omp simd
          for (int64_t i = 0; i < columns; ++i)
            y[i] = static_cast<T>(math::exp(static_cast<A>(in[i]) - top) * scale);
        }
      }
    });
  });
  return out;
}

Tensor softmax_backward(OnCpu, const Tensor& y, const Tensor& dy_in, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  const Tensor dy = dy_in.contiguous();
  const int64_t columns = y.dim(-1), rows = y.shape().rows();
  Tensor out = Tensor::empty(y.shape(), y.dtype(), kCpu, op);
  on_float(op, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T *values = y.data<T>(), *gradient = dy.data<T>();
    T* to = out.mutable_data<T>(op);
    parallel_for(rows, row_grain(columns), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T *v = values + row * columns, *g = gradient + row * columns;
        T* dx = to + row * columns;
        if (log) {
          const A sum =
              reduce_row<Sum<A>>(columns, [&](int64_t i) { return static_cast<A>(g[i]); }).value;
#pragma omp simd
          for (int64_t i = 0; i < columns; ++i)
            dx[i] = static_cast<T>(static_cast<A>(g[i]) - math::exp(static_cast<A>(v[i])) * sum);
        } else {
          const A sum = reduce_row<Sum<A>>(columns, [&](int64_t i) {
                          return static_cast<A>(g[i]) * static_cast<A>(v[i]);
                        }).value;
#pragma omp simd
          for (int64_t i = 0; i < columns; ++i)
            dx[i] = static_cast<T>(static_cast<A>(v[i]) * (static_cast<A>(g[i]) - sum));
        }
      }
    });
  });
  return out;
}

}  // namespace ocellus
