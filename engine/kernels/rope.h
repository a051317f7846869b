// Rotary position embedding on heads.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// rope_forward — halves form: with x = (x₁, x₂) split in the middle of the last dimension,
/// y = (x₁·cos - x₂·sin, x₂·cos + x₁·sin); `inverse` turns the other way (the gradient).
/// x [B, T, H, D] with any outer strides, cos and sin [B or 1, T, D/2] of any floating type.
Tensor rope_forward(OnCpu, const Tensor& x, const Tensor& cos, const Tensor& sin, bool inverse);
CUDA_TWIN Tensor rope_forward(OnCuda, const Tensor& x, const Tensor& cos, const Tensor& sin,
                              bool inverse);
inline Tensor rope_forward(const Tensor& x, const Tensor& cos, const Tensor& sin, bool inverse) {
  return on_device("rope", x.device(),
                   [&](auto d) { return rope_forward(d, x, cos, sin, inverse); });
}

}  // namespace ocellus
