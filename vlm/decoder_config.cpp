// config.json of causal language models.
#include <algorithm>
#include <cmath>

#include "vlm/config.h"
#include "vlm/config_reader.h"
#include "vlm/decoder_families.h"

namespace ocellus {
namespace {

using nlohmann::json;

// How families name the same sizes, and what transformers assumes where a key is missing.
struct DecoderKeys {
  const char* model_type;
  const char *hidden = "hidden_size", *layers = "num_hidden_layers", *heads = "num_attention_heads";
  const char *inner = "intermediate_size", *positions = "max_position_embeddings";
  const char *act = "hidden_act", *eps = "rms_norm_eps", *deviation = "initializer_range";
  bool grouped = true;  // has num_key_value_heads and head_dim
  // Defaults of the class; 0 key/value heads: as many as heads; 0 head_dim: hidden / heads.
  const char* default_act = "silu";
  double default_eps = 1e-6, default_theta = 1e4;
  int64_t default_positions = 2048;
  bool tied = false;
  int64_t vocab = 32000, default_hidden = 4096, default_layers = 32, default_heads = 32;
  int64_t default_inner = 11008, kv_heads = 0, head_dim = 0;
  int64_t pad = -1, bos = 1, eos = 2;  // -1: none
};
// clang-format off
constexpr DecoderKeys kKeys[] = {
    {.model_type = "llama"},
    {.model_type = "mistral", .default_positions = 131072, .default_inner = 14336, .kv_heads = 8},
    {.model_type = "qwen2", .default_positions = 32768, .vocab = 151936, .default_inner = 22016,
     .kv_heads = 32, .bos = -1, .eos = -1},
    {.model_type = "qwen3", .default_positions = 32768, .vocab = 151936, .default_inner = 22016,
     .kv_heads = 32, .head_dim = 128, .bos = -1, .eos = -1},
    {.model_type = "gemma", .default_act = "gelu_pytorch_tanh", .default_positions = 8192,
     .tied = true, .vocab = 256000, .default_hidden = 3072, .default_layers = 28,
     .default_heads = 16, .default_inner = 24576, .kv_heads = 16, .head_dim = 256, .pad = 0,
     .bos = 2, .eos = 1},
    {.model_type = "gemma2", .act = "hidden_activation", .default_act = "gelu_pytorch_tanh",
     .default_positions = 8192, .tied = true, .vocab = 256000, .default_hidden = 2304,
     .default_layers = 26, .default_heads = 8, .default_inner = 9216, .kv_heads = 4,
     .head_dim = 256, .pad = 0, .bos = 2, .eos = 1},
    {.model_type = "gemma3_text", .act = "hidden_activation", .default_act = "gelu_pytorch_tanh",
     .default_theta = 1e6, .default_positions = 131072, .tied = true, .vocab = 262208,
     .default_hidden = 2304, .default_layers = 26, .default_heads = 8, .default_inner = 9216,
     .kv_heads = 4, .head_dim = 256, .pad = 0, .bos = 2, .eos = 1},
    {.model_type = "gpt2", .hidden = "n_embd", .layers = "n_layer", .heads = "n_head",
     .inner = "n_inner", .positions = "n_positions", .act = "activation_function",
     .eps = "layer_norm_epsilon", .grouped = false, .default_act = "gelu_new",
     .default_eps = 1e-5, .default_theta = 0, .default_positions = 1024, .tied = true,
     .vocab = 50257, .default_hidden = 768, .default_layers = 12, .default_heads = 12,
     .bos = 50256, .eos = 50256},
    {.model_type = "gpt_neox", .eps = "layer_norm_eps", .grouped = false, .default_act = "gelu",
     .default_eps = 1e-5, .vocab = 50432, .default_hidden = 6144, .default_layers = 44,
     .default_heads = 64, .default_inner = 24576, .bos = 0},
    {.model_type = "opt", .inner = "ffn_dim", .act = "activation_function",
     .eps = "layer_norm_eps", .deviation = "init_std", .grouped = false, .default_act = "relu",
     .default_eps = 1e-5, .default_theta = 0, .tied = true, .vocab = 50272,
     .default_hidden = 768, .default_layers = 12, .default_heads = 12, .default_inner = 3072,
     .pad = 1, .bos = 2},
    {.model_type = "mpt", .hidden = "d_model", .layers = "n_layers", .heads = "n_heads",
     .inner = "", .positions = "max_seq_len", .act = "", .eps = "layer_norm_epsilon",
     .grouped = false, .default_act = "gelu", .default_eps = 1e-5, .default_theta = 0,
     .tied = true, .vocab = 50368, .default_hidden = 2048, .default_layers = 24,
     .default_heads = 16, .bos = -1, .eos = -1},
};
// clang-format on

const DecoderKeys& keys_of(const std::string& model_type, const std::string& who) {
  for (const DecoderKeys& keys : kKeys)
    if (decoder_family(model_type, who).model_type == std::string(keys.model_type)) return keys;
  fail<FormatError>("{}: model_type \"{}\" has no table of keys", who, model_type);
}

// Token ids: what the config says, null included, else the default of the class.
std::vector<int64_t> token_ids(const ConfigReader& read, const char* key, int64_t fallback) {
  if (read.has(key) || read.is_null(key) || fallback < 0) return read.ids(key);
  return {fallback};
}

// One object of rope parameters, over what `rope` holds already.
void read_rope_object(const ConfigReader& read, RopeConfig& rope, const std::string& who) {
  rope.type = read.text("rope_type", read.text("type", rope.type));
  rope.theta = read.number("rope_theta", rope.theta);
  rope.partial_rotary_factor = read.number("partial_rotary_factor", rope.partial_rotary_factor);
  rope.low_freq_factor = read.number("low_freq_factor", 1);
  rope.high_freq_factor = read.number("high_freq_factor", 4);
  rope.original_max_position_embeddings =
      read.number("original_max_position_embeddings", rope.max_position_embeddings);
  rope.factor = read.number(
      "factor", rope.type == "yarn"
                    ? rope.max_position_embeddings / rope.original_max_position_embeddings
                    : 1);
  rope.beta_fast = read.number("beta_fast", 32);
  rope.beta_slow = read.number("beta_slow", 1);
  rope.attention_factor = read.number("attention_factor", 0);
  rope.mscale = read.number("mscale", 0);
  rope.mscale_all_dim = read.number("mscale_all_dim", 0);
  rope.truncate = read.flag("truncate", true);
  check<FormatError>(rope.type == "default" || rope.type == "linear" || rope.type == "dynamic" ||
                         rope.type == "llama3" || rope.type == "yarn",
                     "{}: rope_type \"{}\" is not one of default, linear, dynamic, llama3, yarn",
                     who, rope.type);
  check<FormatError>(rope.factor > 0 && rope.theta > 0 && rope.original_max_position_embeddings > 0,
                     "{}: rope_theta, factor and original_max_position_embeddings must be positive",
                     who);
}

// `rope_parameters` of transformers 5, or rope_theta with rope_scaling of earlier ones; one object
// by kind of layer where layers differ.
void read_rope(const ConfigReader& read, const DecoderKeys& keys, DecoderConfig& c,
               const std::string& who) {
  c.rope.max_position_embeddings = static_cast<double>(c.max_position_embeddings);
  c.rope.original_max_position_embeddings = c.rope.max_position_embeddings;
  c.rope.theta = read.number("rope_theta", read.number("rotary_emb_base", keys.default_theta));
  c.rope.partial_rotary_factor = read.number(
      "partial_rotary_factor",
      read.number("rotary_pct", keys.model_type == std::string("gpt_neox") ? 0.25 : 1.0));
  c.has_local_rope = c.model_type == "gemma3_text";
  if (c.has_local_rope) {
    c.local_rope = c.rope;
    c.local_rope.theta = read.number("rope_local_base_freq", 10000);
  }
  const char* key = read.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!read.has(key)) return;
  const std::string where = who + ": " + key;
  const ConfigReader object(read.at(key), where);
  if (!object.has("full_attention") && !object.has("sliding_attention"))
    return read_rope_object(object, c.rope, who);
  if (object.has("full_attention"))
    read_rope_object({object.at("full_attention"), where + ": full_attention"}, c.rope, who);
  if (object.has("sliding_attention"))
    read_rope_object({object.at("sliding_attention"), where + ": sliding_attention"}, c.local_rope,
                     who);
}

// Which layers see a window only: layer_types, or the rule of the family.
void read_windows(const ConfigReader& read, DecoderConfig& c, const std::string& who) {
  const bool qwen = c.model_type == "qwen2" || c.model_type == "qwen3";
  if (!qwen && c.model_type != "mistral" && c.model_type != "gemma2" &&
      c.model_type != "gemma3_text")
    return;
  if (qwen && !read.flag("use_sliding_window", false)) return;
  if (read.is_null("sliding_window")) return;
  const int64_t window = read.size("sliding_window", 4096);
  const auto layers = static_cast<size_t>(c.num_hidden_layers);
  c.windows.assign(layers, 0);
  if (read.has("layer_types") && c.model_type != "mistral") {
    const json& types = read.at("layer_types");
    check<FormatError>(types.is_array() && types.size() == layers,
                       "{}: layer_types must be a list of {} (num_hidden_layers) names", who,
                       layers);
    for (size_t i = 0; i < layers; ++i) {
      check<FormatError>(types[i] == "full_attention" || types[i] == "sliding_attention",
                         "{}: layer_types[{}] must be full_attention or sliding_attention, got {}",
                         who, i, types[i].dump());
      if (types[i] == "sliding_attention") c.windows[i] = window;
    }
    return;
  }
  const auto pattern =
      static_cast<size_t>(read.size("sliding_window_pattern", c.model_type == "gemma2" ? 2 : 6));
  const auto first = static_cast<size_t>(read.size("max_window_layers", 28));
  for (size_t i = 0; i < layers; ++i) {
    const bool sliding = c.model_type == "mistral" || (qwen ? i >= first : (i + 1) % pattern != 0);
    if (sliding) c.windows[i] = window;
  }
}

void read_gemma(const ConfigReader& read, DecoderConfig& c, const std::string& who) {
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  check<FormatError>(!read.flag("use_bidirectional_attention", false),
                     "{}: use_bidirectional_attention is not supported", who);
  if (c.model_type == "gemma") return;
  c.attention_scale = 1 / std::sqrt(read.number("query_pre_attn_scalar", 256));
  const bool second = c.model_type == "gemma2";
  if (second) c.attention_softcap = read.number("attn_logit_softcapping", 50);
  if (second && read.is_null("attn_logit_softcapping")) c.attention_softcap = 0;
  c.logit_softcap = read.number("final_logit_softcapping", second ? 30 : 0);
  if (second && read.is_null("final_logit_softcapping")) c.logit_softcap = 0;
}

void read_gpt2(const ConfigReader& read, DecoderConfig& c, const std::string& who) {
  c.attention_bias = c.attention_out_bias = c.mlp_bias = true;
  check<FormatError>(!read.flag("add_cross_attention", false),
                     "{}: add_cross_attention is not supported", who);
  if (!read.flag("scale_attn_weights", true)) c.attention_scale = 1;
  c.scale_by_layer = read.flag("scale_attn_by_inverse_layer_idx", false);
}

void read_opt(const ConfigReader& read, DecoderConfig& c, const std::string& who) {
  c.attention_bias = c.attention_out_bias = c.mlp_bias = read.flag("enable_bias", true);
  c.norm_first = read.flag("do_layer_norm_before", true);
  c.embedding_size = read.size("word_embed_proj_dim", c.hidden_size);
  check<FormatError>(read.flag("layer_norm_elementwise_affine", true),
                     "{}: layer_norm_elementwise_affine must be true", who);
  check<FormatError>(!c.norm_first || !read.flag("_remove_final_layer_norm", false),
                     "{}: _remove_final_layer_norm must be false", who);
}

void read_mpt(const ConfigReader& read, DecoderConfig& c, const std::string& who) {
  if (!read.has("attn_config")) return;
  const ConfigReader attention(read.at("attn_config"), who + ": attn_config");
  // transformers does not read alibi_bias_max either: it is 8.
  c.attention_scale = attention.number("softmax_scale", 0);
  check<FormatError>(attention.flag("alibi", true), "{}: attn_config: alibi must be true", who);
  check<FormatError>(!attention.flag("qk_ln", false), "{}: attn_config: qk_ln is not supported",
                     who);
  check<FormatError>(!attention.flag("prefix_lm", false),
                     "{}: attn_config: prefix_lm is not supported", who);
  check<FormatError>(attention.number("clip_qkv", 0) == 0,
                     "{}: attn_config: clip_qkv is not supported", who);
}

}  // namespace

DecoderConfig read_decoder_config(const json& config, const std::string& who) {
  const ConfigReader read(config, who);
  DecoderConfig c;
  c.model_type = read.text("model_type", "llama");
  const DecoderKeys& keys = keys_of(c.model_type, who);
  const bool gemma = c.model_type.starts_with("gemma"), neox = c.model_type == "gpt_neox";
  c.vocab_size = read.size("vocab_size", keys.vocab);
  c.hidden_size = read.size(keys.hidden, keys.default_hidden);
  c.num_hidden_layers = read.size(keys.layers, keys.default_layers);
  c.num_attention_heads = read.size(keys.heads, keys.default_heads);
  const bool equal_heads = keys.kv_heads == 0 || read.is_null("num_key_value_heads");
  c.num_key_value_heads =
      keys.grouped
          ? read.size("num_key_value_heads", equal_heads ? c.num_attention_heads : keys.kv_heads)
          : c.num_attention_heads;
  const bool own_head_dim = keys.head_dim > 0 && !read.is_null("head_dim");
  const int64_t head_dim = own_head_dim ? keys.head_dim : c.hidden_size / c.num_attention_heads;
  c.head_dim = keys.grouped ? read.size("head_dim", head_dim) : head_dim;
  // MPT: transformers does not read expansion_ratio either.
  c.intermediate_size = c.model_type == "mpt"    ? 4 * c.hidden_size
                        : c.model_type == "gpt2" ? read.size(keys.inner, 4 * c.hidden_size)
                                                 : read.size(keys.inner, keys.default_inner);
  c.max_position_embeddings = read.size(keys.positions, keys.default_positions);
  c.hidden_act = *keys.act ? read.text(keys.act, keys.default_act) : keys.default_act;
  c.rms_norm_eps = read.number(keys.eps, keys.default_eps);
  c.initializer_range = read.number(keys.deviation, 0.02);
  c.tie_word_embeddings = read.flag("tie_word_embeddings", keys.tied);
  const bool qwen2 = c.model_type == "qwen2", mistral = c.model_type == "mistral";
  c.attention_bias = qwen2 || (!mistral && read.flag("attention_bias", neox));
  c.attention_out_bias = c.attention_bias && !qwen2;
  c.mlp_bias = neox || (c.model_type == "llama" && read.flag("mlp_bias", false));
  c.parallel_residual = neox && read.flag("use_parallel_residual", true);
  if (keys.default_theta > 0) read_rope(read, keys, c, who);
  read_windows(read, c, who);
  if (gemma) read_gemma(read, c, who);
  if (c.model_type == "gpt2") read_gpt2(read, c, who);
  if (c.model_type == "opt") read_opt(read, c, who);
  if (c.model_type == "mpt") read_mpt(read, c, who);
  const auto bos = token_ids(read, "bos_token_id", keys.bos),
             pad = token_ids(read, "pad_token_id", keys.pad);
  c.bos_token_id = bos.empty() ? -1 : bos[0];
  c.pad_token_id = pad.empty() ? -1 : pad[0];
  c.eos_token_ids = token_ids(read, "eos_token_id", keys.eos);
  return c;
}

namespace {

json rope_json(const RopeConfig& rope) {
  json out = {{"rope_type", rope.type}, {"rope_theta", rope.theta}};
  if (rope.partial_rotary_factor != 1) out["partial_rotary_factor"] = rope.partial_rotary_factor;
  if (rope.type == "default") return out;
  out["factor"] = rope.factor;
  if (rope.type == "llama3") {
    out["low_freq_factor"] = rope.low_freq_factor;
    out["high_freq_factor"] = rope.high_freq_factor;
  }
  if (rope.type == "llama3" || rope.type == "yarn")
    out["original_max_position_embeddings"] =
        static_cast<int64_t>(rope.original_max_position_embeddings);
  if (rope.type != "yarn") return out;
  out["beta_fast"] = rope.beta_fast;
  out["beta_slow"] = rope.beta_slow;
  out["truncate"] = rope.truncate;
  if (rope.attention_factor != 0) out["attention_factor"] = rope.attention_factor;
  if (rope.mscale != 0) out["mscale"] = rope.mscale;
  if (rope.mscale_all_dim != 0) out["mscale_all_dim"] = rope.mscale_all_dim;
  return out;
}

// Whole numbers without a fraction, as configs have them; null for what is off.
json json_number(double x) {
  return x == std::round(x) ? json(static_cast<int64_t>(std::round(x))) : json(x);
}
json number_or_null(double x) { return x == 0 ? json() : json(x); }
json id_or_null(int64_t id) { return id < 0 ? json() : json(id); }

void write_windows(const DecoderConfig& c, json& out) {
  int64_t window = 0;
  json types = json::array();
  for (int64_t w : c.windows) {
    window = std::max(window, w);
    types.push_back(w > 0 ? "sliding_attention" : "full_attention");
  }
  out["sliding_window"] = c.windows.empty() ? json() : json(std::max<int64_t>(window, 1));
  if (c.model_type == "mistral") return;
  if (!c.windows.empty()) out["layer_types"] = types;
  if (c.model_type.starts_with("qwen")) out["use_sliding_window"] = !c.windows.empty();
}

// What one family alone has.
void write_family(const DecoderConfig& c, json& out) {
  const std::string& type = c.model_type;
  if (type == "llama" || type == "qwen3" || type.starts_with("gemma") || type == "gpt_neox")
    out["attention_bias"] = c.attention_bias;
  if (type == "llama") out["mlp_bias"] = c.mlp_bias;
  if (type == "mistral" || type.starts_with("qwen") || type == "gemma2" || type == "gemma3_text")
    write_windows(c, out);
  if (type == "gemma2" || type == "gemma3_text") {
    const double scalar = 1 / (c.attention_scale * c.attention_scale);
    out["query_pre_attn_scalar"] = json_number(
        std::fabs(scalar - std::round(scalar)) < 1e-9 * scalar ? std::round(scalar) : scalar);
    out["attn_logit_softcapping"] = number_or_null(c.attention_softcap);
    out["final_logit_softcapping"] = number_or_null(c.logit_softcap);
  }
  if (type == "gpt2") {
    out["scale_attn_weights"] = c.attention_scale != 1;
    out["scale_attn_by_inverse_layer_idx"] = c.scale_by_layer;
  }
  if (type == "gpt_neox") out["use_parallel_residual"] = c.parallel_residual;
  if (type == "opt") {
    out["enable_bias"] = c.attention_bias;
    out["do_layer_norm_before"] = c.norm_first;
    out["word_embed_proj_dim"] = c.embedding_size;
  }
  if (type == "mpt")
    out["attn_config"] = {{"alibi", true}, {"softmax_scale", number_or_null(c.attention_scale)}};
}

}  // namespace

json to_json(const DecoderConfig& c) {
  const DecoderKeys& keys = keys_of(c.model_type, "config");
  json out = {{"model_type", c.model_type},
              {"architectures", {decoder_family(c.model_type, "config").architecture}},
              {"dtype", "float32"},
              {"vocab_size", c.vocab_size},
              {keys.hidden, c.hidden_size},
              {keys.layers, c.num_hidden_layers},
              {keys.heads, c.num_attention_heads},
              {keys.positions, c.max_position_embeddings},
              {keys.eps, c.rms_norm_eps},
              {keys.deviation, c.initializer_range},
              {"tie_word_embeddings", c.tie_word_embeddings},
              {"bos_token_id", id_or_null(c.bos_token_id)},
              {"pad_token_id", id_or_null(c.pad_token_id)}};
  if (*keys.inner) out[keys.inner] = c.intermediate_size;
  if (*keys.act) out[keys.act] = c.hidden_act;
  if (keys.grouped) {
    out["num_key_value_heads"] = c.num_key_value_heads;
    out["head_dim"] = c.head_dim;
  }
  if (c.has_local_rope) {
    out["rope_parameters"] = {{"full_attention", rope_json(c.rope)},
                              {"sliding_attention", rope_json(c.local_rope)}};
  } else if (keys.default_theta > 0) {
    out["rope_parameters"] = rope_json(c.rope);
    out["rope_theta"] = c.rope.theta;
  }
  write_family(c, out);
  out["eos_token_id"] = c.eos_token_ids.empty()       ? json()
                        : c.eos_token_ids.size() == 1 ? json(c.eos_token_ids[0])
                                                      : json(c.eos_token_ids);
  return out;
}

}  // namespace ocellus
