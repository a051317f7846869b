#include "vlm/config.h"

#include <nlohmann/json.hpp>

#include "engine/check.h"

namespace ocellus {
namespace {

using nlohmann::json;

// Reads typed keys of one object; every complaint names file and key.
class Reader {
 public:
  Reader(const json& object, std::string who) : object_(object), who_(std::move(who)) {
    check<FormatError>(object_.is_object(), "{}: must be an object", who_);
  }
  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  const json& at(const char* key) const { return object_[key]; }
  int64_t size(const char* key) const { return size(key, -1, true); }
  int64_t size(const char* key, int64_t fallback) const { return size(key, fallback, false); }
  double number(const char* key, double fallback) const {
    if (!has(key)) return fallback;
    check<FormatError>(object_[key].is_number(), "{}: {} must be a number", who_, key);
    return object_[key].get<double>();
  }
  bool flag(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    check<FormatError>(object_[key].is_boolean(), "{}: {} must be true or false", who_, key);
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    check<FormatError>(object_[key].is_string(), "{}: {} must be a string", who_, key);
    return object_[key].get<std::string>();
  }
  /// A token id or a list of them.
  std::vector<int64_t> ids(const char* key) const {
    std::vector<int64_t> list;
    if (!has(key)) return list;
    const json& value = object_[key];
    for (const json& id : value.is_array() ? value : json::array({value})) {
      check<FormatError>(id.is_number_integer(), "{}: {} must be a token id or a list of them", who_, key);
      list.push_back(id.get<int64_t>());
    }
    return list;
  }

 private:
  int64_t size(const char* key, int64_t fallback, bool needed) const {
    if (!has(key)) {
      check<FormatError>(!needed, "{}: the key {} is missing", who_, key);
      return fallback;
    }
    const json& value = object_[key];
    check<FormatError>(value.is_number_integer() && value.get<int64_t>() > 0 &&
                           value.get<int64_t>() <= (int64_t{1} << 31),
                       "{}: {} must be a whole number from 1 to 2^31, got {}", who_, key, value.dump());
    return value.get<int64_t>();
  }
  const json& object_;
  std::string who_;
};

// `rope_parameters` of transformers 5, or rope_theta with rope_scaling of earlier ones.
RopeConfig read_rope(const Reader& config, const std::string& who) {
  RopeConfig rope;
  rope.theta = config.number("rope_theta", 10000);
  const char* key = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (config.has(key)) {
    const Reader scaling(config.at(key), who + ": " + key);
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
  const Reader read(config, who);
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

VisionConfig read_vision_config(const json& config, const std::string& who) {
  const Reader read(config, who);
  VisionConfig c;
  c.model_type = read.text("model_type", "siglip_vision_model");
  const bool vit = c.model_type == "vit";
  check<FormatError>(vit || c.model_type == "siglip_vision_model" || c.model_type == "idefics3_vision" ||
                         c.model_type == "idefics3" || c.model_type == "smolvlm_vision",
                     "{}: model_type \"{}\" is not one of vit, siglip_vision_model, idefics3_vision, "
                     "smolvlm_vision",
                     who, c.model_type);
  c.image_size = read.size("image_size", 224);
  c.patch_size = read.size("patch_size", 16);
  c.num_channels = read.size("num_channels", 3);
  c.hidden_size = read.size("hidden_size", 768);
  c.num_hidden_layers = read.size("num_hidden_layers", 12);
  c.num_attention_heads = read.size("num_attention_heads", 12);
  c.intermediate_size = read.size("intermediate_size", 3072);
  c.hidden_act = read.text("hidden_act", vit ? "gelu" : "gelu_pytorch_tanh");
  c.layer_norm_eps = read.number("layer_norm_eps", vit ? 1e-12 : 1e-6);
  c.initializer_range = read.number("initializer_range", 0.02);
  c.qkv_bias = read.flag("qkv_bias", true);
  c.use_head = vit || (c.model_type == "siglip_vision_model" && read.flag("vision_use_head", true));
  c.pooler_size = read.size("pooler_output_size", c.hidden_size);
  c.pooler_act = read.text("pooler_act", "tanh");
  return c;
}

TextEncoderConfig read_text_encoder_config(const json& config, const std::string& who) {
  const Reader read(config, who);
  TextEncoderConfig c;
  c.vocab_size = read.size("vocab_size", 32000);
  c.hidden_size = read.size("hidden_size", 768);
  c.num_hidden_layers = read.size("num_hidden_layers", 12);
  c.num_attention_heads = read.size("num_attention_heads", 12);
  c.intermediate_size = read.size("intermediate_size", 3072);
  c.max_position_embeddings = read.size("max_position_embeddings", 64);
  c.projection_size = read.size("projection_size", c.hidden_size);
  c.hidden_act = read.text("hidden_act", "gelu_pytorch_tanh");
  c.layer_norm_eps = read.number("layer_norm_eps", 1e-6);
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

json to_json(const VisionConfig& c) {
  return {{"model_type", c.model_type},
          {"dtype", "float32"},
          {"image_size", c.image_size},
          {"patch_size", c.patch_size},
          {"num_channels", c.num_channels},
          {"hidden_size", c.hidden_size},
          {"num_hidden_layers", c.num_hidden_layers},
          {"num_attention_heads", c.num_attention_heads},
          {"intermediate_size", c.intermediate_size},
          {"hidden_act", c.hidden_act},
          {"layer_norm_eps", c.layer_norm_eps},
          {"initializer_range", c.initializer_range},
          {"attention_dropout", 0.0}};
}

}  // namespace ocellus
