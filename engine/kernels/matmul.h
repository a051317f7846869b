// Matrix products on tensors, batched with broadcasting.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// The dimensions of x before its last two.
inline Shape batch_of(const Shape& x) {
  Shape batch;
  for (int i = 0; i + 2 < x.rank(); ++i) batch.push_back(x[i]);
  return batch;
}

/// matmul_forward — y = a·b over the last two dimensions, a [..., M, K], b [..., K, N] → [batch, M,
/// N]. The leading dimensions of a and b broadcast. `batch` is that broadcast shape, or one that
/// broadcasts to it: then the products that fall on one result are added, in order of their index
/// (the gradient of an operand that was broadcast). Any strides. 2·M·N·K FLOP a product.
Tensor matmul_forward(OnCpu, const Tensor& a, const Tensor& b, const Shape& batch);
CUDA_TWIN Tensor matmul_forward(OnCuda, const Tensor& a, const Tensor& b, const Shape& batch);
inline Tensor matmul_forward(const Tensor& a, const Tensor& b, const Shape& batch) {
  return on_device("matmul", a.device(),
                   [&](auto device) { return matmul_forward(device, a, b, batch); });
}

}  // namespace ocellus
