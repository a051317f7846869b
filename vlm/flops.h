// Matrix-product FLOPs of a step: 2·M·N·K a product, 4·D·pairs a layer of attention, backward twice the
// forward where gradients are wanted; nothing else counts.
#pragma once
#include "vlm/vlm.h"

namespace ocellus {

struct StepFlops {
  double forward = 0, backward = 0;
  double total() const { return forward + backward; }
};

/// step_flops — of a training step on `batch` samples, one image each, `text` text tokens, all parts
/// trained.
StepFlops step_flops(const VlmConfig& config, int64_t batch, int64_t text);

}  // namespace ocellus
