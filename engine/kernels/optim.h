// Kernels of optimizers and of gradient norms: plain in-place updates, no autograd.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// AdamWStep — the numbers of one update; `step` counts from 1.
struct AdamWStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;
  double gradient_scale = 1;  // the clip factor, applied as the gradient is read
};

/// adamw_step — with g scaled: p ← p·(1 - lr·decay);  m ← β₁m + (1-β₁)g;  v ← β₂v + (1-β₂)g²;
/// p ← p - lr·m̂/(√v̂ + eps), m̂ = m/(1-β₁ᵗ), v̂ = v/(1-β₂ᵗ).  All contiguous, one dtype, f32 or f64.
/// Loshchilov & Hutter 2017, arXiv:1711.05101. One pass: reads 16, writes 12 bytes per f32 parameter.
void adamw_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                const AdamWStep& step);
inline void adamw_step(Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                       const AdamWStep& step) {
  on_cpu_only("adamw", parameter.device(),
              [&](auto device) { adamw_step(device, parameter, gradient, m, v, step); });
}

/// sgd_step — b ← momentum·b + g + decay·p;  p ← p - lr·b.
void sgd_step(OnCpu, Tensor& parameter, const Tensor& gradient, Tensor& buffer, double lr,
              double momentum, double weight_decay, double gradient_scale);
inline void sgd_step(Tensor& parameter, const Tensor& gradient, Tensor& buffer, double lr,
                     double momentum, double weight_decay, double gradient_scale) {
  on_cpu_only("sgd", parameter.device(), [&](auto device) {
    sgd_step(device, parameter, gradient, buffer, lr, momentum, weight_decay, gradient_scale);
  });
}

/// global_norm — √Σ x² over all tensors, summed in f64 in fixed blocks: the same for any number of threads.
double global_norm(OnCpu, const Tensors& tensors);
inline double global_norm(const Tensors& tensors) { return global_norm(OnCpu{}, tensors); }

/// has_nonfinite — true if x holds NaN or infinity.
bool has_nonfinite(OnCpu, const Tensor& x);
inline bool has_nonfinite(const Tensor& x) { return has_nonfinite(OnCpu{}, x); }

}  // namespace ocellus
