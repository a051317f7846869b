#include "vlm/config.h"

#include "vlm/config_reader.h"
#include "vlm/vit.h"

namespace ocellus {

using nlohmann::json;

namespace {

// Defaults by model_type, where families differ.
struct VisionDefaults {
  const char *model_type, *act;
  double eps;
  int64_t patch;
};
constexpr VisionDefaults kVisionDefaults[] = {{"vit", "gelu", 1e-12, 16},
                                              {"dinov2", "gelu", 1e-6, 14},
                                              {"dinov2_with_registers", "gelu", 1e-6, 16},
                                              {"clip_vision_model", "quick_gelu", 1e-5, 32}};

}  // namespace

VisionConfig read_vision_config(const json& config, const std::string& who) {
  const ConfigReader read(config, who);
  VisionConfig c;
  c.model_type = read.text("model_type", "siglip_vision_model");
  const VisionFamily& family = vision_family(c.model_type, who);
  VisionDefaults defaults{"", "gelu_pytorch_tanh", 1e-6, 16};
  for (const VisionDefaults& d : kVisionDefaults)
    if (c.model_type == d.model_type) defaults = d;
  c.image_size = read.side("image_size", 224);
  c.patch_size = read.side("patch_size", defaults.patch);
  c.num_channels = read.size("num_channels", 3);
  c.hidden_size = read.size("hidden_size", 768);
  c.num_hidden_layers = read.size("num_hidden_layers", 12);
  c.num_attention_heads = read.size("num_attention_heads", 12);
  c.intermediate_size = read.size("intermediate_size", 3072);
  c.hidden_act = read.text("hidden_act", defaults.act);
  c.layer_norm_eps = read.number("layer_norm_eps", defaults.eps);
  c.initializer_range = read.number("initializer_range", 0.02);
  c.qkv_bias = read.flag("qkv_bias", true);
  c.use_head = family.pool != VisionFamily::Pool::kNone && read.flag("vision_use_head", true);
  c.pooler_size = read.size("pooler_output_size", c.hidden_size);
  c.pooler_act = read.text("pooler_act", "tanh");
  if (c.model_type == "clip_vision_model") c.projection_dim = read.size("projection_dim", 512);
  if (c.model_type.starts_with("dinov2")) {
    c.mlp_ratio = read.number("mlp_ratio", 4);
    check<FormatError>(c.mlp_ratio > 0 && c.mlp_ratio <= 64,
                       "{}: mlp_ratio must be from 0 to 64, got {}", who, c.mlp_ratio);
    c.intermediate_size = static_cast<int64_t>(static_cast<double>(c.hidden_size) * c.mlp_ratio);
    c.drop_path_rate = read.rate("drop_path_rate");
    c.use_swiglu = read.flag("use_swiglu_ffn", false);
    if (c.use_swiglu)  // two thirds, so that three matrices have as many numbers as two
      c.intermediate_size =
          (static_cast<int64_t>(static_cast<double>(c.intermediate_size * 2) / 3) + 7) / 8 * 8;
    c.layer_scale = read.number("layerscale_value", 1);
    c.use_mask_token = read.flag("use_mask_token", true);
    if (family.registers) c.num_register_tokens = read.size("num_register_tokens", 4);
  }
  return c;
}

TextEncoderConfig read_text_encoder_config(const json& config, const std::string& who) {
  const ConfigReader read(config, who);
  TextEncoderConfig c;
  c.model_type = read.text("model_type", "siglip_text_model");
  check<FormatError>(c.clip() || c.model_type == "siglip_text_model",
                     "{}: model_type \"{}\" is not one of clip_text_model, siglip_text_model", who,
                     c.model_type);
  const bool clip = c.clip();
  c.vocab_size = read.size("vocab_size", clip ? 49408 : 32000);
  c.hidden_size = read.size("hidden_size", clip ? 512 : 768);
  c.num_hidden_layers = read.size("num_hidden_layers", 12);
  c.num_attention_heads = read.size("num_attention_heads", clip ? 8 : 12);
  c.intermediate_size = read.size("intermediate_size", clip ? 2048 : 3072);
  c.max_position_embeddings = read.size("max_position_embeddings", clip ? 77 : 64);
  c.projection_size =
      clip ? read.size("projection_dim", 512) : read.size("projection_size", c.hidden_size);
  c.hidden_act = read.text("hidden_act", clip ? "quick_gelu" : "gelu_pytorch_tanh");
  c.layer_norm_eps = read.number("layer_norm_eps", clip ? 1e-5 : 1e-6);
  const auto eos = read.ids("eos_token_id");
  check<FormatError>(eos.size() < 2, "{}: eos_token_id must be one id, got {}", who, eos.size());
  c.eos_token_id = eos.empty() ? 49407 : eos[0];
  return c;
}

json to_json(const VisionConfig& c) {
  json out = {{"model_type", c.model_type},
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
  if (c.model_type == "vit") {
    out["qkv_bias"] = c.qkv_bias;
    out["pooler_output_size"] = c.pooler_size > 0 ? c.pooler_size : c.hidden_size;
    out["pooler_act"] = c.pooler_act;
  } else if (c.model_type == "siglip_vision_model") {
    out["vision_use_head"] = c.use_head;
  } else if (c.model_type == "clip_vision_model") {
    out["projection_dim"] = c.projection_dim;
  } else if (c.model_type.starts_with("dinov2")) {
    out.erase("intermediate_size");
    out["mlp_ratio"] = c.mlp_ratio;
    out["qkv_bias"] = c.qkv_bias;
    out["layerscale_value"] = c.layer_scale.value_or(1);
    out["drop_path_rate"] = c.drop_path_rate;
    out["use_swiglu_ffn"] = c.use_swiglu;
    if (c.model_type == "dinov2") out["use_mask_token"] = c.use_mask_token;
    if (c.model_type == "dinov2_with_registers") out["num_register_tokens"] = c.num_register_tokens;
  }
  return out;
}

}  // namespace ocellus
