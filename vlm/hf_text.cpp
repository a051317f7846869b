// Language models under their public names.
#include <nlohmann/json.hpp>

#include "autograd/tape.h"
#include "vlm/bert.h"
#include "vlm/decoder_families.h"
#include "vlm/encoder_decoder.h"
#include "vlm/hf_model.h"
#include "vlm/vit.h"

namespace ocellus {
namespace {

using nlohmann::json;

Tensor segments_of(const HfInputs& in, const char* mask = "attention_mask") {
  const Tensor real = in.get(mask);
  return real.defined() ? key_segments(real) : Tensor();
}

// loss_sum, and loss = loss_sum / count.
void add_loss(HfOutputs& out, const LossSum& loss) {
  check<UsageError>(loss.count > 0, "loss: no label is a target (all are -100)");
  out["loss_sum"] = loss.sum;
  out["loss"] = mul(loss.sum, 1.0 / static_cast<double>(loss.count));
}

// Cross-entropy with the label at the same place.
LossSum label_loss(const Variable& logits, const Tensor& labels) {
  const int64_t rows = labels.numel();
  return cross_entropy(reshape(logits, {rows, logits.dim(-1)}), labels.view_as({rows}));
}

class HfCausalLm : public HfModel {
 public:
  HfCausalLm(const json& config, const std::string& who)
      : decoder_(child_<Decoder>("", read_decoder_config(config, who))) {}

  HfOutputs forward(const HfInputs& in) override {
    DecoderPass pass;
    pass.positions = in.get("position_ids");
    pass.segments = segments_of(in);
    const Variable hidden = decoder_.hidden(decoder_.embed(in.need("input_ids")), pass);
    HfOutputs out{{"logits", decoder_.logits(hidden)}};
    if (const Tensor labels = in.get("labels"); labels.defined())
      add_loss(out, decoder_.loss(hidden, labels));
    return out;
  }

  Tensor generate(const HfInputs& in, const GenerateOptions& options) override {
    const Tensor ids = in.need("input_ids");
    const Prompt prompt{decoder_.embed(ids), ids, in.get("attention_mask")};
    return padded(ids, ocellus::generate(decoder_, prompt, options), options);
  }

  Decoder* decoder() override { return &decoder_; }
  HfSample sample() const override { return {.vocabulary = decoder_.config().vocab_size}; }

 private:
  Decoder& decoder_;
};

class HfT5 : public HfModel {
 public:
  HfT5(const json& config, const std::string& who)
      : model_(child_<EncoderDecoder>("", read_t5_config(config, who))) {}

  HfOutputs forward(const HfInputs& in) override {
    const Tensor labels = in.get("labels");
    Tensor ids = in.get("decoder_input_ids");
    if (!ids.defined()) {
      check<FormatError>(labels.defined(),
                         "model: the inputs decoder_input_ids and labels are missing");
      ids = model_.shifted_right(labels);
    }
    T5Pass pass;
    pass.encoded_segments = segments_of(in);
    pass.segments = segments_of(in, "decoder_attention_mask");
    pass.encoded = encode(in, pass.encoded_segments);
    const Variable decoded = model_.decode(ids, pass);
    HfOutputs out{{"encoder_last_hidden_state", pass.encoded}, {"logits", model_.logits(decoded)}};
    if (labels.defined()) add_loss(out, label_loss(out["logits"], labels));
    return out;
  }

  Tensor generate(const HfInputs& in, const GenerateOptions& options) override {
    StopRecording stop;
    const Tensor segments = segments_of(in);
    const Variable encoded = encode(in, segments);
    const int64_t rows = encoded.dim(0), start = model_.config().decoder_start_token_id;
    const auto model = token_model(model_, encoded, segments, options.max_new_tokens);
    const auto tokens =
        ocellus::generate(*model, std::vector<Tokens>(static_cast<size_t>(rows), {start}), options);
    return padded(Tensor::from(Tokens(static_cast<size_t>(rows), start), {rows, 1}), tokens,
                  options);
  }

  // transformers 5 ties the head of T5 1.1 and mT5, too, unless the file has one.
  void before_load(const std::set<std::string>& names) override {
    if (!names.contains("lm_head.weight")) model_.tie_head();
  }

  HfSample sample() const override {
    return {.vocabulary = model_.config().vocab_size, .decodes = true};
  }

 private:
  Variable encode(const HfInputs& in, const Tensor& segments) {
    return model_.encode(model_.embed(in.need("input_ids")), segments);
  }
  EncoderDecoder& model_;
};

class HfBert : public HfModel {
 public:
  HfBert(const json& config, const std::string& who)
      : bert_(child_<Bert>("", read_bert_config(config, who), true)) {}
  HfOutputs forward(const HfInputs& in) override {
    const Variable states = bert_(in.need("input_ids"), in.get("token_type_ids"), segments_of(in),
                                  in.get("position_ids"));
    return {{"last_hidden_state", states}, {"pooler_output", bert_.pooled(states)}};
  }
  HfSample sample() const override { return {.vocabulary = bert_.vocabulary()}; }

 private:
  Bert& bert_;
};

class HfBertForMaskedLm : public HfModel {
 public:
  HfBertForMaskedLm(const json& config, const std::string& who)
      : model_(child_<BertForMaskedLm>("", read_bert_config(config, who))) {}
  HfOutputs forward(const HfInputs& in) override {
    const Variable states = model_.body()(in.need("input_ids"), in.get("token_type_ids"),
                                          segments_of(in), in.get("position_ids"));
    HfOutputs out{{"logits", model_.logits(states)}};
    if (const Tensor labels = in.get("labels"); labels.defined())
      add_loss(out, label_loss(out["logits"], labels));
    return out;
  }
  HfSample sample() const override { return {.vocabulary = model_.body().vocabulary()}; }

 private:
  BertForMaskedLm& model_;
};

}  // namespace

void add_text_models(HfFactories& table) {
  for (const DecoderFamily& family : DecoderFamilies())
    table[family.architecture] = [&family](const json& config, const std::string& who) {
      json typed = config;
      typed.emplace("model_type", family.model_type);
      return std::make_unique<HfCausalLm>(typed, who);
    };
  table["T5ForConditionalGeneration"] = hf_factory<HfT5>();
  table["MT5ForConditionalGeneration"] = hf_factory<HfT5>();
  table["BertModel"] = hf_factory<HfBert>();
  table["BertForMaskedLM"] = hf_factory<HfBertForMaskedLm>();
}

}  // namespace ocellus
