#include "engine/kernels/optim.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "engine/cpu/strided_loop.h"

namespace ocellus {
namespace {

void check_same(const char* op, const Tensor& parameter, const Tensor& other, const char* name) {
  check<ShapeError>(other.shape() == parameter.shape() && other.dtype() == parameter.dtype() &&
                        other.is_contiguous(),
                    "{}: {} must be contiguous {} {}, got {}", op, name,
                    to_string(parameter.shape()), dtype_name(parameter.dtype()), other.describe());
}

}  // namespace

void adamw_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                const AdamWStep& step) {
  check_same("adamw", parameter, parameter, "the parameter");
  check_same("adamw", parameter, gradient, "the gradient");
  check_same("adamw", parameter, m, "the first moment");
  check_same("adamw", parameter, v, "the second moment");
  check<UsageError>(step.step >= 1, "adamw: steps count from 1, got {}", step.step);
  on_dtype<f32, f64>("adamw", parameter.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* p = parameter.mutable_data<T>("adamw");
    const T* g = gradient.data<T>();
    T *first = m.mutable_data<T>("adamw"), *second = v.mutable_data<T>("adamw");
    const AdamWElement<T> update(step);
    parallel_for(parameter.numel(), kChunkElements, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) update(p[i], g[i], first[i], second[i]);
    });
  });
}

void sgd_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& buffer, double lr,
              double momentum, double weight_decay, double gradient_scale) {
  check_same("sgd", parameter, parameter, "the parameter");
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
    // One partial sum a block of fixed size, merged in order: the same bits for any thread count.
    std::vector<double> partial(static_cast<size_t>(blocks));
    on_float("global_norm", x.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      using A = AccT<T>;
      const T* from = x.data<T>();
      parallel_for(n, kChunkElements, [&](int64_t begin, int64_t end) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = begin; i < end; ++i) {
          const double value = static_cast<double>(static_cast<A>(from[i]));
          sum += value * value;
        }
        partial[static_cast<size_t>(begin / kChunkElements)] = sum;
      });
    });
    for (double sum : partial) total += sum;
  }
  return std::sqrt(total);
}

void adamw_steps(OnCpu device, const std::vector<AdamWItem>& items, const AdamWStep& step) {
  for (const AdamWItem& item : items) {
    AdamWStep own = step;
    own.lr = item.lr;
    own.weight_decay = item.weight_decay;
    adamw_step(device, *item.parameter, *item.gradient, *item.m, *item.v, own);
  }
}

std::vector<double> norms(OnCpu device, const Tensors& tensors) {
  std::vector<double> list;
  for (const Tensor& x : tensors) list.push_back(global_norm(device, {x}));
  return list;
}

bool has_nonfinite(OnCpu, const Tensor& tensor) {
  const Tensor x = tensor.contiguous();
  std::atomic<bool> found = false;  // only ever raised, so the order of threads does not show
  on_float("has_nonfinite", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    parallel_for(x.numel(), 4 * kChunkElements, [&](int64_t begin, int64_t end) {
      if (found.load(std::memory_order_relaxed)) return;
      // x·0 is 0 for finite x and NaN otherwise: one vectorised sum tells.
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = begin; i < end; ++i) sum += static_cast<A>(from[i]) * A(0);
      if (sum != A(0)) found.store(true, std::memory_order_relaxed);
    });
  });
  return found;
}

}  // namespace ocellus
