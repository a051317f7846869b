#include "engine/kernels/optim.h"

#include <cmath>
#include <vector>

#include "engine/cpu/strided_loop.h"

namespace ocellus {
namespace {

void check_same(const char* op, const Tensor& parameter, const Tensor& other, const char* name) {
  check<ShapeError>(other.shape() == parameter.shape() && other.dtype() == parameter.dtype() &&
                        other.is_contiguous(),
                    "{}: {} must be contiguous {} {}, got {}", op, name, to_string(parameter.shape()),
                    dtype_name(parameter.dtype()), other.describe());
}

}  // namespace

void adamw_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                const AdamWStep& s) {
  check_same("adamw", parameter, gradient, "the gradient");
  check_same("adamw", parameter, m, "the first moment");
  check_same("adamw", parameter, v, "the second moment");
  on_dtype<f32, f64>("adamw", parameter.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* p = parameter.mutable_data<T>("adamw");
    const T* g = gradient.data<T>();
    T *first = m.mutable_data<T>("adamw"), *second = v.mutable_data<T>("adamw");
    const T keep = static_cast<T>(1 - s.lr * s.weight_decay), scale = static_cast<T>(s.gradient_scale);
    const T beta1 = static_cast<T>(s.beta1), beta2 = static_cast<T>(s.beta2);
    const T rest1 = static_cast<T>(1 - s.beta1), rest2 = static_cast<T>(1 - s.beta2);
    const double t = static_cast<double>(s.step);
    const T rate = static_cast<T>(s.lr / (1 - std::pow(s.beta1, t)));
    const T correction = static_cast<T>(1 / std::sqrt(1 - std::pow(s.beta2, t)));
    const T eps = static_cast<T>(s.eps);
    parallel_for(parameter.numel(), kChunkElements, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const T grad = g[i] * scale;
        first[i] = beta1 * first[i] + rest1 * grad;
        second[i] = beta2 * second[i] + rest2 * grad * grad;
        p[i] = p[i] * keep - rate * first[i] / (std::sqrt(second[i]) * correction + eps);
      }
    });
  });
}

void sgd_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& buffer, double lr,
              double momentum, double weight_decay, double gradient_scale) {
  check_same("sgd", parameter, gradient, "the gradient");
  check_same("sgd", parameter, buffer, "the momentum");
  on_dtype<f32, f64>("sgd", parameter.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* p = parameter.mutable_data<T>("sgd");
    const T* g = gradient.data<T>();
    T* b = buffer.mutable_data<T>("sgd");
    const T rate = static_cast<T>(lr), mu = static_cast<T>(momentum);
    const T decay = static_cast<T>(weight_decay), scale = static_cast<T>(gradient_scale);
    parallel_for(parameter.numel(), kChunkElements, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        b[i] = mu * b[i] + g[i] * scale + decay * p[i];
        p[i] -= rate * b[i];
      }
    });
  });
}

double global_norm(OnCpu, const Tensors& tensors) {
  double total = 0;
  for (const Tensor& tensor : tensors) {
    const Tensor x = tensor.contiguous();
    const int64_t n = x.numel(), blocks = (n + kChunkElements - 1) / kChunkElements;
    std::vector<double> partial(static_cast<size_t>(blocks));
    on_float("global_norm", x.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* from = x.data<T>();
      parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          constexpr int kLaneCount = 8;
          double lane[kLaneCount] = {};
          const int64_t first = b * kChunkElements, last = std::min(n, first + kChunkElements);
          int64_t i = first;
          for (; i + kLaneCount <= last; i += kLaneCount)
            for (int l = 0; l < kLaneCount; ++l) {
              const double value = static_cast<double>(static_cast<AccT<T>>(from[i + l]));
              lane[l] += value * value;
            }
          for (; i < last; ++i) {
            const double value = static_cast<double>(static_cast<AccT<T>>(from[i]));
            lane[0] += value * value;
          }
          for (int l = 1; l < kLaneCount; ++l) lane[0] += lane[l];
          partial[static_cast<size_t>(b)] = lane[0];
        }
      });
    });
    for (double p : partial) total += p;
  }
  return std::sqrt(total);
}

bool has_nonfinite(OnCpu, const Tensor& tensor) {
  const Tensor x = tensor.contiguous();
  bool bad = false;
  on_float("has_nonfinite", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    // x·0 is 0 for finite x and NaN otherwise: one vectorised sum tells.
    A sum = 0;
    const int64_t n = x.numel();
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += static_cast<A>(from[i]) * A(0);
    bad = sum != A(0);
  });
  return bad;
}

}  // namespace ocellus
