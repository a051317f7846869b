#include "vlm/vlm.h"

#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "nn/parameter_budget.h"

namespace ocellus {

using nlohmann::json;

Vlm::Vlm(const VlmConfig& config)
    : config_(config),
      vision_(child_<VisionEncoder>("vision", config.vision)),
      connector_(child_<Connector>("connector", config.connector)),
      language_(child_<Decoder>("language", config.language)) {}

int64_t Vlm::tokens_per_image(int64_t image_size) const {
  const int64_t patch = config_.vision.patch_size;
  check<ShapeError>(image_size > 0 && image_size % patch == 0,
                    "vlm: image_size must be a multiple of patch_size ({}), got {}", patch, image_size);
  return connector_.tokens(image_size / patch, image_size / patch);
}

Variable Vlm::encode_images(const Variable& pixels) {
  const int64_t patch = config_.vision.patch_size;
  const int64_t height = pixels.dim(2) / patch, width = pixels.dim(3) / patch;
  Variable tokens = vision_(pixels, {.interpolate = true}).tokens;
  if (tokens.dim(1) == height * width + 1)  // a class token is no picture element
    tokens = slice(tokens, 1, 1, height * width + 1);
  return reshape(connector_(tokens, height, width), {-1, config_.language.hidden_size});
}

Variable Vlm::embed(const VlmBatch& batch) {
  const int64_t rows = batch.ids.dim(0), tokens = batch.ids.dim(1), dim = config_.language.hidden_size;
  const Variable text = language_.embed(batch.ids);
  if (!batch.pixels.defined()) {
    const int64_t slots = batch.image_rows.defined() ? batch.image_rows.numel() : 0;
    check<ShapeError>(slots == 0, "vlm: no images are given, the text has {} slots for image tokens", slots);
    return text;
  }
  const Variable image = encode_images(constant(batch.pixels.to(text.value().device())));
  check<ShapeError>(image.dim(0) == batch.image_rows.numel(),
                    "vlm: {} images give {} image tokens, the text has {} slots for them",
                    batch.pixels.dim(0), image.dim(0), batch.image_rows.numel());
  return reshape(scatter_rows(reshape(text, {rows * tokens, dim}), batch.image_rows, image),
                 {rows, tokens, dim});
}

Variable Vlm::hidden(const VlmBatch& batch) {
  DecoderPass pass;
  if (batch.mask.defined()) pass.segments = key_segments(batch.mask);
  return language_.hidden(embed(batch), pass);
}

std::string vlm_model_type(const VlmConfig& c) {
  const std::string& tower = c.vision.model_type;
  const bool siglip = !c.vision.use_head && (tower == "siglip_vision_model" ||
                                             tower.starts_with("idefics3") || tower == "smolvlm_vision");
  if (siglip && c.connector.kind != "mlp") return "idefics3";
  if (siglip) return "llava";
  return "ocellus_vlm";
}

namespace {

// Prefix of a parameter's name here → prefix in files, and in the module tree of transformers where that
// is another; by model type. The first match counts.
struct NameRule {
  const char *model_type, *here, *file, *module = nullptr;
};
constexpr NameRule kNameRules[] = {
    {"idefics3", "vision.", "model.vision_model."},
    {"idefics3", "connector.", "model.connector."},
    {"idefics3", "language.model.", "model.text_model."},
    {"idefics3", "language.transformer.", "model.text_model."},  // GPT-2, MPT
    {"idefics3", "language.gpt_neox.", "model.text_model."},
    {"idefics3", "language.embed_out.", "lm_head."},
    {"idefics3", "language.lm_head.", "lm_head."},
    {"llava", "vision.", "vision_tower.", "model.vision_tower."},
    {"llava", "connector.", "multi_modal_projector.", "model.multi_modal_projector."},
    {"llava", "language.model.", "language_model.model.", "model.language_model."},
    {"llava", "language.transformer.", "language_model.transformer.", "model.language_model."},
    {"llava", "language.gpt_neox.", "language_model.gpt_neox.", "model.language_model."},
    {"llava", "language.embed_out.", "language_model.embed_out.", "lm_head."},
    {"llava", "language.lm_head.", "language_model.lm_head.", "lm_head."},
};

std::string renamed(const std::string& model_type, const std::string& name, bool in_files) {
  for (const NameRule& rule : kNameRules)
    if (model_type == rule.model_type && name.starts_with(rule.here))
      return (in_files || !rule.module ? rule.file : rule.module) +
             name.substr(std::string(rule.here).size());
  return name;
}

}  // namespace

std::string vlm_file_name(const std::string& model_type, const std::string& name) {
  return renamed(model_type, name, true);
}

std::string vlm_module_name(const std::string& model_type, const std::string& name) {
  return renamed(model_type, name, false);
}

std::string vlm_config_json(const VlmConfig& c) {
  const std::string type = vlm_model_type(c);
  json vision = to_json(c.vision), text = to_json(c.language);
  json root = {{"model_type", type}, {"dtype", "float32"}, {"tie_word_embeddings", c.language.tie_word_embeddings}};
  if (type == "idefics3") {
    vision["model_type"] = "idefics3_vision";
    root["architectures"] = {"Idefics3ForConditionalGeneration"};
    root["scale_factor"] = c.connector.joined();
    root["image_token_id"] = c.image_token_id;
  } else if (type == "llava") {
    vision["model_type"] = "siglip_vision_model";
    vision["vision_use_head"] = false;
    root["architectures"] = {"LlavaForConditionalGeneration"};
    root["image_token_id"] = c.image_token_id;
    root["image_token_index"] = c.image_token_id;
    root["projector_hidden_act"] = c.connector.hidden_act;
    root["vision_feature_layer"] = -1;
    root["vision_feature_select_strategy"] = "full";
    root["multimodal_projector_bias"] = true;
  } else {
    root["architectures"] = {"OcellusVlm"};
    root["image_token_id"] = c.image_token_id;
    root["connector_config"] = {
        {"kind", c.connector.kind}, {"factor", c.connector.joined()}, {"hidden_act", c.connector.hidden_act}};
  }
  if (c.language.pad_token_id >= 0) root["pad_token_id"] = c.language.pad_token_id;
  root["vision_config"] = vision;
  root["text_config"] = text;
  return root.dump(2) + "\n";
}

namespace {
// A nested config; absent: the defaults of its class.
json part(const json& root, const char* key) {
  const json found = root.value(key, json());
  return found.is_null() ? json::object() : found;
}
}  // namespace

bool vlm_is_llava(const json& root) {
  return root.value("model_type", "") == "llava" && root.value("vision_feature_layer", json()) == -1 &&
         root.value("vision_feature_select_strategy", "default") == "full" &&
         part(root, "vision_config").value("model_type", "") == "siglip_vision_model";
}

VlmConfig read_vlm_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  const json root = load_json(path);
  try {
    const std::string type = root.at("model_type").get<std::string>();
    check<FormatError>(type == "idefics3" || type == "llava" || type == "ocellus_vlm",
                       "{}: model_type \"{}\" is not one of idefics3, llava, ocellus_vlm", path, type);
    VlmConfig c;
    c.vision = read_vision_config(part(root, "vision_config"), path + ": vision_config");
    c.language = read_decoder_config(part(root, "text_config"), path + ": text_config");
    if (root.contains("tie_word_embeddings"))
      c.language.tie_word_embeddings = root["tie_word_embeddings"].get<bool>();
    c.image_token_id = root.contains("image_token_id") ? root["image_token_id"].get<int64_t>()
                                                       : root.at("image_token_index").get<int64_t>();
    if (type == "idefics3") {
      c.connector.kind = "pixel_shuffle";
      c.connector.factor = root.at("scale_factor").get<int64_t>();
    } else if (type == "llava") {
      c.connector.kind = "mlp";
      c.connector.hidden_act = root.value("projector_hidden_act", "gelu");
      c.vision.use_head = false;
      check<FormatError>(vlm_is_llava(root),
                         "{}: of model_type llava, only a SigLIP tower whose last layer is read whole is "
                         "trained here (vision_feature_layer -1, vision_feature_select_strategy full)",
                         path);
    } else {
      const json& connector = root.at("connector_config");
      c.connector.kind = connector.at("kind").get<std::string>();
      c.connector.factor = connector.value("factor", int64_t{1});
      c.connector.hidden_act = connector.value("hidden_act", "gelu");
      c.vision.use_head = false;
    }
    c.connector.vision_dim = c.vision.hidden_size;
    c.connector.text_dim = c.language.hidden_size;
    return c;
  } catch (const json::exception& error) {
    fail<FormatError>("{}: {}", path, error.what());
  }
}

std::vector<std::pair<std::string, Tensor>> vlm_file_tensors(Vlm& model) {
  const std::string type = vlm_model_type(model.config());
  return stored_tensors(model, [&](const std::string& name) { return vlm_file_name(type, name); });
}

std::unique_ptr<Vlm> load_vlm(const std::string& folder, DType dtype) {
  const VlmConfig config = read_vlm_config(folder);
  ParameterDType scope(dtype);
  const CheckpointReader checkpoint(folder);
  auto model = [&] {
    const ParameterBudget budget(checkpoint, folder + "/config.json");
    return std::make_unique<Vlm>(config);
  }();
  const std::string type = vlm_model_type(config);
  load_parameters(*model, checkpoint,
                  [&](const std::string& name) { return vlm_file_name(type, name); });
  return model;
}

}  // namespace ocellus
