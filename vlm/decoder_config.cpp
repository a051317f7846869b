// config.json of language models.
#include "vlm/config.h"
#include "vlm/config_reader.h"

namespace ocellus {
namespace {

using nlohmann::json;

// `rope_parameters` of transformers 5, or rope_theta with rope_scaling of earlier ones.
RopeConfig read_rope(const ConfigReader& config, const std::string& who) {
  RopeConfig rope;
  rope.theta = config.number("rope_theta", 10000);
  const char* key = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (config.has(key)) {
    const ConfigReader scaling(config.at(key), who + ": " + key);
    rope.type = scaling.text("rope_type", scaling.text("type", "default"));
    rope.theta = scaling.number("rope_theta", rope.theta);
    rope.factor = scaling.number("factor", 1);
    rope.low_freq_factor = scaling.number("low_freq_factor", 1);
    rope.high_freq_factor = scaling.number("high_freq_factor", 4);
    rope.original_max_position_embeddings = scaling.number(
        "original_max_position_embeddings", config.number("max_position_embeddings", 2048));
  }
  check<FormatError>(rope.type == "default" || rope.type == "linear" || rope.type == "llama3",
                     "{}: rope_type \"{}\" is not one of default, linear, llama3", who, rope.type);
  return rope;
}

}  // namespace

DecoderConfig read_decoder_config(const json& config, const std::string& who) {
  const ConfigReader read(config, who);
  DecoderConfig c;
  c.vocab_size = read.size("vocab_size");
  c.hidden_size = read.size("hidden_size");
  c.num_hidden_layers = read.size("num_hidden_layers");
  c.num_attention_heads = read.size("num_attention_heads");
  c.num_key_value_heads = read.size("num_key_value_heads", c.num_attention_heads);
  c.head_dim = read.size("head_dim", c.hidden_size / c.num_attention_heads);
  c.intermediate_size = read.size("intermediate_size");
  c.max_position_embeddings = read.size("max_position_embeddings", 2048);
  c.hidden_act = read.text("hidden_act", "silu");
  c.rms_norm_eps = read.number("rms_norm_eps", 1e-6);
  c.initializer_range = read.number("initializer_range", 0.02);
  c.rope = read_rope(read, who);
  c.tie_word_embeddings = read.flag("tie_word_embeddings", false);
  c.attention_bias = read.flag("attention_bias", false);
  c.mlp_bias = read.flag("mlp_bias", false);
  const auto bos = read.ids("bos_token_id"), pad = read.ids("pad_token_id");
  c.bos_token_id = bos.empty() ? -1 : bos[0];
  c.pad_token_id = pad.empty() ? -1 : pad[0];
  c.eos_token_ids = read.ids("eos_token_id");
  return c;
}

json to_json(const DecoderConfig& c) {
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
