// Index of the largest element of each row.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// argmax_last — the first index where the largest value of the last dimension stands: the monoid
/// ArgMax. x [..., V], V ≥ 1, any floating dtype → [...] i64. NaN is never the largest; a row of
/// NaN gives 0.
Tensor argmax_last(OnCpu, const Tensor& x);
CUDA_TWIN Tensor argmax_last(OnCuda, const Tensor& x);
inline Tensor argmax_last(const Tensor& x) {
  return on_device("argmax_last", x.device(), [&](auto device) { return argmax_last(device, x); });
}

}  // namespace ocellus
