// Vision models, and the text towers that come with them, under their public names.
#include <nlohmann/json.hpp>

#include "vlm/hf_model.h"
#include "vlm/vit.h"

namespace ocellus {
namespace {

using nlohmann::json;

void add_encoder(HfOutputs& out, const std::string& prefix, const EncoderOutput& encoded) {
  out[prefix + "last_hidden_state"] = encoded.tokens;
  if (encoded.pooled.defined()) out[prefix + "pooler_output"] = encoded.pooled;
}

class HfVision : public HfModel {
 public:
  HfVision(const json& config, const std::string& who)
      : encoder_(child_<VisionEncoder>("", read_vision_config(config, who))) {}
  HfOutputs forward(const HfInputs& in) override {
    HfOutputs out;
    add_encoder(out, "",
                encoder_(constant(in.need("pixel_values")), in.flag("interpolate_pos_encoding")));
    return out;
  }

 private:
  VisionEncoder& encoder_;
};

class HfSiglipText : public HfModel {
 public:
  HfSiglipText(const json& config, const std::string& who)
      : encoder_(child_<TextEncoder>("", read_text_encoder_config(config, who))) {}
  HfOutputs forward(const HfInputs& in) override {
    HfOutputs out;
    add_encoder(out, "", encoder_(in.need("input_ids"), in.get("attention_mask")));
    return out;
  }

 private:
  TextEncoder& encoder_;
};

/// x / ‖x‖ over the last dimension.
Variable normalized(const Variable& x) { return mul(x, rsqrt(sum(square(x), {-1}, true))); }

class HfSiglip : public HfModel {
 public:
  HfSiglip(const json& config, const std::string& who)
      : text_(child_<TextEncoder>("text_model", read_text_encoder_config(config.at("text_config"),
                                                                         who + ": text_config"))),
        vision_(child_<VisionEncoder>("vision_model", read_vision_config(config.at("vision_config"),
                                                                         who + ": vision_config"))),
        scale_(parameter_("logit_scale", {1}, Init::constant(2.302585092994046))),  // ln 10
        bias_(parameter_("logit_bias", {1}, Init::constant(-10))) {}

  HfOutputs forward(const HfInputs& in) override {
    HfOutputs out;
    const EncoderOutput image =
        vision_(constant(in.need("pixel_values")), in.flag("interpolate_pos_encoding"));
    const EncoderOutput text = text_(in.need("input_ids"), in.get("attention_mask"));
    add_encoder(out, "vision_model_output.", image);
    add_encoder(out, "text_model_output.", text);
    const Variable i = normalized(image.pooled), t = normalized(text.pooled);
    out["image_embeds"] = i;
    out["text_embeds"] = t;
    const Variable per_text = add(mul(matmul(t, i, false, true), exp(scale_.var())), bias_.var());
    out["logits_per_text"] = per_text;
    out["logits_per_image"] = transpose(per_text, 0, 1);
    if (in.flag("return_loss"))
      out["loss"] = mul(sigmoid_contrastive(i, t, scale_.var(), bias_.var()),
                        1.0 / static_cast<double>(t.dim(0)));
    return out;
  }

 private:
  TextEncoder& text_;
  VisionEncoder& vision_;
  Parameter &scale_, &bias_;
};

}  // namespace

void add_vision_models(HfFactories& table) {
  table["ViTModel"] = hf_factory<HfVision>();
  table["SiglipVisionModel"] = hf_factory<HfVision>();
  table["SiglipTextModel"] = hf_factory<HfSiglipText>();
  table["SiglipModel"] = hf_factory<HfSiglip>();
}

}  // namespace ocellus
