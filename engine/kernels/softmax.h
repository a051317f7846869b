// Softmax and its logarithm over rows.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// softmax_forward — y = e^{x - max}/Σ e^{x - max} per row, or with `log` y = x - max - log Σ.
/// x [..., C]. A row of -inf alone gives zeros (softmax) or -inf.
Tensor softmax_forward(OnCpu, const Tensor& x, bool log);
CUDA_TWIN Tensor softmax_forward(OnCuda, const Tensor& x, bool log);
inline Tensor softmax_forward(const Tensor& x, bool log) {
  return on_device(log ? "log_softmax" : "softmax", x.device(),
                   [&](auto d) { return softmax_forward(d, x, log); });
}

/// softmax_backward — from y:  dx = y·(dy - Σ dy·y), or with `log` dx = dy - e^y·Σ dy.
Tensor softmax_backward(OnCpu, const Tensor& y, const Tensor& dy, bool log);
CUDA_TWIN Tensor softmax_backward(OnCuda, const Tensor& y, const Tensor& dy, bool log);
inline Tensor softmax_backward(const Tensor& y, const Tensor& dy, bool log) {
  return on_device(log ? "log_softmax" : "softmax", y.device(),
                   [&](auto d) { return softmax_backward(d, y, dy, log); });
}

}  // namespace ocellus
