// Cross-entropy of rows of logits against labels.
#pragma once
#include <vector>

#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// checked_labels — labels [rows] i32 or i64 as a list. Throws ShapeError naming row and value of a
/// label that is neither `ignore` nor in [0, classes); `op` is named in the message.
std::vector<int64_t> checked_labels(const char* op, const Tensor& labels, int64_t rows,
                                    int64_t classes, int64_t ignore);

/// What the forward pass of cross_entropy leaves.
struct CrossEntropyOut {
  Tensor loss;        // [] f32 (f64): Σ over counted rows
  Tensor log_sum;     // [N] f32 (f64): log Σ_v e^{logits[i, v]} of counted rows, else 0
  int64_t count = 0;  // rows whose label is not `ignore`
};

/// cross_entropy_forward — Σ_i (log_sum_i - logits[i, labels_i]).  logits [N, V], labels [N].
/// Row losses in f32 (f64), their sum in f64. Reads N·V logits once.
CrossEntropyOut cross_entropy_forward(OnCpu, const Tensor& logits, const Tensor& labels,
                                      int64_t ignore);
CUDA_TWIN CrossEntropyOut cross_entropy_forward(OnCuda, const Tensor& logits, const Tensor& labels,
                                                int64_t ignore);
inline CrossEntropyOut cross_entropy_forward(const Tensor& logits, const Tensor& labels,
                                             int64_t ignore) {
  return on_device("cross_entropy", logits.device(), [&](auto device) {
    return cross_entropy_forward(device, logits, labels, ignore);
  });
}

/// cross_entropy_backward — dlogits[i, v] = dloss·(e^{logits[i, v] - log_sum_i} - [v = labels_i]),
/// zero in ignored rows.  dloss [] → [N, V] in the type of logits.
Tensor cross_entropy_backward(OnCpu, const Tensor& logits, const Tensor& labels,
                              const Tensor& log_sum, const Tensor& dloss, int64_t ignore);
CUDA_TWIN Tensor cross_entropy_backward(OnCuda, const Tensor& logits, const Tensor& labels,
                                        const Tensor& log_sum, const Tensor& dloss, int64_t ignore);
inline Tensor cross_entropy_backward(const Tensor& logits, const Tensor& labels,
                                     const Tensor& log_sum, const Tensor& dloss, int64_t ignore) {
  return on_device("cross_entropy", logits.device(), [&](auto device) {
    return cross_entropy_backward(device, logits, labels, log_sum, dloss, ignore);
  });
}

}  // namespace ocellus
