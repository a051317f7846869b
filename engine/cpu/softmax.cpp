#include "engine/kernels/softmax.h"

#include <limits>

#include "engine/cpu/row_blocks.h"
#include "engine/rows/lanes.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

template <class A>
A sum_of(const A* x, int64_t n) {
  return sum_row<A>(n, [x]<class V>(int64_t i) { return at<V>(x, i); });
}

// y ← e^{x - max}, then divided by its sum. y may be x.
template <class A>
void softmax_row(const A* x, int64_t n, A* y) {
  A top = max_row(x, n);
  if (top == -std::numeric_limits<A>::infinity()) top = 0;  // all e^x are 0, and stay it
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = math::exp(x[i] - top);
  const A sum = sum_of(y, n);
  const A scale = sum == A(0) ? A(0) : A(1) / sum;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] *= scale;
}

// y ← x - max - log Σ e^{x - max}; the exponentials go through a small buffer. y may be x.
template <class A>
void log_softmax_row(const A* x, int64_t n, A* y) {
  constexpr int64_t kBuffer = 256;
  const A top = max_row(x, n);
  if (top == -std::numeric_limits<A>::infinity() &&
      std::find_if(x, x + n, [](A v) { return v != v; }) == x + n) {
    std::copy_n(x, n, y);
    return;
  }
  A buffer[kBuffer], sum = 0;
  for (int64_t begin = 0; begin < n; begin += kBuffer) {
    const int64_t count = std::min(kBuffer, n - begin);
    const A* part = x + begin;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) buffer[i] = math::exp(part[i] - top);
    sum += sum_of(buffer, count);
  }
  const A shift = top + math::log(sum);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] - shift;
}

// dx ← y·(dy - Σ dy·y), or dx ← dy - e^y·Σ dy. dx may be y or dy.
template <class A>
void softmax_grad_row(const A* y, const A* dy, int64_t n, A* dx) {
  const A dot = sum_row<A>(n, [=]<class V>(int64_t i) { return at<V>(dy, i) * at<V>(y, i); });
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - dot);
}
template <class A>
void log_softmax_grad_row(const A* y, const A* dy, int64_t n, A* dx) {
  const A total = sum_of(dy, n);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] - math::exp(y[i]) * total;
}

}  // namespace

Tensor softmax_forward(OnCpu, const Tensor& x_any, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  const Tensor x = x_any.contiguous();
  const int64_t n = x.dim(-1);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), kCpu, op);
  on_float(op, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto row = log ? log_softmax_row<AccT<T>> : softmax_row<AccT<T>>;
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>(op);
    parallel_for(x.shape().rows(), rows_per_chunk(n), [&](int64_t begin, int64_t end) {
      RowBuffer<T> in(n), out(n);
      for (int64_t r = begin; r < end; ++r) {
        row(in.load(from + r * n), n, out.target(to + r * n));
        out.store(to + r * n);
      }
    });
  });
  return y;
}

Tensor softmax_backward(OnCpu, const Tensor& y_any, const Tensor& dy_any, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  const Tensor y = y_any.contiguous(), dy = dy_any.contiguous();
  const int64_t n = y.dim(-1);
  Tensor dx = Tensor::empty(y.shape(), y.dtype(), kCpu, op);
  on_float(op, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto row = log ? log_softmax_grad_row<AccT<T>> : softmax_grad_row<AccT<T>>;
    const T *values = y.data<T>(), *from = dy.data<T>();
    T* to = dx.mutable_data<T>(op);
    parallel_for(y.shape().rows(), rows_per_chunk(n), [&](int64_t begin, int64_t end) {
      RowBuffer<T> in(n), in_dy(n), out(n);
      for (int64_t r = begin; r < end; ++r) {
        row(in.load(values + r * n), in_dy.load(from + r * n), n, out.target(to + r * n));
        out.store(to + r * n);
      }
    });
  });
  return dx;
}

}  // namespace ocellus
