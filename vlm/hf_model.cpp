#include "vlm/hf_model.h"

#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "nn/parameter_budget.h"
#include "vlm/key_layouts.h"

namespace ocellus {
namespace {

using nlohmann::json;

const HfFactories& factories() {
  static const HfFactories table = [] {
    HfFactories t;
    add_text_models(t);
    add_vision_models(t);
    add_llava_models(t);
    return t;
  }();
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

std::vector<std::pair<std::string, Parameter*>> HfModel::file_parameters() {
  auto list = parameters();
  if (file_names_)
    for (auto& [name, parameter] : list) name = file_names_(name);
  return list;
}

namespace {
const HfFactory& factory_of(const std::string& architecture, const std::string& who) {
  auto found = factories().find(architecture);
  if (found != factories().end()) return found->second;
  std::string known;
  for (const auto& [name, factory] : factories()) known += (known.empty() ? "" : ", ") + name;
  fail<FormatError>("{}: architecture {} is not one of {}", who, architecture, known);
}
}  // namespace

std::unique_ptr<HfModel> make_hf_model(const std::string& architecture, const json& config,
                                       const std::string& who) {
  const HfFactory& make = factory_of(architecture, who);
  try {
    return make(config, who);
  } catch (const json::exception& error) {
    fail<FormatError>("{}: {}", who, error.what());
  }
}

std::unique_ptr<HfModel> load_hf_model(const std::string& folder, const std::string& architecture,
                                       DType dtype) {
  const std::string path = folder + "/config.json";
  const json config = load_json(path);
  ParameterDType scope(dtype);
  factory_of(architecture, path);  // complains before the weights are looked for
  const CheckpointReader checkpoint(folder);
  auto model = [&] {
    const ParameterBudget budget(checkpoint, path);
    return make_hf_model(architecture, config, path);
  }();
  const std::vector<std::string> names = checkpoint.names();
  model->before_load({names.begin(), names.end()});
  std::set<std::string> parameters;
  for (const auto& [name, parameter] : model->parameters()) parameters.insert(name);
  model->for_each_buffer([&](const std::string& name, Tensor&) { parameters.insert(name); });
  const KeyLayout layout = key_layout(architecture, parameters, names);
  load_parameters(*model, checkpoint, layout.file_name, layout.ignored);
  model->set_file_names(layout.file_name);
  return model;
}

}  // namespace ocellus
