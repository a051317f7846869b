// Kernels of optimizers and of gradient norms: plain in-place updates, no autograd.
#pragma once
#include <cmath>
#include <vector>

#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/scalar/math.h"
#include "engine/tensor.h"

namespace ocellus {

/// AdamWStep — the numbers of one update; `step` counts from 1.
struct AdamWStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;
  double gradient_scale = 1;  // the clip factor, applied as the gradient is read
};

/// AdamWElement — the update of one element; its numbers are formed once, in double.
template <class T>
struct AdamWElement {
  T keep, scale, beta1, rest1, beta2, rest2, rate, correction, eps;

  explicit AdamWElement(const AdamWStep& s)
      : keep(static_cast<T>(1 - s.lr * s.weight_decay)),
        scale(static_cast<T>(s.gradient_scale)),
        beta1(static_cast<T>(s.beta1)),
        rest1(static_cast<T>(1 - s.beta1)),
        beta2(static_cast<T>(s.beta2)),
        rest2(static_cast<T>(1 - s.beta2)),
        rate(static_cast<T>(s.lr / (1 - std::pow(s.beta1, static_cast<double>(s.step))))),
        correction(
            static_cast<T>(1 / std::sqrt(1 - std::pow(s.beta2, static_cast<double>(s.step))))),
        eps(static_cast<T>(s.eps)) {}

  HD void operator()(T& p, T gradient, T& m, T& v) const {
    const T g = gradient * scale;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    p = p * keep - rate * m / (math::sqrt(v) * correction + eps);
  }
};

/// adamw_step — with g scaled: p ← p·(1 - lr·decay);  m ← β₁m + (1-β₁)g;  v ← β₂v + (1-β₂)g²;
/// p ← p - lr·m̂/(√v̂ + eps), m̂ = m/(1-β₁ᵗ), v̂ = v/(1-β₂ᵗ).  All contiguous, one dtype, f32 or f64.
/// Loshchilov & Hutter 2017, arXiv:1711.05101. One pass: reads 16, writes 12 bytes per f32
/// parameter.
void adamw_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                const AdamWStep& step);
CUDA_TWIN void adamw_step(OnCuda, Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                          const AdamWStep& step);
inline void adamw_step(Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                       const AdamWStep& step) {
  on_device("adamw", parameter.device(),
            [&](auto device) { adamw_step(device, parameter, gradient, m, v, step); });
}

/// AdamWItem — a parameter of a joint update, with numbers of its own.
struct AdamWItem {
  Tensor *parameter, *m, *v;
  const Tensor* gradient;
  double lr, weight_decay;
};

/// adamw_steps — adamw_step of every item with the other numbers of `step`; all on one device. On
/// CUDA one launch for all of them.
void adamw_steps(OnCpu, const std::vector<AdamWItem>& items, const AdamWStep& step);
CUDA_TWIN void adamw_steps(OnCuda, const std::vector<AdamWItem>& items, const AdamWStep& step);
inline void adamw_steps(const std::vector<AdamWItem>& items, const AdamWStep& step) {
  if (items.empty()) return;
  on_device("adamw", items.front().parameter->device(),
            [&](auto device) { adamw_steps(device, items, step); });
}

/// sgd_step — b ← momentum·b + g + decay·p;  p ← p - lr·b.  As adamw_step; b starts at zero.
void sgd_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& buffer, double lr,
              double momentum, double weight_decay, double gradient_scale);
CUDA_TWIN void sgd_step(OnCuda, Tensor& parameter, const Tensor& gradient, Tensor& buffer,
                        double lr, double momentum, double weight_decay, double gradient_scale);
inline void sgd_step(Tensor& parameter, const Tensor& gradient, Tensor& buffer, double lr,
                     double momentum, double weight_decay, double gradient_scale) {
  on_device("sgd", parameter.device(), [&](auto device) {
    sgd_step(device, parameter, gradient, buffer, lr, momentum, weight_decay, gradient_scale);
  });
}

/// global_norm — √Σ x² over all tensors, summed in f64 in fixed blocks: the same for any number of
/// threads.
double global_norm(OnCpu, const Tensors& tensors);
CUDA_TWIN double global_norm(OnCuda, const Tensors& tensors);
inline double global_norm(const Tensors& tensors) {
  const Device where = tensors.empty() ? kCpu : tensors.front().device();
  return on_device("global_norm", where, [&](auto device) { return global_norm(device, tensors); });
}

/// norms — √Σ x² of each tensor, each as global_norm sums it. On CUDA two launches and one wait for
/// all of them.
std::vector<double> norms(OnCpu, const Tensors& tensors);
CUDA_TWIN std::vector<double> norms(OnCuda, const Tensors& tensors);
inline std::vector<double> norms(const Tensors& tensors) {
  const Device where = tensors.empty() ? kCpu : tensors.front().device();
  return on_device("global_norm", where, [&](auto device) { return norms(device, tensors); });
}

/// has_nonfinite — true if x holds NaN or infinity. One reading of x.
bool has_nonfinite(OnCpu, const Tensor& x);
CUDA_TWIN bool has_nonfinite(OnCuda, const Tensor& x);
inline bool has_nonfinite(const Tensor& x) {
  return on_device("has_nonfinite", x.device(),
                   [&](auto device) { return has_nonfinite(device, x); });
}

}  // namespace ocellus
