#include "vlm/decoder.h"

#include <algorithm>
#include <cmath>

#include "vlm/language_loss.h"

namespace ocellus {
namespace {

AttentionConfig attention_config(const DecoderConfig& c, const DecoderFamily& f, int64_t layer) {
  const double scale =
      c.attention_scale > 0 ? c.attention_scale : 1 / std::sqrt(static_cast<double>(c.head_dim));
  return {.dim = c.hidden_size,
          .heads = c.num_attention_heads,
          .kv_heads = c.num_key_value_heads,
          .head_dim = c.head_dim,
          .qkv_bias = c.attention_bias,
          .out_bias = c.attention_out_bias,
          .deviation = c.initializer_range,
          .q = f.names.q,
          .k = f.names.k,
          .v = f.names.v,
          .out = f.names.out,
          .fused = f.fused,
          .transposed = f.transposed,
          .scale = c.scale_by_layer ? scale / static_cast<double>(layer + 1) : scale,
          .qk_norm = f.qk_norm,
          .norm = f.norm,
          .eps = c.rms_norm_eps};
}

MlpConfig mlp_config(const DecoderConfig& c, const DecoderFamily& f) {
  return {.dim = c.hidden_size,
          .hidden = c.intermediate_size,
          .act = c.hidden_act,
          .bias = c.mlp_bias,
          .transposed = f.transposed,
          .deviation = c.initializer_range,
          .gate = f.names.gate,
          .up = f.names.up,
          .down = f.names.down};
}

// Real tokens counted from 0; padding is -1, as OPT has it.
Tensor counted_positions(const Tensor& segments, int64_t tokens) {
  const int64_t rows = segments.dim(0), keys = segments.dim(1);
  const auto ids = segments.to_vector<int64_t>();
  std::vector<int64_t> positions;
  for (int64_t b = 0; b < rows; ++b) {
    int64_t next = 0;
    for (int64_t t = 0; t < keys; ++t) {
      const bool real = ids[b * keys + t] >= 0;
      if (t >= keys - tokens) positions.push_back(real ? next : -1);
      next += real;
    }
  }
  return Tensor::from(positions, {rows, tokens});
}

Variable capped(const Variable& x, double cap) {
  return cap > 0 ? mul(tanh(mul(x, 1 / cap)), cap) : x;
}

}  // namespace

DecoderLayer::DecoderLayer(const DecoderConfig& c, const DecoderFamily& f, int64_t index)
    : index_(index),
      parallel_(c.parallel_residual),
      norm_first_(c.norm_first),
      dropout_(c.dropout),
      norm1_(child_<Norm>(f.names.norm1, f.norm, c.hidden_size, c.rms_norm_eps)),
      attention_(child_<Attention>(f.names.attention, attention_config(c, f, index))),
      attention_norm_(f.names.attention_norm ? &child_<Norm>(f.names.attention_norm, f.norm,
                                                             c.hidden_size, c.rms_norm_eps)
                                             : nullptr),
      norm2_(child_<Norm>(f.names.norm2, f.norm, c.hidden_size, c.rms_norm_eps)),
      mlp_(f.names.gate ? nullptr : &child_<Mlp>(f.names.mlp, mlp_config(c, f))),
      gated_mlp_(f.names.gate ? &child_<GatedMlp>(f.names.mlp, mlp_config(c, f)) : nullptr),
      mlp_norm_(f.names.mlp_norm
                    ? &child_<Norm>(f.names.mlp_norm, f.norm, c.hidden_size, c.rms_norm_eps)
                    : nullptr) {}

Variable DecoderLayer::attend(const Variable& x, const LayerPass& pass) {
  const Variable y = attention_(x, pass.mask, pass.rope, pass.cache, index_);
  return apply_dropout(attention_norm_ ? (*attention_norm_)(y) : y, dropout_);
}

Variable DecoderLayer::feed_forward(const Variable& x) {
  const Variable y = gated_mlp_ ? (*gated_mlp_)(x) : (*mlp_)(x);
  return apply_dropout(mlp_norm_ ? (*mlp_norm_)(y) : y, dropout_);
}

Variable DecoderLayer::operator()(const Variable& x, const LayerPass& pass) {
  if (!norm_first_) {
    const Variable h = norm1_(add(x, attend(x, pass)));
    return norm2_(add(h, feed_forward(h)));
  }
  const Variable h = add(x, attend(norm1_(x), pass));
  return add(h, feed_forward(norm2_(parallel_ ? x : h)));
}

Decoder::Decoder(const DecoderConfig& c)
    : config_(c),
      family_(decoder_family(c.model_type, "decoder")),
      embed_tokens_(child_<Embedding>(family_.names.embed, c.vocab_size, embedding_size(),
                                      c.initializer_range)) {
  const DecoderNames& names = family_.names;
  if (family_.positions == PositionKind::kLearned)
    positions_ =
        &child_<Embedding>(names.positions, c.max_position_embeddings + family_.position_offset,
                           c.hidden_size, c.initializer_range);
  if (family_.positions == PositionKind::kAlibi)
    slopes_ = Tensor::from(alibi_slopes(c.num_attention_heads, c.alibi_bias_max),
                           {c.num_attention_heads});
  if (embedding_size() != c.hidden_size) {
    project_in_ = &child_<Linear>("model.decoder.project_in", embedding_size(), c.hidden_size,
                                  false, c.initializer_range);
    project_out_ = &child_<Linear>("model.decoder.project_out", c.hidden_size, embedding_size(),
                                   false, c.initializer_range);
  }
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    layers_.push_back(&child_<DecoderLayer>(names.layers + std::to_string(i), c, family_, i));
  if (c.norm_first)
    norm_ = &child_<Norm>(names.final_norm, family_.norm, c.hidden_size, c.rms_norm_eps);
  if (!c.tie_word_embeddings)
    head_ = &child_<Linear>(names.head, embedding_size(), c.vocab_size, false, c.initializer_range);
}

Variable Decoder::embed(const Tensor& ids) {
  const Variable x = embed_tokens_(ids);
  return config_.embedding_scale == 1 ? x : mul(x, config_.embedding_scale);
}

Tensor Decoder::positions_of(const DecoderPass& pass, int64_t tokens) const {
  if (pass.positions.defined()) return pass.positions;
  if (family_.mask_positions && pass.segments.defined())
    return counted_positions(pass.segments, tokens);
  return positions_from(pass.cache ? pass.cache->length() : 0, tokens);
}

RopeTables Decoder::tables(const RopeConfig& rope, const Tensor& positions, DType dtype) const {
  int64_t length = 0;
  if (rope.type == "dynamic")
    for (int64_t p : positions.to_vector<int64_t>()) length = std::max(length, p + 1);
  const RopeTables tables =
      rope_tables(rope_frequencies(rope, config_.head_dim, length), positions,
                  dtype == DType::kF64 ? DType::kF64 : DType::kF32, rope_attention_factor(rope));
  const Device device = embed_tokens_.weight().value().device();  // once for all layers
  return {tables.cos.to(device), tables.sin.to(device)};
}

Variable Decoder::hidden(Variable x, const DecoderPass& pass) {
  const int64_t batch = x.dim(0), tokens = x.dim(1);
  const Tensor positions = positions_of(pass, tokens);
  if (project_in_) x = (*project_in_)(x);
  if (positions_) {
    auto rows = positions.to_vector<int64_t>();
    for (int64_t& row : rows) row += family_.position_offset;
    x = add(x, (*positions_)(Tensor::from(rows, positions.shape())));
  }
  LayerPass layer;
  layer.cache = pass.cache;
  layer.mask.causal = true;
  layer.mask.slopes = slopes_;
  const Device device = x.value().device();
  layer.mask.softcap = config_.attention_softcap;
  if (pass.segments.defined()) {
    // Padding hides keys only: a padded query still sees what came before it, and nobody reads it.
    layer.mask.q_segment = Tensor::zeros({batch, tokens}, DType::kI32, device);
    layer.mask.k_segment = pass.segments.to(device);
  }
  RopeTables global, local;
  if (family_.positions == PositionKind::kRotary)
    global = tables(config_.rope, positions, x.dtype());
  if (config_.has_local_rope) local = tables(config_.local_rope, positions, x.dtype());
  for (size_t i = 0; i < layers_.size(); ++i) {
    layer.mask.window = window(static_cast<int64_t>(i));
    const RopeTables& rope = config_.has_local_rope && layer.mask.window > 0 ? local : global;
    layer.rope = rope.cos.defined() ? &rope : nullptr;
    x = (*layers_[i])(x, layer);
  }
  if (norm_) x = (*norm_)(x);
  return project_out_ ? (*project_out_)(x) : x;
}

Variable Decoder::logits(const Variable& hidden) {
  return capped(linear(hidden, head_weight()), config_.logit_softcap);
}

LossSum Decoder::loss(const Variable& hidden, const Tensor& labels, int64_t chunk) {
  if (config_.logit_softcap <= 0) return next_token_loss(hidden, head_weight(), labels, chunk);
  const int64_t rows = labels.numel();
  return cross_entropy(reshape(logits(hidden), {rows, config_.vocab_size}),
                       shifted_labels(labels).view_as({rows}));
}

KvCache Decoder::make_cache(int64_t batch, int64_t capacity) const {
  return KvCache(config_.num_hidden_layers, batch, config_.num_key_value_heads, capacity,
                 config_.head_dim, embed_tokens_.weight().value().dtype(), config_.windows,
                 embed_tokens_.weight().value().device());
}

std::vector<double> alibi_slopes(int64_t heads, double bias_max) {
  int64_t power = 1;
  while (power < heads) power *= 2;
  std::vector<double> all, slopes;
  for (int64_t i = 1; i <= power; ++i)
    all.push_back(std::exp2(-bias_max * static_cast<double>(i) / static_cast<double>(power)));
  if (power == heads) return all;
  for (size_t i = 1; i < all.size(); i += 2) slopes.push_back(all[i]);
  for (size_t i = 0; i < all.size(); i += 2) slopes.push_back(all[i]);
  slopes.resize(static_cast<size_t>(heads));
  return slopes;
}

}  // namespace ocellus
