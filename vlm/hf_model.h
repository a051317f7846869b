// Models under the names and call conventions of Hugging Face `transformers`: built from
// config.json, called with named tensors, answering with named tensors. `ocellus parity` runs
// these.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "nn/checkpoint_file.h"
#include "vlm/generate.h"

namespace ocellus {

/// Inputs of one forward call: "input_ids", "attention_mask", "pixel_values", "labels", …, and
/// flags.
struct HfInputs {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, bool> flags;           // interpolate_pos_encoding, return_loss
  Tensor get(const std::string& name) const;   // undefined if absent
  Tensor need(const std::string& name) const;  // FormatError if absent
  bool flag(const std::string& name) const;
};

using HfOutputs = std::map<std::string, Variable>;

/// HfSample — what a call of a model needs at least, to try it.
struct HfSample {
  int64_t vocabulary = 0;                        // input_ids, if not 0
  bool decodes = false;                          // decoder_input_ids as well
  int64_t image_size = 0, channels = 3;          // pixel_values, if not 0
  int64_t image_tokens = 0, image_token_id = 0;  // ids that stand for one picture
};

class HfModel : public Module {
 public:
  /// Outputs by their transformers name, nested ones with dots; "loss" if labels or return_loss
  /// ask.
  virtual HfOutputs forward(const HfInputs& inputs) = 0;
  virtual HfSample sample() const = 0;
  /// Called with the names in the checkpoint before it is read: where the file decides the form.
  virtual void before_load(const std::set<std::string>&) {}
  /// Greedy or sampled continuation of input_ids, prompt included, rows padded; throws if the class
  /// cannot generate.
  virtual Tensor generate(const HfInputs& inputs, const GenerateOptions& options);
  /// The decoder of a language model, or nullptr.
  virtual Decoder* decoder() { return nullptr; }

  /// Every parameter under its name in the files that the model was loaded from.
  std::vector<std::pair<std::string, Parameter*>> file_parameters();
  void set_file_names(NameMap names) { file_names_ = std::move(names); }

 private:
  NameMap file_names_;
};

/// HfFactories — how a model of each architecture is made from its config.json.
using HfFactory =
    std::function<std::unique_ptr<HfModel>(const nlohmann::json& config, const std::string& who)>;
using HfFactories = std::map<std::string, HfFactory>;
template <class M>
HfFactory hf_factory() {
  return [](const nlohmann::json& config, const std::string& who) {
    return std::make_unique<M>(config, who);
  };
}
void add_text_models(HfFactories& table);    // hf_text.cpp
void add_vision_models(HfFactories& table);  // hf_vision.cpp
void add_llava_models(HfFactories& table);   // hf_llava.cpp

/// make_hf_model — an uninitialised model of `architecture`. FormatError for one that is not in the
/// tables, naming those that are.
std::unique_ptr<HfModel> make_hf_model(const std::string& architecture,
                                       const nlohmann::json& config, const std::string& who);

/// load_hf_model — the model of a folder: config.json's architecture with its weights, in `dtype`.
std::unique_ptr<HfModel> load_hf_model(const std::string& folder, const std::string& architecture,
                                       DType dtype);

}  // namespace ocellus
