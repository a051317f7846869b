// A vision-language model from named parts: vision encoder → connector → decoder, image tokens in the
// place of image slots in the text stream.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "nn/checkpoint_file.h"
#include "vlm/connector.h"
#include "vlm/decoder.h"
#include "vlm/vit.h"

namespace ocellus {

struct VlmConfig {
  VisionConfig vision;
  ConnectorConfig connector;
  DecoderConfig language;
  int64_t image_token_id = 0;
};

/// VlmBatch — tokens and pixels of one pass. `image_rows` says which rows of the flattened [B·T] token
/// stream the image tokens replace, in order.
struct VlmBatch {
  Tensor ids;         // [B, T] i64
  Tensor labels;      // [B, T] i64, -100 where nothing is predicted; may be empty outside of training
  Tensor mask;        // [B, T] i64, 1 = real; empty if nothing is padded on the left
  Tensor pixels;      // [N, 3, S, S] f32; empty without images
  Tensor image_rows;  // [N · tokens per image] i64
};

class Vlm : public Module {
 public:
  explicit Vlm(const VlmConfig& config);

  /// Image tokens [N · tokens per image, C] of pixels [N, 3, S, S].
  Variable encode_images(const Variable& pixels);
  /// Embedded tokens with image tokens merged in, [B, T, C].
  Variable embed(const VlmBatch& batch);
  /// Hidden states after the last norm, [B, T, C].
  Variable hidden(const VlmBatch& batch);

  Decoder& language() { return language_; }
  VisionEncoder& vision() { return vision_; }
  const VlmConfig& config() const { return config_; }
  /// Tokens of one square image of `image_size` pixels.
  int64_t tokens_per_image(int64_t image_size) const;
  void set_checkpointing(bool on) { vision_.set_checkpointing(on); }
  /// Dropout of both towers from here on; a negative p is that of the config.
  void set_dropout(double p) {
    vision_.set_dropout(p < 0 ? config_.vision.dropout : p);
    language_.set_dropout(p < 0 ? config_.language.dropout : p);
  }

 private:
  VlmConfig config_;
  VisionEncoder& vision_;
  Connector& connector_;
  Decoder& language_;
};

/// The `model_type` under which transformers has this composition: idefics3 (SigLIP tower, linear or
/// pixel-shuffle connector), llava (SigLIP tower, mlp), else ocellus_vlm.
std::string vlm_model_type(const VlmConfig& config);

/// The name of a parameter in files of that model type ("vision.encoder…" → "model.vision_model.encoder…").
std::string vlm_file_name(const std::string& model_type, const std::string& name);

/// The name of a parameter in the module tree of transformers, by which adapter files go.
std::string vlm_module_name(const std::string& model_type, const std::string& name);

/// config.json of a model folder, and back. FormatError for a model type this cannot hold.
std::string vlm_config_json(const VlmConfig& config);
VlmConfig read_vlm_config(const std::string& folder);

/// A config of model_type llava that a Vlm can hold: SigLIP's last layer, all its tokens.
bool vlm_is_llava(const nlohmann::json& config);

/// Parameters and buffers by their file names, for save_safetensors (tied heads once).
std::vector<std::pair<std::string, Tensor>> vlm_file_tensors(Vlm& model);

/// load_vlm — a model folder (config.json and weights) as a Vlm in `dtype`.
std::unique_ptr<Vlm> load_vlm(const std::string& folder, DType dtype = DType::kF32);

}  // namespace ocellus
