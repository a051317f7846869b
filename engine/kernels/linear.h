// The affine map of a layer and its gradients.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// linear_forward — y = x·Wᵀ + bias.
/// x [..., I] any strides, weight [O, I] of x's dtype (or bf16 with x f32), bias [O] of any
/// floating dtype or undefined → [..., O] in x's dtype. Accumulates in f32 (f64); the bias is added
/// before rounding.
Tensor linear_forward(OnCpu, const Tensor& x, const Tensor& weight, const Tensor& bias);
CUDA_TWIN Tensor linear_forward(OnCuda, const Tensor& x, const Tensor& weight, const Tensor& bias);
inline Tensor linear_forward(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return on_device("linear", x.device(),
                   [&](auto device) { return linear_forward(device, x, weight, bias); });
}

/// linear_backward_input — dx = dy·W.  dy [..., O], weight [O, I] → [..., I] in dy's dtype.
Tensor linear_backward_input(OnCpu, const Tensor& dy, const Tensor& weight);
CUDA_TWIN Tensor linear_backward_input(OnCuda, const Tensor& dy, const Tensor& weight);
inline Tensor linear_backward_input(const Tensor& dy, const Tensor& weight) {
  return on_device("linear", dy.device(),
                   [&](auto device) { return linear_backward_input(device, dy, weight); });
}

/// linear_backward_weight — dW = dyᵀ·x over all N rows, in `dtype`.  dy [..., O], x [..., I] → [O,
/// I].
Tensor linear_backward_weight(OnCpu, const Tensor& dy, const Tensor& x, DType dtype);
CUDA_TWIN Tensor linear_backward_weight(OnCuda, const Tensor& dy, const Tensor& x, DType dtype);
inline Tensor linear_backward_weight(const Tensor& dy, const Tensor& x, DType dtype) {
  return on_device("linear", dy.device(),
                   [&](auto device) { return linear_backward_weight(device, dy, x, dtype); });
}

/// linear_backward_bias — db = Σ over rows of dy, in `dtype`; blocks of rows, merged in order.
Tensor linear_backward_bias(OnCpu, const Tensor& dy, DType dtype);
CUDA_TWIN Tensor linear_backward_bias(OnCuda, const Tensor& dy, DType dtype);
inline Tensor linear_backward_bias(const Tensor& dy, DType dtype) {
  return on_device("linear", dy.device(),
                   [&](auto device) { return linear_backward_bias(device, dy, dtype); });
}

}  // namespace ocellus
