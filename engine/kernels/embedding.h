// Rows of a table by index, and the sum of gradients back into the table.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// embedding_forward — y[i] = weight[ids[i]].  weight [V, C], ids [...] i32 or i64 → [..., C].
/// Throws ShapeError naming the position and the value of an id outside [0, V).
Tensor embedding_forward(OnCpu, const Tensor& weight, const Tensor& ids);
CUDA_TWIN Tensor embedding_forward(OnCuda, const Tensor& weight, const Tensor& ids);
inline Tensor embedding_forward(const Tensor& weight, const Tensor& ids) {
  return on_device("embedding", weight.device(),
                   [&](auto device) { return embedding_forward(device, weight, ids); });
}

/// embedding_backward — dweight[v] = Σ dy[i] over the i with ids[i] = v, in order of i; f32 (f64)
/// sums, whole rows of the table by one thread.  dy [..., C], ids [...], V rows → [V, C] in dy's
/// dtype.
Tensor embedding_backward(OnCpu, const Tensor& dy, const Tensor& ids, int64_t rows);
CUDA_TWIN Tensor embedding_backward(OnCuda, const Tensor& dy, const Tensor& ids, int64_t rows);
inline Tensor embedding_backward(const Tensor& dy, const Tensor& ids, int64_t rows) {
  return on_device("embedding", dy.device(),
                   [&](auto device) { return embedding_backward(device, dy, ids, rows); });
}

}  // namespace ocellus
