// From image features to tokens of the language model.
#pragma once
#include <string>

#include "nn/layers.h"

namespace ocellus {

struct ConnectorConfig {
  std::string kind = "pixel_shuffle";  // linear | mlp | pixel_shuffle
  int64_t factor = 1;                  // pixel_shuffle: factor² neighbouring patches become one token
  std::string hidden_act = "gelu";     // mlp
  int64_t vision_dim = 0, text_dim = 0;
  /// The factor that counts: 1 for the kinds that join no patches.
  int64_t joined() const { return kind == "pixel_shuffle" ? factor : 1; }
};

/// Connector — features [B, h·w, C_v] → [B, tokens, C_t].
///   linear         W·x, no bias (Frozen, FROMAGe)
///   pixel_shuffle  f×f neighbours into the channels, then W·x, no bias (Idefics3, SmolVLM)
///   mlp            linear_2(act(linear_1(x))) with biases (LLaVA-1.5; Liu et al. 2023, arXiv:2310.03744)
class Connector : public Module {
 public:
  explicit Connector(const ConnectorConfig& config);
  Variable operator()(const Variable& features, int64_t height, int64_t width);
  /// Tokens an image of height×width patches becomes; ShapeError if `factor` does not divide both.
  int64_t tokens(int64_t height, int64_t width) const;
  const ConnectorConfig& config() const { return config_; }

 private:
  ConnectorConfig config_;
  Linear *projection_ = nullptr, *linear_1_ = nullptr, *linear_2_ = nullptr;
};

}  // namespace ocellus
