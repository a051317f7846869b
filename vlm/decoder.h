// The Llama-style decoder: RMS norm, rotary attention with grouped heads, SwiGLU, tied or own head.
// Touvron et al. 2023, arXiv:2302.13971; names of LlamaForCausalLM.
#pragma once
#include <vector>

#include "nn/attention.h"
#include "vlm/config.h"

namespace ocellus {

class DecoderLayer : public Module {
 public:
  explicit DecoderLayer(const DecoderConfig& config);
  /// x [B, T, C] → x + attention(norm(x)), then + feed-forward(norm(·)).
  Variable operator()(const Variable& x, const AttentionMask& mask, const RopeTables& rope,
                      KvCache* cache, int64_t layer);
  void set_dropout(double p) { dropout_ = p; }

 private:
  double dropout_;
  RmsNorm& input_norm_;
  Attention& attention_;
  RmsNorm& post_norm_;
  GatedMlp& mlp_;
};

/// What a pass over the decoder is given besides the embedded tokens.
struct DecoderPass {
  Tensor positions;  // [1 or B, T] i64; empty: cache length, …
  Tensor segments;   // [B, T] i32; keys with a negative id are seen by nobody; empty: all are seen
  KvCache* cache = nullptr;
};

class Decoder : public Module {
 public:
  explicit Decoder(const DecoderConfig& config);

  Variable embed(const Tensor& ids) { return embed_tokens_(ids); }
  /// Hidden states after the last norm;  x [B, T, C] → [B, T, C].
  Variable hidden(Variable x, const DecoderPass& pass);
  /// hidden·headᵀ → [..., V].
  Variable logits(const Variable& hidden) { return linear(hidden, head_weight()); }
  /// The matrix that logits are computed with. A tied head is the table itself, without an adapter's
  /// change of the embedding, as in peft.
  Variable head_weight() { return head_ ? head_->adapted_weight() : embed_tokens_.weight().var(); }
  const DecoderConfig& config() const { return config_; }
  /// Cache for `batch` rows of up to `capacity` tokens.
  KvCache make_cache(int64_t batch, int64_t capacity) const;
  void set_dropout(double p) {
    for (DecoderLayer* layer : layers_) layer->set_dropout(p);
  }

 private:
  DecoderConfig config_;
  std::vector<double> frequencies_;
  Embedding& embed_tokens_;
  std::vector<DecoderLayer*> layers_;
  RmsNorm* norm_ = nullptr;
  Linear* head_ = nullptr;
};

}  // namespace ocellus
