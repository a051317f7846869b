// Root-mean-square normalisation of rows and its gradients.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

struct RmsNormOut {
  Tensor y;  // as x
  Tensor r;  // [N] f32 (f64): 1/√(mean(x²) + eps) of each row
};

/// rms_norm_forward — y = x·r·w with r = 1/√(mean(x²) + eps) over the last dimension.
/// x [..., C] any strides, weight [C] of x's dtype. Statistics in f32 (f64).
RmsNormOut rms_norm_forward(OnCpu, const Tensor& x, const Tensor& weight, float eps);
CUDA_TWIN RmsNormOut rms_norm_forward(OnCuda, const Tensor& x, const Tensor& weight, float eps);
inline RmsNormOut rms_norm_forward(const Tensor& x, const Tensor& weight, float eps) {
  return on_device("rms_norm", x.device(),
                   [&](auto device) { return rms_norm_forward(device, x, weight, eps); });
}

struct RmsNormGrads {
  Tensor dx, dweight;  // undefined where not asked for
};

/// rms_norm_backward — with x̂ = x·r and g = dy·w:  dx = r·(g - x̂·mean(g·x̂)),  dw = Σ over rows of
/// dy·x̂, summed by blocks of rows that depend on the shape alone and merged in order.
RmsNormGrads rms_norm_backward(OnCpu, const Tensor& x, const Tensor& weight, const Tensor& r,
                               const Tensor& dy, bool need_dx, bool need_dweight);
CUDA_TWIN RmsNormGrads rms_norm_backward(OnCuda, const Tensor& x, const Tensor& weight, const Tensor& r,
                               const Tensor& dy, bool need_dx, bool need_dweight);
inline RmsNormGrads rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& r,
                                      const Tensor& dy, bool need_dx, bool need_dweight) {
  return on_device("rms_norm", x.device(), [&](auto device) {
    return rms_norm_backward(device, x, weight, r, dy, need_dx, need_dweight);
  });
}

}  // namespace ocellus
