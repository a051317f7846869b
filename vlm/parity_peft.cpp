// Goldens of kind "peft": a base model with an adapter folder of PEFT.
#include "nn/lora.h"
#include "vlm/golden.h"
#include "vlm/module_names.h"

namespace ocellus {
namespace {

std::vector<ParityRow> peft_parity(const std::string& folder, DType dtype) {
  const Golden golden(folder, dtype);
  const std::string architecture = golden.meta.at("class").get<std::string>();
  auto model = load_hf_model(folder, architecture, dtype);
  ParameterDType scope(dtype);
  Adapters adapters = load_lora(*model, folder + "/" + golden.meta.value("adapter", "adapter"),
                                {module_names(architecture), NameMap()});
  std::vector<ParityRow> rows;
  const HfInputs in = golden.inputs("in.");
  HfOutputs outputs;
  {
    Tape tape;
    outputs = model->forward(in);
    const Variable loss = loss_of(golden, outputs);
    if (!golden.under("grad.").empty()) {
      check<FormatError>(loss.defined(), "{}: gradients are stored, but there is no loss", folder);
      tape.backward(loss);
      compare_gradients(golden, adapters.parameters(), rows);
    }
  }
  adapters.merge();
  outputs["merged_logits"] = model->forward(in).at("logits");
  compare_outputs(golden, outputs, rows);
  std::map<std::string, Parameter*> base;
  for (auto& [name, parameter] : model->parameters()) base[name] = parameter;
  for (const std::string& name : golden.under("merged."))
    rows.push_back(base.contains(name)
                       ? compare(golden, "merged." + name, base[name]->value())
                       : complaint("merged." + name, "the model has no such parameter"));
  return rows;
}

const RegisterParity kPeft("peft", peft_parity);

}  // namespace
}  // namespace ocellus
