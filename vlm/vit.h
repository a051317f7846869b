// Transformer encoders of images and text: ViT, SigLIP (both towers), Idefics3's vision part. One block,
// its names in the checkpoint from one table per family.
// Dosovitskiy et al. 2020, arXiv:2010.11929; Zhai et al. 2023, arXiv:2303.15343.
#pragma once
#include <optional>
#include <vector>

#include "nn/attention.h"
#include "vlm/config.h"

namespace ocellus {

/// EncoderNames — where a family keeps the parts of a block.
struct EncoderNames {
  const char *layer, *norm1, *attention, *q, *k, *v, *out, *norm2, *fc1, *fc2;
};
extern const EncoderNames kSiglipNames, kVitNames;

struct EncoderConfig {
  int64_t dim = 0, layers = 0, heads = 0, hidden = 0;
  std::string act;
  double eps = 1e-6, deviation = 0.02, dropout = 0;
  bool qkv_bias = true;
};

/// EncoderLayer — pre-norm block: x + attention(norm1(x)), then + mlp(norm2(·)).
class EncoderLayer : public Module {
 public:
  EncoderLayer(const EncoderConfig& config, const EncoderNames& names);
  Variable operator()(const Variable& x, const AttentionMask& mask);
  void set_dropout(double p) { dropout_ = p; }

 private:
  double dropout_;
  LayerNorm& norm1_;
  Attention& attention_;
  LayerNorm& norm2_;
  Mlp& mlp_;
};

/// AttentionPool — SigLIP's head: a learned probe attends to all tokens;  x [B, N, C] → [B, C].
class AttentionPool : public Module {
 public:
  AttentionPool(int64_t dim, int64_t heads, int64_t hidden, const std::string& act, double eps);
  Variable operator()(const Variable& x);

 private:
  int64_t dim_, heads_;
  Parameter &probe_, &in_weight_, &in_bias_;
  Linear& out_;
  LayerNorm& norm_;
  Mlp& mlp_;
};

/// What an encoder returns: tokens after the last norm, and the pooled row if the model has a head.
struct EncoderOutput {
  Variable tokens;  // [B, N, C]
  Variable pooled;  // [B, C] or absent
};

class VisionEncoder : public Module {
 public:
  explicit VisionEncoder(const VisionConfig& config);
  /// pixels [B, 3, H, W]. Sizes other than the config's resize the position table if `interpolate`, else
  /// they are a ShapeError.
  EncoderOutput operator()(const Variable& pixels, bool interpolate);
  const VisionConfig& config() const { return config_; }
  /// Recompute each block in backward instead of keeping its activations.
  void set_checkpointing(bool on) { checkpointing_ = on; }
  void set_dropout(double p);

 private:
  Variable positions(int64_t height, int64_t width, bool interpolate);

  VisionConfig config_;
  bool vit_, checkpointing_ = false;
  double dropout_;
  Parameter* cls_ = nullptr;
  PatchEmbed* patches_ = nullptr;
  Parameter* positions_ = nullptr;
  std::vector<EncoderLayer*> layers_;
  LayerNorm* norm_ = nullptr;
  Linear* pooler_ = nullptr;
  AttentionPool* head_ = nullptr;
};

class TextEncoder : public Module {
 public:
  explicit TextEncoder(const TextEncoderConfig& config);
  /// ids [B, T]; mask [B, T] (1 = real) hides padding keys, empty hides none. Pools the last position.
  EncoderOutput operator()(const Tensor& ids, const Tensor& mask);

 private:
  TextEncoderConfig config_;
  Embedding &tokens_, &positions_;
  std::vector<EncoderLayer*> layers_;
  LayerNorm* norm_ = nullptr;
  Linear* head_ = nullptr;
};

/// Keys with mask 0 get segment -1, all others 0;  [B, T] of any integer type → i32.
Tensor key_segments(const Tensor& mask);

}  // namespace ocellus
