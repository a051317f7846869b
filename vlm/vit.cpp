#include "vlm/vit.h"

#include <cmath>

#include "autograd/checkpoint.h"

namespace ocellus {

const EncoderNames kClipNames = {"encoder.layers.", "layer_norm1", "self_attn", "q_proj",
                                 "k_proj",          "v_proj",      "out_proj",  "layer_norm2",
                                 "mlp.fc1",         "mlp.fc2"};
const EncoderNames kVitNames = {
    "encoder.layer.",  "layernorm_before", "attention",       "attention.query",    "attention.key",
    "attention.value", "output.dense",     "layernorm_after", "intermediate.dense", "output.dense"};
const EncoderNames kDinov2Names = {
    "encoder.layer.",  "norm1",        "attention", "attention.query", "attention.key",
    "attention.value", "output.dense", "norm2",     "mlp.fc1",         "mlp.fc2"};

namespace {

std::vector<VisionFamily> make_families() {
  using Pool = VisionFamily::Pool;
  const VisionFamily vit{.model_type = "vit",
                         .block = &kVitNames,
                         .class_token = "embeddings.cls_token",
                         .patches = "embeddings.patch_embeddings.projection",
                         .positions = "embeddings.position_embeddings",
                         .norm = "layernorm",
                         .pool = Pool::kTanh};
  VisionFamily dinov2 = vit;
  dinov2.model_type = "dinov2";
  dinov2.block = &kDinov2Names;
  dinov2.mask_token = "embeddings.mask_token";
  dinov2.pool = Pool::kClassRow;
  dinov2.any_size = true;
  VisionFamily registers = dinov2;
  registers.model_type = "dinov2_with_registers";
  registers.registers = "embeddings.register_tokens";
  registers.antialias = true;

  const VisionFamily siglip{.model_type = "siglip_vision_model",
                            .block = &kClipNames,
                            .patches = "embeddings.patch_embedding",
                            .positions = "embeddings.position_embedding.weight",
                            .norm = "post_layernorm",
                            .pool = Pool::kAttention};
  VisionFamily clip = siglip;
  clip.model_type = "clip_vision_model";
  clip.class_token = "embeddings.class_embedding";
  clip.pre_norm = "pre_layrnorm";
  clip.pool = Pool::kNormedClassRow;
  clip.patch_bias = false;

  std::vector<VisionFamily> families = {vit, dinov2, registers, siglip, clip};
  for (const char* model_type : {"idefics3_vision", "idefics3", "smolvlm_vision"}) {
    families.push_back(siglip);
    families.back().model_type = model_type;
    families.back().pool = Pool::kNone;
  }
  return families;
}

}  // namespace

const VisionFamily& vision_family(const std::string& model_type, const std::string& who) {
  static const std::vector<VisionFamily> families = make_families();
  std::string known;
  for (const VisionFamily& family : families) {
    if (model_type == family.model_type) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  fail<FormatError>("{}: model_type \"{}\" is not one of {}", who, model_type, known);
}

PackedSwiGlu::PackedSwiGlu(int64_t dim, int64_t hidden, double deviation)
    : hidden_(hidden),
      in_(child_<Linear>("weights_in", dim, 2 * hidden, true, deviation)),
      out_(child_<Linear>("weights_out", hidden, dim, true, deviation)) {}

Variable PackedSwiGlu::operator()(const Variable& x) {
  const Variables halves = split(in_(x), {hidden_, hidden_}, -1);
  return out_(swiglu(halves[0], halves[1]));
}

EncoderLayer::EncoderLayer(const EncoderConfig& c, const EncoderNames& names)
    : dropout_(c.dropout),
      drop_path_(c.drop_path),
      norm1_(child_<LayerNorm>(names.norm1, c.dim, c.eps)),
      attention_(child_<Attention>(names.attention, AttentionConfig{.dim = c.dim,
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
      scale1_(c.layer_scale
                  ? &parameter_("layer_scale1.lambda1", {c.dim}, Init::constant(*c.layer_scale))
                  : nullptr),
      scale2_(c.layer_scale
                  ? &parameter_("layer_scale2.lambda1", {c.dim}, Init::constant(*c.layer_scale))
                  : nullptr),
      norm2_(child_<LayerNorm>(names.norm2, c.dim, c.eps)) {
  if (c.swiglu)
    swiglu_ = &child_<PackedSwiGlu>("mlp", c.dim, c.hidden, c.deviation);
  else
    mlp_ = &child_<Mlp>("", c.dim, c.hidden, c.act, names.fc1, names.fc2, c.deviation);
}

Variable EncoderLayer::operator()(const Variable& x, const AttentionMask& mask) {
  auto residual = [&](const Variable& to, Variable branch, Parameter* scale) {
    if (scale) branch = mul(branch, scale->var());
    return add(to, apply_drop_path(apply_dropout(branch, dropout_), drop_path_));
  };
  const Variable h = residual(x, attention_(norm1_(x), mask), scale1_);
  const Variable normed = norm2_(h);
  return residual(h, swiglu_ ? (*swiglu_)(normed) : (*mlp_)(normed), scale2_);
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
    : config_(c), family_(vision_family(c.model_type, "vision")), dropout_(c.dropout) {
  check<FormatError>(c.hidden_size % c.num_attention_heads == 0,
                     "vision: hidden_size ({}) must be a multiple of num_attention_heads ({})",
                     c.hidden_size, c.num_attention_heads);
  check<FormatError>(c.image_size >= c.patch_size,
                     "vision: image_size ({}) must be at least patch_size ({})", c.image_size,
                     c.patch_size);
  const VisionFamily& f = family_;
  const int64_t side = c.image_size / c.patch_size, dim = c.hidden_size;
  const bool table = std::string(f.positions).ends_with(".weight");  // [N, C], else [1, N, C]
  const Init normal = Init::normal(c.initializer_range);
  auto rows = [&](int64_t count) { return table ? Shape{count, dim} : Shape{1, count, dim}; };
  if (f.class_token)
    class_ = &parameter_(f.class_token, table ? Shape{dim} : Shape{1, 1, dim}, normal);
  if (f.mask_token && c.use_mask_token) mask_ = &parameter_(f.mask_token, {1, dim}, Init::zeros());
  if (f.registers)
    registers_ = &parameter_(f.registers, {1, c.num_register_tokens, dim}, Init::zeros());
  positions_ = &parameter_(f.positions, rows(side * side + (class_ ? 1 : 0)), normal);
  patches_ = &child_<PatchEmbed>(f.patches, c.num_channels, dim, c.patch_size, f.patch_bias);
  if (f.pre_norm) pre_norm_ = &child_<LayerNorm>(f.pre_norm, dim, c.layer_norm_eps);
  const EncoderConfig block{.dim = dim,
                            .layers = c.num_hidden_layers,
                            .heads = c.num_attention_heads,
                            .hidden = c.intermediate_size,
                            .act = c.hidden_act,
                            .eps = c.layer_norm_eps,
                            .deviation = c.initializer_range,
                            .dropout = c.dropout,
                            .drop_path = c.drop_path_rate,
                            .qkv_bias = c.qkv_bias,
                            .layer_scale = c.layer_scale,
                            .swiglu = c.use_swiglu};
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    layers_.push_back(&child_<EncoderLayer>(f.block->layer + std::to_string(i), block, *f.block));
  norm_ = &child_<LayerNorm>(f.norm, dim, c.layer_norm_eps);
  if (c.use_head && f.pool == VisionFamily::Pool::kTanh)
    pooler_ = &child_<Linear>("pooler.dense", dim, c.pooler_size, true);
  if (c.use_head && f.pool == VisionFamily::Pool::kAttention)
    head_ = &child_<AttentionPool>("head", dim, c.num_attention_heads, c.intermediate_size,
                                   c.hidden_act, c.layer_norm_eps);
}

void VisionEncoder::set_dropout(double p) {
  dropout_ = p;
  for (EncoderLayer* layer : layers_) layer->set_dropout(p);
}

// The table for a grid of height×width patches, [1, tokens, C], class row first where there is one.
Variable VisionEncoder::positions(int64_t height, int64_t width, bool interpolate) {
  const int64_t side = config_.image_size / config_.patch_size, dim = config_.hidden_size;
  const Variable table = reshape(positions_->var(), {-1, dim});
  if (height == side && width == side) return reshape(table, {1, -1, dim});
  check<ShapeError>(interpolate || family_.any_size,
                    "vision: the image must be {0}x{0} pixels, got {1}x{2}; pass "
                    "interpolate_pos_encoding to resize the position table",
                    config_.image_size, height * config_.patch_size, width * config_.patch_size);
  const int64_t first = class_ ? 1 : 0;
  const Variable old = slice(table, 0, first, first + side * side);
  const Variable grid = family_.antialias
                            ? resize_positions_antialias(old, side, side, height, width)
                            : resize_positions(old, side, side, height, width);
  return reshape(class_ ? concat({slice(table, 0, 0, 1), grid}, 0) : grid, {1, -1, dim});
}

// Patches, masked where asked; class token in front, positions added, registers behind the class;
// the norm in front of the blocks, if there is one.
Variable VisionEncoder::embed(const Variable& pixels, const VisionPass& pass) {
  const int64_t batch = pixels.dim(0), dim = config_.hidden_size;
  Variable x = (*patches_)(pixels);
  if (pass.masked.defined()) {
    check<FormatError>(mask_, "vision: this model has no mask_token, so no patch can be masked");
    check<ShapeError>(pass.masked.shape() == Shape({batch, x.dim(1)}),
                      "vision: bool_masked_pos must be [{}, {}] (a value per patch), got {}", batch,
                      x.dim(1), to_string(pass.masked.shape()));
    const Variable masked = constant(pass.masked.to(x.dtype()).view_as({batch, x.dim(1), 1}));
    x = add(mul(x, add(neg(masked), 1)), mul(reshape(mask_->var(), {1, 1, dim}), masked));
  }
  const auto row = [&](Parameter& token) {
    const Variable value = reshape(token.var(), {1, -1, dim});
    return expand(value, {batch, value.dim(1), dim});
  };
  if (class_) x = concat({row(*class_), x}, 1);
  x = add(x, positions(pixels.dim(2) / config_.patch_size, pixels.dim(3) / config_.patch_size,
                       pass.interpolate));
  if (registers_) x = concat({slice(x, 1, 0, 1), row(*registers_), slice(x, 1, 1, x.dim(1))}, 1);
  x = apply_dropout(x, dropout_);
  return pre_norm_ ? (*pre_norm_)(x) : x;
}

Variable VisionEncoder::block(size_t index, const Variable& x) {
  EncoderLayer* const layer = layers_[index];
  if (!checkpointing_) return (*layer)(x, {});
  return checkpoint([layer](const Variables& in) { return Variables{(*layer)(in[0], {})}; },
                    {x})[0];
}

EncoderOutput VisionEncoder::operator()(const Variable& pixels, const VisionPass& pass) {
  Variable x = embed(pixels, pass);
  for (size_t i = 0; i < layers_.size(); ++i) x = block(i, x);
  return pooled(x);
}

Variables VisionEncoder::states(const Variable& pixels, const VisionPass& pass) {
  Variables states = {embed(pixels, pass)};
  for (size_t i = 0; i < layers_.size(); ++i) states.push_back(block(i, states.back()));
  return states;
}

EncoderOutput VisionEncoder::pooled(const Variable& x) {
  auto class_row = [&](const Variable& tokens) {
    return reshape(slice(tokens, 1, 0, 1), {tokens.dim(0), config_.hidden_size});
  };
  if (family_.pool == VisionFamily::Pool::kNormedClassRow) return {x, (*norm_)(class_row(x))};
  const Variable tokens = (*norm_)(x);
  if (family_.pool == VisionFamily::Pool::kClassRow) return {tokens, class_row(tokens)};
  if (pooler_) return {tokens, activation(config_.pooler_act, (*pooler_)(class_row(tokens)))};
  return {tokens, head_ ? (*head_)(tokens) : Variable()};
}

TextEncoder::TextEncoder(const TextEncoderConfig& c)
    : config_(c),
      tokens_(child_<Embedding>("embeddings.token_embedding", c.vocab_size, c.hidden_size)),
      positions_(child_<Embedding>("embeddings.position_embedding", c.max_position_embeddings,
                                   c.hidden_size)) {
  check<FormatError>(
      c.hidden_size % c.num_attention_heads == 0,
      "text encoder: hidden_size ({}) must be a multiple of num_attention_heads ({})",
      c.hidden_size, c.num_attention_heads);
  const EncoderConfig block{.dim = c.hidden_size,
                            .layers = c.num_hidden_layers,
                            .heads = c.num_attention_heads,
                            .hidden = c.intermediate_size,
                            .act = c.hidden_act,
                            .eps = c.layer_norm_eps,
                            .layer_scale = {}};
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    layers_.push_back(
        &child_<EncoderLayer>(kClipNames.layer + std::to_string(i), block, kClipNames));
  norm_ = &child_<LayerNorm>("final_layer_norm", c.hidden_size, c.layer_norm_eps);
  if (!config_.clip()) head_ = &child_<Linear>("head", c.hidden_size, c.projection_size, true);
}

// The row that stands for each text, as an index into [B·T]. CLIP: the first end of text; files
// from before its id was corrected say 2, and there it is the highest id.
Tensor TextEncoder::pooled_rows(const Tensor& ids) const {
  const int64_t batch = ids.dim(0), length = ids.dim(1);
  const auto values = ids.to_vector<int64_t>();
  std::vector<int64_t> rows;
  for (int64_t b = 0; b < batch; ++b) {
    const auto begin = values.begin() + b * length, end = begin + length;
    auto at = end - 1;
    if (config_.clip() && config_.eos_token_id == 2)
      at = std::max_element(begin, end);
    else if (config_.clip() && (at = std::find(begin, end, config_.eos_token_id)) == end)
      at = begin;
    rows.push_back(at - values.begin());
  }
  return Tensor::from(rows, {batch});
}

EncoderOutput TextEncoder::operator()(const Tensor& ids, const Tensor& mask,
                                      const Tensor& positions) {
  check<ShapeError>(ids.rank() == 2 && ids.dim(1) > 0, "text encoder: ids must be [B, T], got {}",
                    to_string(ids.shape()));
  const int64_t batch = ids.dim(0), length = ids.dim(1);
  check<ShapeError>(length <= config_.max_position_embeddings,
                    "text encoder: at most {} tokens, got {}", config_.max_position_embeddings,
                    length);
  Variable x =
      add(tokens_(ids), positions_(positions.defined() ? positions : positions_from(0, length)));
  AttentionMask attention;
  attention.causal = config_.clip();
  if (mask.defined()) {
    attention.q_segment = Tensor::zeros({batch, length}, DType::kI32);
    attention.k_segment = key_segments(mask);
  }
  for (EncoderLayer* layer : layers_) x = (*layer)(x, attention);
  x = (*norm_)(x);
  const Variable row =
      gather_rows(reshape(x, {batch * length, config_.hidden_size}), pooled_rows(ids));
  return {x, head_ ? (*head_)(row) : row};
}

Tensor key_segments(const Tensor& mask) {
  const auto values = mask.to_vector<int64_t>();
  std::vector<int32_t> segments;
  for (int64_t v : values) segments.push_back(v ? 0 : -1);
  return Tensor::from(segments, mask.shape());
}

}  // namespace ocellus
