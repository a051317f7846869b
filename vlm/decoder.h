// The causal language model, in the forms of Llama, Mistral, Qwen, Gemma, GPT-2, GPT-NeoX, OPT and
// MPT: one block, whose parts and names a table chooses (decoder_families.h).
// Touvron et al. 2023, arXiv:2302.13971; Radford et al. 2019; Black et al. 2022, arXiv:2204.06745;
// Zhang et al. 2022, arXiv:2205.01068; Gemma team 2024, arXiv:2408.00118.
#pragma once
#include <vector>

#include "nn/attention.h"
#include "vlm/config.h"
#include "vlm/decoder_families.h"

namespace ocellus {

/// What the layers of one pass share.
struct LayerPass {
  AttentionMask mask;
  const RopeTables* rope = nullptr;
  KvCache* cache = nullptr;
};

class DecoderLayer : public Module {
 public:
  DecoderLayer(const DecoderConfig& config, const DecoderFamily& family, int64_t index);
  /// x [B, T, C] → x + attention(norm(x)), then + feed-forward(norm(·)); or with the norms behind
  /// the sums, or both branches side by side, as the config says.
  Variable operator()(const Variable& x, const LayerPass& pass);
  void set_dropout(double p) { dropout_ = p; }

 private:
  Variable attend(const Variable& x, const LayerPass& pass);
  Variable feed_forward(const Variable& x);

  int64_t index_;
  bool parallel_, norm_first_;
  double dropout_;
  Norm& norm1_;
  Attention& attention_;
  Norm* attention_norm_;
  Norm& norm2_;
  Mlp* mlp_;
  GatedMlp* gated_mlp_;
  Norm* mlp_norm_;
};

/// What a pass over the decoder is given besides the embedded tokens.
struct DecoderPass {
  Tensor positions;  // [1 or B, T] i64; empty: cache length, …
  Tensor
      segments;  // [B, keys] i32; keys with a negative id are seen by nobody; empty: all are seen
  KvCache* cache = nullptr;
};

class Decoder : public Module {
 public:
  explicit Decoder(const DecoderConfig& config);

  /// Rows of the word table, times embedding_scale;  ids [B, T] → [B, T, E].
  Variable embed(const Tensor& ids);
  /// Hidden states that the head reads, after the last norm;  x [B, T, E] → [B, T, E].
  Variable hidden(Variable x, const DecoderPass& pass);
  /// hidden·headᵀ, capped if the family caps → [..., V].
  Variable logits(const Variable& hidden);
  /// next_token_loss of the logits of `hidden` [B, T, E]; they never exist at once, unless capped.
  LossSum loss(const Variable& hidden, const Tensor& labels, int64_t chunk = 0);
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
  Tensor positions_of(const DecoderPass& pass, int64_t tokens) const;
  RopeTables tables(const RopeConfig& rope, const Tensor& positions, DType dtype) const;
  int64_t embedding_size() const {
    return config_.embedding_size ? config_.embedding_size : config_.hidden_size;
  }
  int64_t window(int64_t layer) const {
    return layer < static_cast<int64_t>(config_.windows.size()) ? config_.windows[layer] : 0;
  }

  DecoderConfig config_;
  const DecoderFamily& family_;
  Tensor slopes_;  // [H] of ALiBi
  Embedding& embed_tokens_;
  Embedding* positions_ = nullptr;
  Linear *project_in_ = nullptr, *project_out_ = nullptr;
  std::vector<DecoderLayer*> layers_;
  Norm* norm_ = nullptr;
  Linear* head_ = nullptr;
};

/// alibi_slopes — 2^(-max·i/n) for n the next power of two; for other head counts every second of
/// them first. Press et al. 2021, arXiv:2108.12409, in MPT's order.
std::vector<double> alibi_slopes(int64_t heads, double bias_max);

}  // namespace ocellus
