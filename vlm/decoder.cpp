#include "vlm/decoder.h"

namespace ocellus {
namespace {
AttentionConfig attention_config(const DecoderConfig& c) {
  return {.dim = c.hidden_size,
          .heads = c.num_attention_heads,
          .kv_heads = c.num_key_value_heads,
          .head_dim = c.head_dim,
          .qkv_bias = c.attention_bias,
          .out_bias = c.attention_bias,
          .deviation = c.initializer_range};
}
}  // namespace

DecoderLayer::DecoderLayer(const DecoderConfig& c)
    : dropout_(c.dropout),
      input_norm_(child_<RmsNorm>("input_layernorm", c.hidden_size, c.rms_norm_eps)),
      attention_(child_<Attention>("self_attn", attention_config(c))),
      post_norm_(child_<RmsNorm>("post_attention_layernorm", c.hidden_size, c.rms_norm_eps)),
      mlp_(child_<GatedMlp>("mlp", c.hidden_size, c.intermediate_size, c.hidden_act, c.mlp_bias,
                            c.initializer_range)) {}

Variable DecoderLayer::operator()(const Variable& x, const AttentionMask& mask,
                                  const RopeTables& rope, KvCache* cache, int64_t layer) {
  const Variable h =
      add(x, apply_dropout(attention_(input_norm_(x), mask, &rope, cache, layer), dropout_));
  return add(h, apply_dropout(mlp_(post_norm_(h)), dropout_));
}

Decoder::Decoder(const DecoderConfig& c)
    : config_(c),
      frequencies_(rope_frequencies(c.rope, c.head_dim)),
      embed_tokens_(child_<Embedding>("model.embed_tokens", c.vocab_size, c.hidden_size,
                                      c.initializer_range)) {
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    layers_.push_back(&child_<DecoderLayer>("model.layers." + std::to_string(i), c));
  norm_ = &child_<RmsNorm>("model.norm", c.hidden_size, c.rms_norm_eps);
  if (!c.tie_word_embeddings)
    head_ = &child_<Linear>("lm_head", c.hidden_size, c.vocab_size, false, c.initializer_range);
}

Variable Decoder::hidden(Variable x, const DecoderPass& pass) {
  const int64_t batch = x.dim(0), tokens = x.dim(1);
  const int64_t past = pass.cache ? pass.cache->length() : 0;
  const Tensor positions =
      pass.positions.defined() ? pass.positions : positions_from(past, tokens);
  const DType table_type = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const RopeTables rope = rope_tables(frequencies_, positions, table_type);
  AttentionMask mask;
  mask.causal = true;
  if (pass.segments.defined()) {
    // Padding hides keys only: a padded query still sees what came before it, and nobody reads it.
    mask.q_segment = Tensor::zeros({batch, tokens}, DType::kI32);
    mask.k_segment = pass.segments;
  }
  for (size_t i = 0; i < layers_.size(); ++i)
    x = (*layers_[i])(x, mask, rope, pass.cache, static_cast<int64_t>(i));
  return (*norm_)(x);
}

KvCache Decoder::make_cache(int64_t batch, int64_t capacity) const {
  return KvCache(config_.num_hidden_layers, batch, config_.num_key_value_heads, capacity,
                 config_.head_dim, embed_tokens_.weight().value().dtype());
}

}  // namespace ocellus
