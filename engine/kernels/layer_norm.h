// Layer normalisation of rows and its gradients.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

struct LayerNormOut {
  Tensor y;     // as x
  Tensor mean;  // [N] f32 (f64)
  Tensor r;     // [N] f32 (f64): 1/√(variance + eps)
};

/// layer_norm_forward — y = (x - mean)·r·w + bias with r = 1/√(mean((x - mean)²) + eps) over the
/// last dimension.  x [..., C] any strides; weight and bias [C] of x's dtype, bias may be
/// undefined. Statistics in f32 (f64), in two passes over a row that lies in the first-level cache:
/// as accurate as Welford's single pass, without its division for each element.
LayerNormOut layer_norm_forward(OnCpu, const Tensor& x, const Tensor& weight, const Tensor& bias,
                                float eps);
CUDA_TWIN LayerNormOut layer_norm_forward(OnCuda, const Tensor& x, const Tensor& weight,
                                          const Tensor& bias, float eps);
inline LayerNormOut layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                       float eps) {
  return on_device("layer_norm", x.device(),
                   [&](auto device) { return layer_norm_forward(device, x, weight, bias, eps); });
}

struct LayerNormNeeds {
  bool dx, dweight, dbias;
};
struct LayerNormGrads {
  Tensor dx, dweight, dbias;  // undefined where not needed
};

/// layer_norm_backward — with x̂ = (x - mean)·r and g = dy·w:
/// dx = r·(g - mean(g) - x̂·mean(g·x̂)),  dw = Σ dy·x̂,  db = Σ dy over rows; the sums by blocks of
/// rows that depend on the shape alone, merged in order.
LayerNormGrads layer_norm_backward(OnCpu, const Tensor& x, const Tensor& weight,
                                   const LayerNormOut& saved, const Tensor& dy,
                                   LayerNormNeeds needs);
CUDA_TWIN LayerNormGrads layer_norm_backward(OnCuda, const Tensor& x, const Tensor& weight,
                                             const LayerNormOut& saved, const Tensor& dy,
                                             LayerNormNeeds needs);
inline LayerNormGrads layer_norm_backward(const Tensor& x, const Tensor& weight,
                                          const LayerNormOut& saved, const Tensor& dy,
                                          LayerNormNeeds needs) {
  return on_device("layer_norm", x.device(), [&](auto device) {
    return layer_norm_backward(device, x, weight, saved, dy, needs);
  });
}

}  // namespace ocellus
