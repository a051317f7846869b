#include "vlm/vit.h"

#include <cmath>

#include "autograd/checkpoint.h"

namespace ocellus {

const EncoderNames kSiglipNames = {"encoder.layers.", "layer_norm1", "self_attn", "q_proj",
                                   "k_proj",          "v_proj",      "out_proj",  "layer_norm2",
                                   "mlp.fc1",         "mlp.fc2"};
const EncoderNames kVitNames = {"encoder.layer.", "layernorm_before", "attention", "attention.query",
                                "attention.key",  "attention.value",  "output.dense",
                                "layernorm_after", "intermediate.dense", "output.dense"};

EncoderLayer::EncoderLayer(const EncoderConfig& c, const EncoderNames& names)
    : dropout_(c.dropout),
      norm1_(child_<LayerNorm>(names.norm1, c.dim, c.eps)),
      attention_(child_<Attention>(names.attention,
                                   AttentionConfig{.dim = c.dim,
                                                   .heads = c.heads,
                                                   .kv_heads = c.heads,
                                                   .head_dim = c.dim / c.heads,
                                                   .qkv_bias = c.qkv_bias,
                                                   .out_bias = true,
                                                   .deviation = c.deviation,
                                                   .q = names.q,
                                                   .k = names.k,
                                                   .v = names.v,
                                                   .out = names.out})),
      norm2_(child_<LayerNorm>(names.norm2, c.dim, c.eps)),
      mlp_(child_<Mlp>("", c.dim, c.hidden, c.act, names.fc1, names.fc2, c.deviation)) {}

Variable EncoderLayer::operator()(const Variable& x, const AttentionMask& mask) {
  const Variable h = add(x, apply_dropout(attention_(norm1_(x), mask), dropout_));
  return add(h, apply_dropout(mlp_(norm2_(h)), dropout_));
}

AttentionPool::AttentionPool(int64_t dim, int64_t heads, int64_t hidden, const std::string& act,
                             double eps)
    : dim_(dim),
      heads_(heads),
      probe_(parameter_("probe", {1, 1, dim}, Init::normal(1 / std::sqrt(double(dim))))),
      in_weight_(parameter_("attention.in_proj_weight", {3 * dim, dim},
                            Init::uniform(std::sqrt(6.0 / (4.0 * double(dim)))))),
      in_bias_(parameter_("attention.in_proj_bias", {3 * dim}, Init::zeros())),
      out_(child_<Linear>("attention.out_proj", dim, dim, true)),
      norm_(child_<LayerNorm>("layernorm", dim, eps)),
      mlp_(child_<Mlp>("mlp", dim, hidden, act)) {}

Variable AttentionPool::operator()(const Variable& x) {
  const int64_t batch = x.dim(0), tokens = x.dim(1), head_dim = dim_ / heads_;
  const Variable weight = in_weight_.var(), bias = in_bias_.var();
  auto part = [&](const Variable& input, int64_t begin, int64_t end, int64_t count) {
    const Variable y = linear(input, slice(weight, 0, begin * dim_, end * dim_),
                              slice(bias, 0, begin * dim_, end * dim_));
    return reshape(y, {y.dim(0), count, (end - begin) * heads_, head_dim});
  };
  const Variable q = expand(part(probe_.var(), 0, 1, 1), {batch, 1, heads_, head_dim});
  const Variable kv = part(x, 1, 3, tokens);
  const Variable k = slice(kv, 2, 0, heads_), v = slice(kv, 2, heads_, 2 * heads_);
  const Variable pooled = out_(reshape(sdpa(q, k, v, {}), {batch, dim_}));
  return add(pooled, mlp_(norm_(pooled)));
}

VisionEncoder::VisionEncoder(const VisionConfig& c)
    : config_(c), vit_(c.model_type == "vit"), dropout_(c.dropout) {
  check<FormatError>(c.hidden_size % c.num_attention_heads == 0,
                     "vision: hidden_size ({}) must be a multiple of num_attention_heads ({})",
                     c.hidden_size, c.num_attention_heads);
  check<FormatError>(c.image_size % c.patch_size == 0 || !vit_,
                     "vision: image_size ({}) must be a multiple of patch_size ({})", c.image_size,
                     c.patch_size);
  const int64_t side = c.image_size / c.patch_size;
  const EncoderConfig block{c.hidden_size,    c.num_hidden_layers, c.num_attention_heads,
                            c.intermediate_size, c.hidden_act,     c.layer_norm_eps,
                            c.initializer_range, c.dropout,        c.qkv_bias};
  if (vit_) {
    cls_ = &parameter_("embeddings.cls_token", {1, 1, c.hidden_size}, Init::normal(c.initializer_range));
    positions_ = &parameter_("embeddings.position_embeddings", {1, side * side + 1, c.hidden_size},
                             Init::normal(c.initializer_range));
    patches_ = &child_<PatchEmbed>("embeddings.patch_embeddings.projection", c.num_channels,
                                   c.hidden_size, c.patch_size);
  } else {
    patches_ = &child_<PatchEmbed>("embeddings.patch_embedding", c.num_channels, c.hidden_size,
                                   c.patch_size);
    positions_ = &parameter_("embeddings.position_embedding.weight", {side * side, c.hidden_size},
                             Init::normal(c.initializer_range));
  }
  const EncoderNames& names = vit_ ? kVitNames : kSiglipNames;
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    layers_.push_back(&child_<EncoderLayer>(names.layer + std::to_string(i), block, names));
  norm_ = &child_<LayerNorm>(vit_ ? "layernorm" : "post_layernorm", c.hidden_size, c.layer_norm_eps);
  if (c.use_head && vit_)
    pooler_ = &child_<Linear>("pooler.dense", c.hidden_size, c.pooler_size, true);
  if (c.use_head && !vit_)
    head_ = &child_<AttentionPool>("head", c.hidden_size, c.num_attention_heads, c.intermediate_size,
                                   c.hidden_act, c.layer_norm_eps);
}

void VisionEncoder::set_dropout(double p) {
  dropout_ = p;
  for (EncoderLayer* layer : layers_) layer->set_dropout(p);
}

// The table for a grid of height×width patches, [1, tokens, C], class row first where there is one.
Variable VisionEncoder::positions(int64_t height, int64_t width, bool interpolate) {
  const int64_t side = config_.image_size / config_.patch_size, dim = config_.hidden_size;
  Variable table = reshape(positions_->var(), {-1, dim});
  if (height == side && width == side) return reshape(table, {1, -1, dim});
  check<ShapeError>(interpolate,
                    "vision: the image must be {0}x{0} pixels, got {1}x{2}; pass "
                    "interpolate_pos_encoding to resize the position table",
                    config_.image_size, height * config_.patch_size, width * config_.patch_size);
  if (!vit_) return reshape(resize_positions(table, side, side, height, width), {1, -1, dim});
  const Variable grid =
      resize_positions(slice(table, 0, 1, side * side + 1), side, side, height, width);
  return reshape(concat({slice(table, 0, 0, 1), grid}, 0), {1, -1, dim});
}

EncoderOutput VisionEncoder::operator()(const Variable& pixels, bool interpolate) {
  const int64_t batch = pixels.dim(0), dim = config_.hidden_size;
  Variable x = (*patches_)(pixels);
  if (vit_) x = concat({expand(cls_->var(), {batch, 1, dim}), x}, 1);
  x = add(x, positions(pixels.dim(2) / config_.patch_size, pixels.dim(3) / config_.patch_size,
                       interpolate));
  x = apply_dropout(x, dropout_);
  for (EncoderLayer* layer : layers_) {
    if (checkpointing_)
      x = checkpoint([layer](const Variables& in) { return Variables{(*layer)(in[0], {})}; }, {x})[0];
    else
      x = (*layer)(x, {});
  }
  x = (*norm_)(x);
  if (pooler_) {
    const Variable first = reshape(slice(x, 1, 0, 1), {batch, dim});
    return {x, activation(config_.pooler_act, (*pooler_)(first))};
  }
  return {x, head_ ? (*head_)(x) : Variable()};
}

TextEncoder::TextEncoder(const TextEncoderConfig& c)
    : config_(c),
      tokens_(child_<Embedding>("embeddings.token_embedding", c.vocab_size, c.hidden_size)),
      positions_(child_<Embedding>("embeddings.position_embedding", c.max_position_embeddings,
                                   c.hidden_size)) {
  const EncoderConfig block{c.hidden_size, c.num_hidden_layers, c.num_attention_heads,
                            c.intermediate_size, c.hidden_act, c.layer_norm_eps, 0.02, 0.0, true};
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    layers_.push_back(
        &child_<EncoderLayer>(kSiglipNames.layer + std::to_string(i), block, kSiglipNames));
  norm_ = &child_<LayerNorm>("final_layer_norm", c.hidden_size, c.layer_norm_eps);
  head_ = &child_<Linear>("head", c.hidden_size, c.projection_size, true);
}

EncoderOutput TextEncoder::operator()(const Tensor& ids, const Tensor& mask) {
  const int64_t batch = ids.dim(0), length = ids.dim(1);
  check<ShapeError>(length <= config_.max_position_embeddings,
                    "text encoder: at most {} tokens, got {}", config_.max_position_embeddings, length);
  Variable x = add(tokens_(ids), positions_(positions_from(0, length)));
  AttentionMask attention;
  if (mask.defined()) {
    attention.q_segment = Tensor::zeros({batch, length}, DType::kI32);
    attention.k_segment = key_segments(mask);
  }
  for (EncoderLayer* layer : layers_) x = (*layer)(x, attention);
  x = (*norm_)(x);
  const Variable last = reshape(slice(x, 1, length - 1, length), {batch, config_.hidden_size});
  return {x, (*head_)(last)};
}

Tensor key_segments(const Tensor& mask) {
  const auto values = mask.to_vector<int64_t>();
  std::vector<int32_t> segments;
  for (int64_t v : values) segments.push_back(v ? 0 : -1);
  return Tensor::from(segments, mask.shape());
}

}  // namespace ocellus
