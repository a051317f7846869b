#include "vlm/encoder_decoder.h"

#include <cmath>

#include "vlm/config_reader.h"

namespace ocellus {
namespace {

AttentionConfig attention_config(const T5Config& c) {
  return {.dim = c.d_model,
          .heads = c.num_heads,
          .kv_heads = c.num_heads,
          .head_dim = c.d_kv,
          .deviation = 1 / std::sqrt(static_cast<double>(c.d_model)),
          .q = "q",
          .k = "k",
          .v = "v",
          .out = "o",
          .scale = 1};
}

MlpConfig mlp_config(const T5Config& c) {
  return {.dim = c.d_model,
          .hidden = c.d_ff,
          .act = c.act,
          .bias = false,
          .deviation = 1 / std::sqrt(static_cast<double>(c.d_model)),
          .gate = "wi_0",
          .up = c.gated ? "wi_1" : "wi",
          .down = "wo"};
}

std::string relative_bias_name() { return "block.0.layer.0.SelfAttention.relative_attention_bias"; }

// Every query sees the keys that are no padding.
void hide_padding(AttentionMask& mask, const Tensor& segments, int64_t queries) {
  if (!segments.defined()) return;
  mask.q_segment = Tensor::zeros({segments.dim(0), queries}, DType::kI32);
  mask.k_segment = segments;
}

}  // namespace

T5Config read_t5_config(const nlohmann::json& config, const std::string& who) {
  const ConfigReader read(config, who);
  T5Config c;
  c.vocab_size = read.size("vocab_size");
  c.d_model = read.size("d_model");
  c.d_kv = read.size("d_kv");
  c.d_ff = read.size("d_ff");
  c.num_layers = read.size("num_layers");
  c.num_decoder_layers = read.size("num_decoder_layers", c.num_layers);
  c.num_heads = read.size("num_heads");
  c.relative_attention_num_buckets = read.size("relative_attention_num_buckets", 32);
  c.relative_attention_max_distance = read.size("relative_attention_max_distance", 128);
  check<FormatError>(
      c.relative_attention_num_buckets % 4 == 0 &&
          c.relative_attention_max_distance > c.relative_attention_num_buckets / 2,
      "{}: relative_attention_num_buckets must be a multiple of 4, and less than twice "
      "relative_attention_max_distance",
      who);
  c.layer_norm_epsilon = read.number("layer_norm_epsilon", 1e-6);
  const bool mt5 = read.text("model_type", "t5") == "mt5";
  const std::string form = read.text("feed_forward_proj", mt5 ? "gated-gelu" : "relu");
  c.gated = form.starts_with("gated-");
  c.act = c.gated ? form.substr(6) : form;
  if (form == "gated-gelu") c.act = "gelu_new";
  // Own head and no scaling go together: tie_word_embeddings false, which transformers 5 rewrites
  // as scale_decoder_outputs false. mT5 has its own head, and says tied in files of transformers 5.
  c.scale_head = !mt5 && read.flag("scale_decoder_outputs", read.flag("tie_word_embeddings", true));
  c.tied_head = c.scale_head;
  const auto start = read.ids("decoder_start_token_id"), pad = read.ids("pad_token_id");
  c.pad_token_id = pad.empty() ? 0 : pad[0];
  c.decoder_start_token_id = start.empty() ? c.pad_token_id : start[0];
  c.eos_token_ids = read.ids("eos_token_id");
  return c;
}

int64_t relative_bucket(int64_t distance, bool both, int64_t buckets, int64_t max_distance) {
  int64_t first = 0;
  if (both) {
    buckets /= 2;
    if (distance > 0) first = buckets;
    distance = std::abs(distance);
  } else {
    distance = std::max<int64_t>(-distance, 0);
  }
  const int64_t exact = buckets / 2;
  if (distance < exact) return first + distance;
  // In f32, as the models were trained: 16 and 64 lie on the edge of a bucket.
  const float steps =
      std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact))) *
      static_cast<float>(buckets - exact);
  return first + std::min(exact + static_cast<int64_t>(steps), buckets - 1);
}

T5Block::T5Block(const T5Config& c, bool decoder, int64_t index)
    : index_(index),
      dropout_(c.dropout),
      attention_norm_(
          child_<Norm>("layer.0.layer_norm", NormKind::kRms, c.d_model, c.layer_norm_epsilon)),
      attention_(child_<Attention>("layer.0.SelfAttention", attention_config(c))) {
  if (decoder) {
    cross_norm_ =
        &child_<Norm>("layer.1.layer_norm", NormKind::kRms, c.d_model, c.layer_norm_epsilon);
    cross_ = &child_<Attention>("layer.1.EncDecAttention", attention_config(c));
  }
  const std::string last = decoder ? "layer.2." : "layer.1.";
  mlp_norm_ = &child_<Norm>(last + "layer_norm", NormKind::kRms, c.d_model, c.layer_norm_epsilon);
  if (c.gated)
    gated_mlp_ = &child_<GatedMlp>(last + "DenseReluDense", mlp_config(c));
  else
    mlp_ = &child_<Mlp>(last + "DenseReluDense", mlp_config(c));
}

Variable T5Block::operator()(Variable x, const AttentionMask& mask, const AttentionMask& cross_mask,
                             const T5Pass& pass) {
  x = add(x, apply_dropout(attention_(attention_norm_(x), mask, nullptr, pass.cache, index_),
                           dropout_));
  if (cross_)
    x = add(x, apply_dropout(cross_->cross((*cross_norm_)(x), pass.encoded, cross_mask,
                                           pass.cross_cache, index_),
                             dropout_));
  const Variable h = (*mlp_norm_)(x);
  return add(x, apply_dropout(gated_mlp_ ? (*gated_mlp_)(h) : (*mlp_)(h), dropout_));
}

T5Stack::T5Stack(const T5Config& c, bool decoder)
    : config_(c),
      decoder_(decoder),
      relative_bias_(child_<Embedding>(relative_bias_name(), c.relative_attention_num_buckets,
                                       c.num_heads, 1 / std::sqrt(static_cast<double>(c.d_model)))),
      norm_(child_<Norm>("final_layer_norm", NormKind::kRms, c.d_model, c.layer_norm_epsilon)) {
  for (int64_t i = 0; i < (decoder ? c.num_decoder_layers : c.num_layers); ++i)
    blocks_.push_back(&child_<T5Block>("block." + std::to_string(i), c, decoder, i));
}

Variable T5Stack::position_bias(int64_t past, int64_t tokens) {
  std::vector<int64_t> buckets;
  for (int64_t i = past; i < past + tokens; ++i)
    for (int64_t j = 0; j < past + tokens; ++j)
      buckets.push_back(relative_bucket(j - i, !decoder_, config_.relative_attention_num_buckets,
                                        config_.relative_attention_max_distance));
  const Variable bias = relative_bias_(Tensor::from(buckets, {1, tokens, past + tokens}));
  return permute(bias, {0, 3, 1, 2});
}

Variable T5Stack::operator()(Variable x, const T5Pass& pass) {
  const int64_t tokens = x.dim(1), past = pass.cache ? pass.cache->length() : 0;
  AttentionMask mask, cross_mask;
  mask.causal = decoder_;
  mask.bias = position_bias(past, tokens);
  hide_padding(mask, pass.segments, tokens);
  hide_padding(cross_mask, pass.encoded_segments, tokens);
  for (T5Block* block : blocks_) x = (*block)(x, mask, cross_mask, pass);
  return norm_(x);
}

EncoderDecoder::EncoderDecoder(const T5Config& c)
    : config_(c),
      shared_(child_<Embedding>("shared", c.vocab_size, c.d_model, 1.0)),
      encoder_(child_<T5Stack>("encoder", c, false)),
      decoder_(child_<T5Stack>("decoder", c, true)),
      head_(c.tied_head ? nullptr
                        : &child_<Linear>("lm_head", c.d_model, c.vocab_size, false, 1.0)) {}

void EncoderDecoder::tie_head() {
  if (head_) drop_(*head_);
  head_ = nullptr;
}

Variable EncoderDecoder::encode(const Variable& x, const Tensor& segments) {
  T5Pass pass;
  pass.segments = segments;
  return encoder_(x, pass);
}

Variable EncoderDecoder::decode(const Tensor& ids, const T5Pass& pass) {
  const Variable y = decoder_(embed(ids), pass);
  return config_.scale_head ? mul(y, 1 / std::sqrt(static_cast<double>(config_.d_model))) : y;
}

Tensor EncoderDecoder::shifted_right(const Tensor& labels) const {
  check<ShapeError>(labels.rank() == 2, "shifted_right: labels must be [B, T], got {}",
                    to_string(labels.shape()));
  const int64_t rows = labels.dim(0), tokens = labels.dim(1);
  const auto from = labels.to_vector<int64_t>();
  std::vector<int64_t> to(from.size());
  for (int64_t b = 0; b < rows; ++b)
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t id = t == 0 ? config_.decoder_start_token_id : from[b * tokens + t - 1];
      to[b * tokens + t] = id == -100 ? config_.pad_token_id : id;
    }
  return Tensor::from(to, labels.shape());
}

KvCache EncoderDecoder::make_cache(int64_t batch, int64_t capacity) const {
  return KvCache(config_.num_decoder_layers, batch, config_.num_heads, capacity, config_.d_kv,
                 ParameterDType::current(), {}, shared_.weight().value().device());
}

}  // namespace ocellus
