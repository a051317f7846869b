#include "vlm/hf_model.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "nn/checkpoint_file.h"
#include "vlm/language_loss.h"
#include "vlm/vit.h"

namespace ocellus {
namespace {

using nlohmann::json;

class HfLlama : public HfModel {
 public:
  HfLlama(const json& config, const std::string& who)
      : decoder_(child_<Decoder>("", read_decoder_config(config, who))) {}

  HfOutputs forward(const HfInputs& in) override {
    const Tensor ids = in.need("input_ids");
    DecoderPass pass;
    pass.positions = in.get("position_ids");
    if (const Tensor mask = in.get("attention_mask"); mask.defined()) pass.segments = key_segments(mask);
    const Variable hidden = decoder_.hidden(decoder_.embed(ids), pass);
    HfOutputs out{{"logits", decoder_.logits(hidden)}};
    if (const Tensor labels = in.get("labels"); labels.defined()) {
      const LossSum loss = next_token_loss(hidden, decoder_.head_weight(), labels);
      check<UsageError>(loss.count > 0, "loss: no label is a target (all are -100)");
      out["loss_sum"] = loss.sum;
      out["loss"] = mul(loss.sum, 1.0 / static_cast<double>(loss.count));
    }
    return out;
  }

  Tensor generate(const HfInputs& in, const GenerateOptions& options) override {
    const Tensor ids = in.need("input_ids");
    const auto rows = ocellus::generate(
        decoder_, {decoder_.embed(ids), ids, in.get("attention_mask")}, options);
    size_t longest = 0;
    for (const auto& row : rows) longest = std::max(longest, row.size());
    const int64_t prompt = ids.dim(1), width = prompt + static_cast<int64_t>(longest);
    const auto from = ids.to_vector<int64_t>();
    std::vector<int64_t> all;
    for (int64_t b = 0; b < ids.dim(0); ++b) {
      all.insert(all.end(), from.begin() + b * prompt, from.begin() + (b + 1) * prompt);
      all.insert(all.end(), rows[b].begin(), rows[b].end());
      all.resize(static_cast<size_t>((b + 1) * width), options.pad_token);
    }
    return Tensor::from(all, {ids.dim(0), width});
  }

  Decoder* decoder() override { return &decoder_; }

 private:
  Decoder& decoder_;
};

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
    add_encoder(out, "", encoder_(constant(in.need("pixel_values")), in.flag("interpolate_pos_encoding")));
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
Variable normalized(const Variable& x) {
  return mul(x, rsqrt(sum(square(x), {-1}, true)));
}

class HfSiglip : public HfModel {
 public:
  HfSiglip(const json& config, const std::string& who)
      : text_(child_<TextEncoder>("text_model",
                                  read_text_encoder_config(config.at("text_config"), who + ": text_config"))),
        vision_(child_<VisionEncoder>(
            "vision_model", read_vision_config(config.at("vision_config"), who + ": vision_config"))),
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
    const Variable per_text =
        add(mul(matmul(t, i, false, true), exp(scale_.var())), bias_.var());
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

using Factory = std::function<std::unique_ptr<HfModel>(const json&, const std::string&)>;
template <class M> Factory factory_of() {
  return [](const json& config, const std::string& who) { return std::make_unique<M>(config, who); };
}

const std::map<std::string, Factory>& factories() {
  static const std::map<std::string, Factory> table = {
      {"LlamaForCausalLM", factory_of<HfLlama>()},
      {"ViTModel", factory_of<HfVision>()},
      {"SiglipVisionModel", factory_of<HfVision>()},
      {"SiglipTextModel", factory_of<HfSiglipText>()},
      {"SiglipModel", factory_of<HfSiglip>()},
  };
  return table;
}

}  // namespace

Tensor HfInputs::get(const std::string& name) const {
  auto found = tensors.find(name);
  return found == tensors.end() ? Tensor() : found->second;
}
Tensor HfInputs::need(const std::string& name) const {
  auto found = tensors.find(name);
  check<FormatError>(found != tensors.end(), "model: the input {} is missing", name);
  return found->second;
}
bool HfInputs::flag(const std::string& name) const {
  auto found = flags.find(name);
  return found != flags.end() && found->second;
}

Tensor HfModel::generate(const HfInputs&, const GenerateOptions&) {
  fail<UsageError>("generate: this model has no language head");
}

std::unique_ptr<HfModel> make_hf_model(const std::string& architecture, const json& config,
                                       const std::string& who) {
  auto found = factories().find(architecture);
  if (found == factories().end()) {
    std::string known;
    for (const auto& [name, factory] : factories()) known += (known.empty() ? "" : ", ") + name;
    fail<FormatError>("{}: architecture {} is not one of {}", who, architecture, known);
  }
  try {
    return found->second(config, who);
  } catch (const json::exception& error) {
    fail<FormatError>("{}: {}", who, error.what());
  }
}

std::unique_ptr<HfModel> load_hf_model(const std::string& folder, const std::string& architecture,
                                       DType dtype) {
  const std::string path = folder + "/config.json";
  const json config = load_json(path);
  ParameterDType scope(dtype);
  auto model = make_hf_model(architecture, config, path);
  load_parameters(*model, CheckpointReader(folder));
  return model;
}

}  // namespace ocellus
