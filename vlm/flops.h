// Matrix-product FLOPs of a step: 2·M·N·K a product, 4·D·pairs a layer of attention, backward once
// more for every gradient that is wanted; nothing else counts.
#pragma once
#include "vlm/vlm.h"

namespace ocellus {

struct StepFlops {
  double forward = 0, backward = 0;
  double total() const { return forward + backward; }

  /// `count` products [m, k]·[k, n]; backward forms the weight's gradient if it is `trained`, the
  /// input's if anything `upstream` is.
  void product(double m, double k, double n, bool trained, bool upstream, double count = 1);
  /// Scores and weighted sums of `pairs` queries and keys of `dim` features, all heads together.
  void attention(double pairs, double dim, bool gradient, double layers);
  /// An image encoder: `images` of `patches` patches, `tokens` in the blocks.
  void encoder(const VisionConfig& config, double images, double patches, double tokens,
               bool trained);
  /// A decoder on `batch` rows of `tokens`; feed-forward with a gate or without.
  void decoder(const DecoderConfig& config, double batch, double tokens, bool trained,
               bool upstream);
};

/// Which parts of a vision-language model learn; `lora` is the rank of adapters on q and v of the
/// language model, whose own weights are frozen then (0: none).
struct LearningParts {
  bool vision = true, connector = true, language = true;
  int64_t lora = 0;
};

/// step_flops — of a training step on `batch` samples, one image each, `text` text tokens.
StepFlops step_flops(const VlmConfig& config, int64_t batch, int64_t text,
                     const LearningParts& learning = {});

}  // namespace ocellus
