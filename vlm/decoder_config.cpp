// config.json of causal language models.
#include <cmath>

#include "vlm/config.h"
#include "vlm/config_reader.h"
#include "vlm/decoder_families.h"

namespace ocellus {
namespace {

using nlohmann::json;

// How families name the same sizes, and what transformers assumes where a key is missing.
struct DecoderKeys {
  const char *model_type, *hidden, *layers, *heads, *inner, *positions, *act, *eps;
  const char* default_act;
  double default_eps, default_theta;
  int64_t default_positions;
  bool tied;
};
constexpr const char *kHidden = "hidden_size", *kLayers = "num_hidden_layers",
                     *kHeads = "num_attention_heads", *kInner = "intermediate_size",
                     *kPositions = "max_position_embeddings", *kRmsEps = "rms_norm_eps";
constexpr DecoderKeys kKeys[] = {
    {"llama", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_act", kRmsEps, "silu", 1e-6,
     1e4, 2048, false},
    {"mistral", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_act", kRmsEps, "silu", 1e-6,
     1e4, 131072, false},
    {"qwen2", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_act", kRmsEps, "silu", 1e-6,
     1e4, 32768, false},
    {"qwen3", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_act", kRmsEps, "silu", 1e-6,
     1e4, 32768, false},
    {"gemma", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_act", kRmsEps,
     "gelu_pytorch_tanh", 1e-6, 1e4, 8192, true},
    {"gemma2", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_activation", kRmsEps,
     "gelu_pytorch_tanh", 1e-6, 1e4, 8192, true},
    {"gemma3_text", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_activation", kRmsEps,
     "gelu_pytorch_tanh", 1e-6, 1e6, 131072, true},
    {"gpt2", "n_embd", "n_layer", "n_head", "n_inner", "n_positions", "activation_function",
     "layer_norm_epsilon", "gelu_new", 1e-5, 0, 1024, true},
    {"gpt_neox", kHidden, kLayers, kHeads, kInner, kPositions, "hidden_act", "layer_norm_eps",
     "gelu", 1e-5, 1e4, 2048, false},
    {"opt", kHidden, kLayers, kHeads, "ffn_dim", kPositions, "activation_function",
     "layer_norm_eps", "relu", 1e-5, 0, 2048, true},
    {"mpt", "d_model", "n_layers", "n_heads", "", "max_seq_len", "", "layer_norm_epsilon", "gelu",
     1e-5, 0, 2048, true},
};

const DecoderKeys& keys_of(const std::string& model_type, const std::string& who) {
  for (const DecoderKeys& keys : kKeys)
    if (decoder_family(model_type, who).model_type == std::string(keys.model_type)) return keys;
  fail<FormatError>("{}: model_type \"{}\" has no table of keys", who, model_type);
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
  c.rope.theta = read.number("rope_theta", read.number("rotary_emb_base", keys.default_theta));
  c.rope.partial_rotary_factor = read.number(
      "partial_rotary_factor",
      read.number("rotary_pct", keys.model_type == std::string("gpt_neox") ? 0.25 : 1.0));
  c.has_local_rope = c.model_type == "gemma3_text";
  c.local_rope = c.rope;
  c.local_rope.theta = read.number("rope_local_base_freq", 10000);
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
  c.vocab_size = read.size("vocab_size");
  c.hidden_size = read.size(keys.hidden);
  c.num_hidden_layers = read.size(keys.layers);
  c.num_attention_heads = read.size(keys.heads);
  const bool gemma = c.model_type.starts_with("gemma");
  c.num_key_value_heads = read.size("num_key_value_heads", c.num_attention_heads);
  c.head_dim = read.size("head_dim", gemma ? 256 : c.hidden_size / c.num_attention_heads);
  // MPT: transformers does not read expansion_ratio either.
  c.intermediate_size = c.model_type == "mpt"    ? 4 * c.hidden_size
                        : c.model_type == "gpt2" ? read.size(keys.inner, 4 * c.hidden_size)
                                                 : read.size(keys.inner);
  c.max_position_embeddings = read.size(keys.positions, keys.default_positions);
  c.hidden_act = *keys.act ? read.text(keys.act, keys.default_act) : keys.default_act;
  c.rms_norm_eps = read.number(keys.eps, keys.default_eps);
  c.initializer_range = read.number("initializer_range", 0.02);
  c.tie_word_embeddings = read.flag("tie_word_embeddings", keys.tied);
  const bool qwen2 = c.model_type == "qwen2", neox = c.model_type == "gpt_neox";
  c.attention_bias = qwen2 || read.flag("attention_bias", neox);
  c.attention_out_bias = c.attention_bias && !qwen2;
  c.mlp_bias = neox || (c.model_type == "llama" && read.flag("mlp_bias", false));
  c.parallel_residual = neox && read.flag("use_parallel_residual", true);
  if (keys.default_theta > 0) read_rope(read, keys, c, who);
  read_windows(read, c, who);
  if (gemma) read_gemma(read, c, who);
  if (c.model_type == "gpt2") read_gpt2(read, c, who);
  if (c.model_type == "opt") read_opt(read, c, who);
  if (c.model_type == "mpt") read_mpt(read, c, who);
  const auto bos = read.ids("bos_token_id"), pad = read.ids("pad_token_id");
  c.bos_token_id = bos.empty() ? -1 : bos[0];
  c.pad_token_id = pad.empty() ? -1 : pad[0];
  c.eos_token_ids = read.ids("eos_token_id");
  return c;
}

json to_json(const DecoderConfig& c) {
  check<UsageError>(c.model_type == "llama", "config: a {} model cannot be written yet, only llama",
                    c.model_type);
  json rope = {{"rope_type", c.rope.type}, {"rope_theta", c.rope.theta}};
  if (c.rope.type != "default") rope["factor"] = c.rope.factor;
  if (c.rope.type == "llama3") {
    rope["low_freq_factor"] = c.rope.low_freq_factor;
    rope["high_freq_factor"] = c.rope.high_freq_factor;
    rope["original_max_position_embeddings"] = c.rope.original_max_position_embeddings;
  }
  json out = {{"model_type", "llama"},
              {"architectures", {"LlamaForCausalLM"}},
              {"dtype", "float32"},
              {"vocab_size", c.vocab_size},
              {"hidden_size", c.hidden_size},
              {"num_hidden_layers", c.num_hidden_layers},
              {"num_attention_heads", c.num_attention_heads},
              {"num_key_value_heads", c.num_key_value_heads},
              {"head_dim", c.head_dim},
              {"intermediate_size", c.intermediate_size},
              {"max_position_embeddings", c.max_position_embeddings},
              {"hidden_act", c.hidden_act},
              {"rms_norm_eps", c.rms_norm_eps},
              {"initializer_range", c.initializer_range},
              {"rope_parameters", rope},
              {"rope_theta", c.rope.theta},
              {"tie_word_embeddings", c.tie_word_embeddings},
              {"attention_bias", c.attention_bias},
              {"mlp_bias", c.mlp_bias}};
  if (c.bos_token_id >= 0) out["bos_token_id"] = c.bos_token_id;
  if (c.pad_token_id >= 0) out["pad_token_id"] = c.pad_token_id;
  if (c.eos_token_ids.size() == 1) out["eos_token_id"] = c.eos_token_ids[0];
  if (c.eos_token_ids.size() > 1) out["eos_token_id"] = c.eos_token_ids;
  return out;
}

}  // namespace ocellus
