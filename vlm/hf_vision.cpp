// Vision models, and the text towers that come with them, under their public names.
#include <nlohmann/json.hpp>

#include "vlm/convnet.h"
#include "vlm/hf_model.h"
#include "vlm/vit.h"

namespace ocellus {
namespace {

using nlohmann::json;

void add_encoder(HfOutputs& out, const std::string& prefix, const EncoderOutput& encoded) {
  out[prefix + "last_hidden_state"] = encoded.tokens;
  if (encoded.pooled.defined()) out[prefix + "pooler_output"] = encoded.pooled;
}

EncoderOutput encode_image(VisionEncoder& encoder, const HfInputs& in) {
  return encoder(
      constant(in.need("pixel_values")),
      {.interpolate = in.flag("interpolate_pos_encoding"), .masked = in.get("bool_masked_pos")});
}
HfSample image_sample(const VisionEncoder& encoder) {
  return {.image_size = encoder.config().image_size, .channels = encoder.config().num_channels};
}
EncoderOutput encode_text(TextEncoder& encoder, const HfInputs& in) {
  return encoder(in.need("input_ids"), in.get("attention_mask"), in.get("position_ids"));
}

/// An image encoder alone: ViT, DINOv2, CLIP's and SigLIP's.
class HfVision : public HfModel {
 public:
  HfVision(const json& config, const std::string& who)
      : encoder_(child_<VisionEncoder>("", read_vision_config(config, who))) {}
  HfOutputs forward(const HfInputs& in) override {
    HfOutputs out;
    add_encoder(out, "", encode_image(encoder_, in));
    return out;
  }
  HfSample sample() const override { return image_sample(encoder_); }

 private:
  VisionEncoder& encoder_;
};

/// A convolutional encoder alone: ResNet, ConvNeXt V2.
template <class Net>
class HfConvnet : public HfModel {
 public:
  HfConvnet(const json& config, const std::string& who)
      : config_(read_convnet_config(config, who)), net_(child_<Net>("", config_)) {}
  HfOutputs forward(const HfInputs& in) override {
    const ConvnetOutput out = net_(constant(in.need("pixel_values")));
    return {{"last_hidden_state", out.features}, {"pooler_output", out.pooled}};
  }
  HfSample sample() const override { return {.image_size = 64, .channels = config_.num_channels}; }

 private:
  ConvnetConfig config_;
  Net& net_;
};

/// A text tower alone: CLIP's or SigLIP's.
class HfTextTower : public HfModel {
 public:
  HfTextTower(const json& config, const std::string& who)
      : encoder_(child_<TextEncoder>("", read_text_encoder_config(config, who))) {}
  HfOutputs forward(const HfInputs& in) override {
    HfOutputs out;
    add_encoder(out, "", encode_text(encoder_, in));
    return out;
  }
  HfSample sample() const override { return {.vocabulary = encoder_.config().vocab_size}; }

 private:
  TextEncoder& encoder_;
};

/// CLIP's image encoder with the projection into the common space.
class HfClipVisionProjected : public HfModel {
 public:
  HfClipVisionProjected(const json& config, const std::string& who)
      : encoder_(child_<VisionEncoder>("vision_model", read_vision_config(config, who))),
        projection_(child_<Linear>("visual_projection", encoder_.config().hidden_size,
                                   encoder_.config().projection_dim, false)) {}
  HfOutputs forward(const HfInputs& in) override {
    const EncoderOutput encoded = encode_image(encoder_, in);
    return {{"last_hidden_state", encoded.tokens}, {"image_embeds", projection_(encoded.pooled)}};
  }
  HfSample sample() const override { return image_sample(encoder_); }

 private:
  VisionEncoder& encoder_;
  Linear& projection_;
};

/// CLIP's text encoder with the projection into the common space.
class HfClipTextProjected : public HfModel {
 public:
  HfClipTextProjected(const json& config, const std::string& who)
      : HfClipTextProjected(read_text_encoder_config(config, who)) {}
  HfOutputs forward(const HfInputs& in) override {
    const EncoderOutput encoded = encode_text(encoder_, in);
    return {{"last_hidden_state", encoded.tokens}, {"text_embeds", projection_(encoded.pooled)}};
  }
  HfSample sample() const override { return {.vocabulary = encoder_.config().vocab_size}; }

 private:
  explicit HfClipTextProjected(const TextEncoderConfig& config)
      : encoder_(child_<TextEncoder>("text_model", config)),
        projection_(
            child_<Linear>("text_projection", config.hidden_size, config.projection_size, false)) {}
  TextEncoder& encoder_;
  Linear& projection_;
};

/// x / ‖x‖ over the last dimension.
Variable normalized(const Variable& x) { return mul(x, rsqrt(sum(square(x), {-1}, true))); }

// The part of a two-tower config; older files give changes to it under KEY_dict.
json tower_config(const json& config, const std::string& key, const std::string& model_type) {
  json part = config.value(key, json::object());
  if (part.is_null()) part = json::object();
  if (const auto changes = config.find(key + "_dict");
      changes != config.end() && changes->is_object() && part.is_object())
    part.update(*changes);
  if (part.is_object()) part["model_type"] = model_type;
  return part;
}

/// Two towers and the logits of all pairs; what CLIP and SigLIP have in common.
class HfTwoTowers : public HfModel {
 public:
  HfSample sample() const override {
    HfSample sample = image_sample(vision_);
    sample.vocabulary = text_.config().vocab_size;
    return sample;
  }

 protected:
  HfTwoTowers(const json& config, const std::string& who, const std::string& family)
      : text_(child_<TextEncoder>(
            "text_model",
            read_text_encoder_config(tower_config(config, "text_config", family + "_text_model"),
                                     who + ": text_config"))),
        vision_(child_<VisionEncoder>(
            "vision_model",
            read_vision_config(tower_config(config, "vision_config", family + "_vision_model"),
                               who + ": vision_config"))) {}

  // Outputs of both towers; embeddings of unit length as "image_embeds" and "text_embeds".
  HfOutputs embed(EncoderOutput image, EncoderOutput text) {
    HfOutputs out;
    add_encoder(out, "vision_model_output.", image);
    add_encoder(out, "text_model_output.", text);
    out["image_embeds"] = normalized(image.pooled);
    out["text_embeds"] = normalized(text.pooled);
    return out;
  }
  // s·⟨text_i, image_j⟩ + b and its transpose.
  void add_logits(HfOutputs& out, const Variable& log_scale, const Variable& bias) {
    Variable logits =
        mul(matmul(out["text_embeds"], out["image_embeds"], false, true), exp(log_scale));
    if (bias.defined()) logits = add(logits, bias);
    out["logits_per_text"] = logits;
    out["logits_per_image"] = transpose(logits, 0, 1);
  }
  // Adds the loss where the call asks for it; it is over pairs, so as many texts as pictures.
  static bool wants_loss(const HfInputs& in, const HfOutputs& out) {
    if (!in.flag("return_loss")) return false;
    const int64_t texts = out.at("text_embeds").dim(0), images = out.at("image_embeds").dim(0);
    check<ShapeError>(texts == images,
                      "loss: texts and pictures are pairs, got {} texts and {} pictures", texts,
                      images);
    return true;
  }

  TextEncoder& text_;
  VisionEncoder& vision_;
};

class HfSiglip : public HfTwoTowers {
 public:
  HfSiglip(const json& config, const std::string& who)
      : HfTwoTowers(config, who, "siglip"),
        scale_(parameter_("logit_scale", {1}, Init::constant(2.302585092994046))),  // ln 10
        bias_(parameter_("logit_bias", {1}, Init::constant(-10))) {}

  HfOutputs forward(const HfInputs& in) override {
    HfOutputs out = embed(encode_image(vision_, in), encode_text(text_, in));
    add_logits(out, scale_.var(), bias_.var());
    if (wants_loss(in, out))
      out["loss"] = mul(
          sigmoid_contrastive(out["image_embeds"], out["text_embeds"], scale_.var(), bias_.var()),
          1.0 / static_cast<double>(out["text_embeds"].dim(0)));
    return out;
  }

 private:
  Parameter &scale_, &bias_;
};

class HfClip : public HfTwoTowers {
 public:
  HfClip(const json& config, const std::string& who)
      : HfTwoTowers(config, who, "clip"),
        dim_(config.value("projection_dim", int64_t{512})),
        visual_projection_(
            child_<Linear>("visual_projection", vision_.config().hidden_size, dim_, false)),
        text_projection_(
            child_<Linear>("text_projection", text_.config().hidden_size, dim_, false)),
        scale_(parameter_("logit_scale", {},
                          Init::constant(config.value("logit_scale_init_value", 2.6592)))) {}

  HfOutputs forward(const HfInputs& in) override {
    EncoderOutput image = encode_image(vision_, in), text = encode_text(text_, in);
    image.pooled = visual_projection_(image.pooled);
    text.pooled = text_projection_(text.pooled);
    HfOutputs out = embed(image, text);
    add_logits(out, scale_.var(), {});
    if (wants_loss(in, out))
      out["loss"] = mul(softmax_contrastive(out["image_embeds"], out["text_embeds"], scale_.var()),
                        1.0 / static_cast<double>(out["text_embeds"].dim(0)));
    return out;
  }

 private:
  int64_t dim_;
  Linear &visual_projection_, &text_projection_;
  Parameter& scale_;
};

}  // namespace

void add_vision_models(HfFactories& table) {
  for (const char* name : {"ViTModel", "Dinov2Model", "Dinov2WithRegistersModel", "CLIPVisionModel",
                           "SiglipVisionModel"})
    table[name] = hf_factory<HfVision>();
  table["ResNetModel"] = hf_factory<HfConvnet<ResNet>>();
  table["ConvNextV2Model"] = hf_factory<HfConvnet<ConvNextV2>>();
  table["CLIPTextModel"] = table["SiglipTextModel"] = hf_factory<HfTextTower>();
  table["CLIPVisionModelWithProjection"] = hf_factory<HfClipVisionProjected>();
  table["CLIPTextModelWithProjection"] = hf_factory<HfClipTextProjected>();
  table["CLIPModel"] = hf_factory<HfClip>();
  table["SiglipModel"] = hf_factory<HfSiglip>();
}

}  // namespace ocellus
