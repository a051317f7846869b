// Next-token losses on hidden states.
#pragma once
#include "autograd/ops.h"

namespace ocellus {

/// shifted_labels — labels[b, t + 1] at [b, t], `ignore` in the last column: position t predicts t + 1.
Tensor shifted_labels(const Tensor& labels, int64_t ignore = -100);

/// next_token_loss — Σ cross-entropy of hidden·headᵀ against the next label, and over how many;
/// hidden [B, T, C], head [V, C], labels [B, T] with -100 where nothing is predicted. Logits of all
/// tokens never exist at once: `chunk` rows at a time (0: chosen by size).
LossSum next_token_loss(const Variable& hidden, const Variable& head, const Tensor& labels,
                        int64_t chunk = 0);

}  // namespace ocellus
