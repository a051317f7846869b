// Language models under their public names.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "vlm/hf_model.h"
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
    if (const Tensor mask = in.get("attention_mask"); mask.defined())
      pass.segments = key_segments(mask);
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
    const auto rows =
        ocellus::generate(decoder_, {decoder_.embed(ids), ids, in.get("attention_mask")}, options);
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

}  // namespace

void add_text_models(HfFactories& table) { table["LlamaForCausalLM"] = hf_factory<HfLlama>(); }

}  // namespace ocellus
