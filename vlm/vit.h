// Transformer encoders of images and text: ViT, DINOv2 (with registers), CLIP and SigLIP (both
// towers), Idefics3's vision part. One block; what sets a family apart stands in one table.
// Dosovitskiy et al. 2020, arXiv:2010.11929; Radford et al. 2021, arXiv:2103.00020; Zhai et al.
// 2023, arXiv:2303.15343; Oquab et al. 2023, arXiv:2304.07193; Darcet et al. 2023,
// arXiv:2309.16588.
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
extern const EncoderNames kClipNames, kVitNames, kDinov2Names;

struct EncoderConfig {
  int64_t dim = 0, layers = 0, heads = 0, hidden = 0;
  std::string act;
  double eps = 1e-6, deviation = 0.02, dropout = 0, drop_path = 0;
  bool qkv_bias = true;
  std::optional<double> layer_scale;  // at the start; absent: no scale
  bool swiglu = false;                // PackedSwiGlu in place of Mlp
};

/// PackedSwiGlu — out(silu(a) ⊙ b) with [a, b] = in(x): both halves in one matrix, as DINOv2 has
/// it.
class PackedSwiGlu : public Module {
 public:
  PackedSwiGlu(int64_t dim, int64_t hidden, double deviation);
  Variable operator()(const Variable& x);

 private:
  int64_t hidden_;
  Linear &in_, &out_;
};

/// EncoderLayer — pre-norm block: x + λ₁·attention(norm1(x)), then + λ₂·mlp(norm2(·)); the scales λ
/// (LayerScale, Touvron et al. 2021, arXiv:2103.17239) are absent in most families.
class EncoderLayer : public Module {
 public:
  EncoderLayer(const EncoderConfig& config, const EncoderNames& names);
  Variable operator()(const Variable& x, const AttentionMask& mask);
  void set_dropout(double p) { dropout_ = p; }

 private:
  double dropout_, drop_path_;
  LayerNorm& norm1_;
  Attention& attention_;
  Parameter *scale1_, *scale2_;
  LayerNorm& norm2_;
  Mlp* mlp_ = nullptr;
  PackedSwiGlu* swiglu_ = nullptr;
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

/// What an encoder returns: all tokens, after the last norm (CLIP's vision: before it), and the
/// pooled row if the model has one.
struct EncoderOutput {
  Variable tokens;  // [B, N, C]
  Variable pooled;  // [B, C] or absent
};

/// VisionFamily — what sets one family of image encoders apart. A name that is null: not there.
struct VisionFamily {
  enum class Pool { kNone, kAttention, kTanh, kClassRow, kNormedClassRow };
  const char* model_type;
  const EncoderNames* block;
  const char *class_token = nullptr, *mask_token = nullptr, *registers = nullptr;
  const char *patches, *positions, *pre_norm = nullptr, *norm;
  Pool pool = Pool::kNone;
  bool patch_bias = true;  // the convolution that cuts patches has one
  bool any_size = false;   // takes other sizes without being asked to
  bool antialias = false;  // its position table is smoothed where it shrinks
};
/// The families, by model_type of config.json; FormatError for others, naming those that exist.
const VisionFamily& vision_family(const std::string& model_type, const std::string& who);

/// VisionPass — how a call differs from the plain one.
struct VisionPass {
  bool interpolate = false;  // resize the position table for pictures of another size
  Tensor masked = {};        // [B, patches], 1 = mask_token stands in for the patch (DINOv2)
};

class VisionEncoder : public Module {
 public:
  explicit VisionEncoder(const VisionConfig& config);
  /// pixels [B, 3, H, W]. Sizes other than the config's resize the position table if `interpolate`,
  /// else they are a ShapeError.
  EncoderOutput operator()(const Variable& pixels, const VisionPass& pass);
  /// What goes into the first block, and what comes out of each: layers + 1 tensors [B, N, C],
  /// before the last norm (`hidden_states` of transformers).
  Variables states(const Variable& pixels, const VisionPass& pass);
  const VisionConfig& config() const { return config_; }
  /// Recompute each block in backward instead of keeping its activations.
  void set_checkpointing(bool on) { checkpointing_ = on; }
  void set_dropout(double p);

 private:
  Variable positions(int64_t height, int64_t width, bool interpolate);
  Variable embed(const Variable& pixels, const VisionPass& pass);
  Variable block(size_t layer, const Variable& x);
  EncoderOutput pooled(const Variable& x);

  VisionConfig config_;
  const VisionFamily& family_;
  bool checkpointing_ = false;
  double dropout_;
  Parameter *class_ = nullptr, *mask_ = nullptr, *registers_ = nullptr;
  PatchEmbed* patches_ = nullptr;
  Parameter* positions_ = nullptr;
  LayerNorm* pre_norm_ = nullptr;
  std::vector<EncoderLayer*> layers_;
  LayerNorm* norm_ = nullptr;
  Linear* pooler_ = nullptr;
  AttentionPool* head_ = nullptr;
};

/// TextEncoder — the text tower of CLIP (causal, pools the end of text) or SigLIP (neither causal
/// nor needing a mask, pools the last position and projects it).
class TextEncoder : public Module {
 public:
  explicit TextEncoder(const TextEncoderConfig& config);
  /// ids [B, T]; mask [B, T] (1 = real) hides padding keys, empty hides none; positions [B, T] or
  /// empty for 0 … T-1.
  EncoderOutput operator()(const Tensor& ids, const Tensor& mask, const Tensor& positions = {});
  const TextEncoderConfig& config() const { return config_; }

 private:
  Tensor pooled_rows(const Tensor& ids) const;

  TextEncoderConfig config_;
  Embedding &tokens_, &positions_;
  std::vector<EncoderLayer*> layers_;
  LayerNorm* norm_ = nullptr;
  Linear* head_ = nullptr;
};

/// Keys with mask 0 get segment -1, all others 0;  [B, T] of any integer type → i32.
Tensor key_segments(const Tensor& mask);

}  // namespace ocellus
