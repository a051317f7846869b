// LLaVA under its public names: a CLIP or SigLIP tower, two linear layers, a causal language model.
// Liu et al. 2023, arXiv:2304.08485 and arXiv:2310.03744.
#include <nlohmann/json.hpp>

#include "vlm/config_reader.h"
#include "vlm/hf_model.h"
#include "vlm/vit.h"

namespace ocellus {
namespace {

using nlohmann::json;

// A nested config with the defaults that the class has for it.
json nested(const json& config, const char* key, json defaults) {
  const json given = config.value(key, json());
  if (given.is_null()) return defaults;
  check<FormatError>(given.is_object(), "config.json: {} must be an object", key);
  json part = given;
  part.emplace("model_type", defaults["model_type"]);
  return part;
}

json vision_defaults() {
  return {{"model_type", "clip_vision_model"},
          {"intermediate_size", 4096},
          {"hidden_size", 1024},
          {"patch_size", 14},
          {"image_size", 336},
          {"num_hidden_layers", 24},
          {"num_attention_heads", 16},
          {"projection_dim", 768}};
}

// The head is tied if either config says so, as transformers has it.
DecoderConfig language_config(const json& config, const std::string& who) {
  DecoderConfig c = read_decoder_config(nested(config, "text_config", {{"model_type", "llama"}}),
                                        who + ": text_config");
  c.tie_word_embeddings |= ConfigReader(config, who).flag("tie_word_embeddings", false);
  return c;
}

class HfLlava : public HfModel {
 public:
  HfLlava(const json& config, const std::string& who)
      : vision_(child_<VisionEncoder>(
            "vision_tower", read_vision_config(nested(config, "vision_config", vision_defaults()),
                                               who + ": vision_config"))),
        layers_(feature_layers(config, who)),
        linear_1_(
            child_<Linear>("multi_modal_projector.linear_1",
                           vision_.config().hidden_size * static_cast<int64_t>(layers_.size()),
                           language_config(config, who).hidden_size, bias(config, who))),
        linear_2_(child_<Linear>("multi_modal_projector.linear_2",
                                 language_config(config, who).hidden_size,
                                 language_config(config, who).hidden_size, bias(config, who))),
        decoder_(child_<Decoder>("language_model", language_config(config, who))) {
    const ConfigReader read(config, who);
    act_ = read.text("projector_hidden_act", "gelu");
    const std::string select = read.text("vision_feature_select_strategy", "default");
    check<FormatError>(select == "default" || select == "full",
                       "{}: vision_feature_select_strategy \"{}\" is not one of default, full", who,
                       select);
    skip_first_ = select == "default";
    const auto id =
        read.ids(read.has("image_token_index") ? "image_token_index" : "image_token_id");
    check<FormatError>(id.size() < 2, "{}: image_token_index must be one id", who);
    image_token_ = id.empty() ? 32000 : id[0];
  }

  HfOutputs forward(const HfInputs& in) override {
    HfOutputs out;
    DecoderPass pass;
    pass.positions = in.get("position_ids");
    if (const Tensor real = in.get("attention_mask"); real.defined())
      pass.segments = key_segments(real);
    const Variable hidden = decoder_.hidden(embed(in, &out), pass);
    out["logits"] = decoder_.logits(hidden);
    if (const Tensor labels = in.get("labels"); labels.defined()) {
      const LossSum loss = decoder_.loss(hidden, labels);
      check<UsageError>(loss.count > 0, "loss: no label is a target (all are -100)");
      out["loss_sum"] = loss.sum;
      out["loss"] = mul(loss.sum, 1.0 / static_cast<double>(loss.count));
    }
    return out;
  }

  Tensor generate(const HfInputs& in, const GenerateOptions& options) override {
    const Tensor ids = in.need("input_ids");
    const Prompt prompt{embed(in, nullptr), ids, in.get("attention_mask")};
    return padded(ids, ocellus::generate(decoder_, prompt, options), options);
  }

  Decoder* decoder() override { return &decoder_; }

  HfSample sample() const override {
    const VisionConfig& c = vision_.config();
    const int64_t side = c.image_size / c.patch_size;
    const bool class_row = c.model_type == "clip_vision_model" && !skip_first_;
    const bool lost_row = c.model_type != "clip_vision_model" && skip_first_;
    return {.vocabulary = decoder_.config().vocab_size,
            .image_size = c.image_size,
            .channels = c.num_channels,
            .image_tokens = side * side + class_row - lost_row,
            .image_token_id = image_token_};
  }

 private:
  static bool bias(const json& config, const std::string& who) {
    return ConfigReader(config, who).flag("multimodal_projector_bias", true);
  }

  // vision_feature_layer, a number or a list: which of the states 0 … layers are read.
  std::vector<size_t> feature_layers(const json& config, const std::string& who) const {
    const json given = config.value("vision_feature_layer", json(-2));
    const int64_t states = vision_.config().num_hidden_layers + 1;
    std::vector<size_t> layers;
    for (const json& layer : given.is_array() ? given : json::array({given})) {
      check<FormatError>(layer.is_number_integer() && layer.get<int64_t>() >= -states &&
                             layer.get<int64_t>() < states,
                         "{}: vision_feature_layer must be from {} to {}, got {}", who, -states,
                         states - 1, layer.dump());
      const auto n = layer.get<int64_t>();
      layers.push_back(static_cast<size_t>(n < 0 ? n + states : n));
    }
    check<FormatError>(!layers.empty(), "{}: vision_feature_layer must name a layer", who);
    return layers;
  }

  // Pictures [N, 3, H, W] as rows [N·tokens, C] of the language model.
  Variable image_rows(const Tensor& pixels) {
    const Variables states = vision_.states(constant(pixels), {});
    Variables chosen;
    for (size_t layer : layers_)
      chosen.push_back(skip_first_ ? slice(states[layer], 1, 1, states[layer].dim(1))
                                   : states[layer]);
    const Variable rows = linear_2_(activation(act_, linear_1_(concat(chosen, -1))));
    return reshape(rows, {-1, decoder_.config().hidden_size});
  }

  // Embedded tokens, the rows of pictures in the place of their ids.
  Variable embed(const HfInputs& in, HfOutputs* out) {
    const Tensor ids = in.need("input_ids"), pixels = in.get("pixel_values");
    const Variable text = decoder_.embed(ids);
    if (!pixels.defined()) return text;
    const Variable images = image_rows(pixels);
    if (out) (*out)["image_hidden_states"] = images;
    std::vector<int64_t> places;
    const auto values = ids.to_vector<int64_t>();
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i] == image_token_) places.push_back(static_cast<int64_t>(i));
    const auto count = static_cast<int64_t>(places.size());
    check<ShapeError>(
        count == images.dim(0),
        "llava: the pictures give {} tokens, input_ids has {} places for them (id {})",
        images.dim(0), count, image_token_);
    const int64_t dim = text.dim(2);
    return reshape(scatter_rows(reshape(text, {-1, dim}), Tensor::from(places, {count}), images),
                   text.shape());
  }

  VisionEncoder& vision_;
  std::vector<size_t> layers_;
  Linear &linear_1_, &linear_2_;
  Decoder& decoder_;
  std::string act_;
  bool skip_first_ = true;
  int64_t image_token_ = 32000;
};

}  // namespace

void add_llava_models(HfFactories& table) {
  table["LlavaForConditionalGeneration"] = hf_factory<HfLlava>();
}

}  // namespace ocellus
