#include "vlm/config.h"

#include "vlm/config_reader.h"

namespace ocellus {

using nlohmann::json;

VisionConfig read_vision_config(const json& config, const std::string& who) {
  const ConfigReader read(config, who);
  VisionConfig c;
  c.model_type = read.text("model_type", "siglip_vision_model");
  const bool vit = c.model_type == "vit";
  check<FormatError>(
      vit || c.model_type == "siglip_vision_model" || c.model_type == "idefics3_vision" ||
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
  const ConfigReader read(config, who);
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
  }
  return out;
}

}  // namespace ocellus
