#include "vlm/bert.h"

#include "vlm/config_reader.h"

namespace ocellus {

BertConfig read_bert_config(const nlohmann::json& config, const std::string& who) {
  const ConfigReader read(config, who);
  BertConfig c;
  c.vocab_size = read.size("vocab_size", 30522);
  c.hidden_size = read.size("hidden_size", 768);
  c.num_hidden_layers = read.size("num_hidden_layers", 12);
  c.num_attention_heads = read.size("num_attention_heads", 12);
  c.intermediate_size = read.size("intermediate_size", 3072);
  c.max_position_embeddings = read.size("max_position_embeddings", 512);
  c.type_vocab_size = read.size("type_vocab_size", 2);
  c.hidden_act = read.text("hidden_act", "gelu");
  c.layer_norm_eps = read.number("layer_norm_eps", 1e-12);
  c.initializer_range = read.number("initializer_range", 0.02);
  const std::string positions = read.text("position_embedding_type", "absolute");
  check<FormatError>(positions == "absolute",
                     "{}: position_embedding_type must be absolute, got \"{}\"", who, positions);
  check<FormatError>(!read.flag("is_decoder", false) && !read.flag("add_cross_attention", false),
                     "{}: is_decoder and add_cross_attention are not supported", who);
  return c;
}

BertLayer::BertLayer(const BertConfig& c)
    : dropout_(c.dropout),
      attention_(child_<Attention>(
          "attention", AttentionConfig{.dim = c.hidden_size,
                                       .heads = c.num_attention_heads,
                                       .kv_heads = c.num_attention_heads,
                                       .head_dim = c.hidden_size / c.num_attention_heads,
                                       .qkv_bias = true,
                                       .out_bias = true,
                                       .deviation = c.initializer_range,
                                       .q = "self.query",
                                       .k = "self.key",
                                       .v = "self.value",
                                       .out = "output.dense"})),
      attention_norm_(
          child_<LayerNorm>("attention.output.LayerNorm", c.hidden_size, c.layer_norm_eps)),
      mlp_(child_<Mlp>("", MlpConfig{.dim = c.hidden_size,
                                     .hidden = c.intermediate_size,
                                     .act = c.hidden_act,
                                     .deviation = c.initializer_range,
                                     .up = "intermediate.dense",
                                     .down = "output.dense"})),
      mlp_norm_(child_<LayerNorm>("output.LayerNorm", c.hidden_size, c.layer_norm_eps)) {}

Variable BertLayer::operator()(const Variable& x, const AttentionMask& mask) {
  const Variable h = attention_norm_(add(x, apply_dropout(attention_(x, mask), dropout_)));
  return mlp_norm_(add(h, apply_dropout(mlp_(h), dropout_)));
}

Bert::Bert(const BertConfig& c, bool with_pooler)
    : words_(child_<Embedding>("embeddings.word_embeddings", c.vocab_size, c.hidden_size,
                               c.initializer_range)),
      positions_(child_<Embedding>("embeddings.position_embeddings", c.max_position_embeddings,
                                   c.hidden_size, c.initializer_range)),
      types_(child_<Embedding>("embeddings.token_type_embeddings", c.type_vocab_size, c.hidden_size,
                               c.initializer_range)),
      norm_(child_<LayerNorm>("embeddings.LayerNorm", c.hidden_size, c.layer_norm_eps)),
      pooler_(with_pooler ? &child_<Linear>("pooler.dense", c.hidden_size, c.hidden_size, true,
                                            c.initializer_range)
                          : nullptr) {
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    layers_.push_back(&child_<BertLayer>("encoder.layer." + std::to_string(i), c));
}

Variable Bert::operator()(const Tensor& ids, const Tensor& types, const Tensor& segments,
                          const Tensor& positions) {
  const int64_t rows = ids.dim(0), tokens = ids.dim(1);
  const Tensor at = positions.defined() ? positions : positions_from(0, tokens);
  const Tensor type = types.defined() ? types : Tensor::zeros({rows, tokens}, DType::kI64);
  Variable x = norm_(add(add(words_(ids), types_(type)), positions_(at)));
  AttentionMask mask;
  if (segments.defined()) {
    mask.q_segment = Tensor::zeros({rows, tokens}, DType::kI32);
    mask.k_segment = segments;
  }
  for (BertLayer* layer : layers_) x = (*layer)(x, mask);
  return x;
}

Variable Bert::pooled(const Variable& states) {
  check<UsageError>(pooler_ != nullptr, "bert: this model has no pooler");
  const Variable first = reshape(slice(states, 1, 0, 1), {states.dim(0), states.dim(2)});
  return tanh((*pooler_)(first));
}

BertForMaskedLm::BertForMaskedLm(const BertConfig& c)
    : act_(c.hidden_act),
      bert_(child_<Bert>("bert", c, false)),
      dense_(child_<Linear>("cls.predictions.transform.dense", c.hidden_size, c.hidden_size, true,
                            c.initializer_range)),
      norm_(child_<LayerNorm>("cls.predictions.transform.LayerNorm", c.hidden_size,
                              c.layer_norm_eps)),
      bias_(parameter_("cls.predictions.bias", {c.vocab_size}, Init::zeros())) {}

Variable BertForMaskedLm::logits(const Variable& states) {
  return linear(norm_(activation(act_, dense_(states))), bert_.word_table(), bias_.var());
}

}  // namespace ocellus
