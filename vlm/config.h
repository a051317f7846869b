// Hugging Face config.json ↔ our parts. Keys keep their public names; what a class does not use is
// ignored as transformers does, what it needs and lacks is a FormatError naming the key.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nn/rope.h"

namespace ocellus {

/// DecoderConfig — a causal language model. `model_type` chooses its family (decoder_families.h):
/// names, kind of norm, where norms stand, positions; the keys below are what differs inside a
/// family.
struct DecoderConfig {
  std::string model_type = "llama";
  int64_t vocab_size = 0, hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0;
  int64_t num_key_value_heads = 0, head_dim = 0, intermediate_size = 0;
  int64_t max_position_embeddings = 2048;
  std::string hidden_act = "silu";
  double rms_norm_eps = 1e-6, initializer_range = 0.02;  // the eps of layer norms as well
  RopeConfig rope;
  RopeConfig local_rope;  // of sliding layers, if has_local_rope (Gemma 3)
  bool has_local_rope = false;
  bool tie_word_embeddings = false, attention_bias = false, mlp_bias = false;
  bool attention_out_bias = false;  // bias of the projection behind the heads
  bool parallel_residual = false;   // x + attention(norm1(x)) + mlp(norm2(x))
  bool norm_first = true;           // false: norm(x + f(x)), no final norm (OPT-350M)
  std::vector<int64_t> windows;     // per layer: keys that a query sees, itself included; 0: all
  double attention_scale = 0;       // of the scores; 0 stands for 1/√head_dim
  bool scale_by_layer = false;      // scores of layer i also divided by i + 1
  double attention_softcap = 0, logit_softcap = 0;  // cap·tanh(x/cap); 0: none
  double embedding_scale = 1;
  int64_t embedding_size = 0;  // of the word table, if not hidden_size (project_in, project_out)
  double alibi_bias_max = 8;
  double dropout = 0;  // ours: on the outputs of attention and feed-forward, in training only
  int64_t bos_token_id = -1, pad_token_id = -1;
  std::vector<int64_t> eos_token_ids;
  bool operator==(const DecoderConfig&) const = default;
};

/// VisionConfig — an image encoder (the families of vit.h).
struct VisionConfig {
  std::string model_type = "siglip_vision_model";
  int64_t image_size = 0, patch_size = 0, num_channels = 3;
  int64_t hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0, intermediate_size = 0;
  std::string hidden_act = "gelu_pytorch_tanh";
  double layer_norm_eps = 1e-6, initializer_range = 0.02;
  bool qkv_bias = true;
  bool use_head = true;  // SigLIP's attention pooling, ViT's tanh pooler
  double dropout = 0;
  int64_t pooler_size = 0;
  std::string pooler_act = "tanh";
  std::optional<double> layer_scale;  // DINOv2's LayerScale at the start
  double drop_path_rate = 0;          // DINOv2: branches left out of samples in training
  double mlp_ratio = 4;
  bool use_swiglu = false, use_mask_token = false;
  int64_t num_register_tokens = 0;
  int64_t projection_dim = 512;  // CLIP's common space
  bool operator==(const VisionConfig&) const = default;
};

/// TextEncoderConfig — CLIP's or SigLIP's text tower.
struct TextEncoderConfig {
  std::string model_type = "siglip_text_model";  // clip_text_model | siglip_text_model
  int64_t vocab_size = 0, hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0;
  int64_t intermediate_size = 0, max_position_embeddings = 64;
  int64_t projection_size = 0;  // SigLIP's head; CLIP's common space (projection_dim)
  std::string hidden_act = "gelu_pytorch_tanh";
  double layer_norm_eps = 1e-6;
  int64_t eos_token_id = -1;
  bool clip() const { return model_type == "clip_text_model"; }
};

DecoderConfig read_decoder_config(const nlohmann::json& config, const std::string& who);
VisionConfig read_vision_config(const nlohmann::json& config, const std::string& who);
TextEncoderConfig read_text_encoder_config(const nlohmann::json& config, const std::string& who);

nlohmann::json to_json(const DecoderConfig& config);
nlohmann::json to_json(const VisionConfig& config);

}  // namespace ocellus
