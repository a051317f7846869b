// T5: encoder and decoder with relative position biases, RMS norms before each part and no scaling
// of scores; names of T5ForConditionalGeneration (1.0, 1.1, Flan, mT5). Raffel et al. 2019,
// arXiv:1910.10683; Xue et al. 2020, arXiv:2010.11934.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nn/attention.h"

namespace ocellus {

/// T5Config — config.json of `model_type` t5 or mt5.
struct T5Config {
  int64_t vocab_size = 0, d_model = 0, d_kv = 0, d_ff = 0;
  int64_t num_layers = 0, num_decoder_layers = 0, num_heads = 0;
  int64_t relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6, dropout = 0;  // dropout: ours, in training only
  std::string act = "relu";
  bool gated = false;      // wi_0 (activated) and wi_1 instead of wi
  bool tied_head = true;   // no lm_head of its own
  bool scale_head = true;  // decoder output times d_model^-0.5 before the head
  int64_t decoder_start_token_id = 0, pad_token_id = 0;
  std::vector<int64_t> eos_token_ids;
};

T5Config read_t5_config(const nlohmann::json& config, const std::string& who);

/// relative_bucket — T5's bucket of key position - query position: half of the buckets are exact
/// distances, the others grow logarithmically up to max_distance; `both` splits them by sign, else
/// keys after the query share bucket 0.
int64_t relative_bucket(int64_t distance, bool both, int64_t buckets, int64_t max_distance);

/// What a pass over a stack is given besides the embedded tokens.
struct T5Pass {
  Tensor segments;   // [B, T] i32: own keys; negative ids are seen by nobody; empty: all are seen
  Variable encoded;  // [B, S, C]: decoder only
  Tensor encoded_segments;   // [B, S] i32
  KvCache* cache = nullptr;  // own keys and values
  KvCache* cross_cache = nullptr;
};

class T5Block : public Module {
 public:
  T5Block(const T5Config& config, bool decoder, int64_t index);
  Variable operator()(Variable x, const AttentionMask& mask, const AttentionMask& cross_mask,
                      const T5Pass& pass);

 private:
  int64_t index_;
  double dropout_;
  Norm& attention_norm_;
  Attention& attention_;
  Norm* cross_norm_ = nullptr;
  Attention* cross_ = nullptr;
  Norm* mlp_norm_;
  Mlp* mlp_ = nullptr;
  GatedMlp* gated_mlp_ = nullptr;
};

/// T5Stack — the encoder or the decoder: blocks and a last norm;  x [B, T, C] → [B, T, C].
class T5Stack : public Module {
 public:
  T5Stack(const T5Config& config, bool decoder);
  Variable operator()(Variable x, const T5Pass& pass);

 private:
  /// [1, H, T, past + T]
  Variable position_bias(int64_t past, int64_t tokens);

  const T5Config config_;
  bool decoder_;
  Embedding& relative_bias_;
  std::vector<T5Block*> blocks_;
  Norm& norm_;
};

class EncoderDecoder : public Module {
 public:
  explicit EncoderDecoder(const T5Config& config);
  const T5Config& config() const { return config_; }
  Variable embed(const Tensor& ids) { return shared_(ids); }
  /// x [B, S, C] → [B, S, C]; segments [B, S] i32 or undefined.
  Variable encode(const Variable& x, const Tensor& segments);
  /// Decoder states as the head reads them, scaled if the config says so;  ids [B, T] → [B, T, C].
  Variable decode(const Tensor& ids, const T5Pass& pass);
  Variable logits(const Variable& decoded) { return linear(decoded, head_weight()); }
  /// Without a head of its own: the shared table is used for the logits.
  void tie_head();
  Variable head_weight() { return head_ ? head_->adapted_weight() : shared_.weight().var(); }
  /// decoder_start_token_id, then the labels without their last; -100 becomes the pad token.
  Tensor shifted_right(const Tensor& labels) const;
  KvCache make_cache(int64_t batch, int64_t capacity) const;

 private:
  T5Config config_;
  Embedding& shared_;
  T5Stack &encoder_, &decoder_;
  Linear* head_;
};

}  // namespace ocellus
