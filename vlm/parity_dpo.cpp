// Goldens of kind "dpo": a preference loss on a policy and a reference model in ref/.
#include "vlm/golden.h"
#include "vlm/preference.h"

namespace ocellus {
namespace {

using nlohmann::json;

struct Side {
  Variable policy;
  Tensor reference;
};

Side logps_of(const HfInputs& all, const std::string& side, HfModel& policy, HfModel& reference,
              bool mean) {
  HfInputs in;
  for (const auto& [name, tensor] : all.tensors)
    if (name.starts_with(side + "_")) in.tensors[name.substr(side.size() + 1)] = tensor;
  const Tensor labels = in.need("labels");
  in.tensors.erase("labels");
  Side out;
  out.policy = sequence_logps(policy.forward(in).at("logits"), labels, mean);
  StopRecording stop;
  out.reference = sequence_logps(reference.forward(in).at("logits"), labels, mean).value();
  return out;
}

std::vector<ParityRow> dpo_parity(const std::string& folder, DType dtype) {
  const Golden golden(folder, dtype);
  const json& meta = golden.meta.at("dpo");
  PreferenceConfig config;
  config.loss_type = meta.at("loss_type").get<std::string>();
  config.beta = meta.at("beta").get<double>();
  config.label_smoothing = meta.value("label_smoothing", 0.0);
  const std::string logps = meta.value("logps", "sum");
  check<FormatError>(logps == "sum" || logps == "mean",
                     "{}/golden.json: logps must be sum or mean, got \"{}\"", folder, logps);
  const std::string architecture = golden.meta.at("class").get<std::string>();
  auto policy = load_hf_model(folder, architecture, dtype);
  auto reference =
      load_hf_model(folder + "/" + golden.meta.value("reference", "ref"), architecture, dtype);
  ParameterDType scope(dtype);
  Tape tape;
  const HfInputs in = golden.inputs("in.");
  const Side chosen = logps_of(in, "chosen", *policy, *reference, logps == "mean");
  const Side rejected = logps_of(in, "rejected", *policy, *reference, logps == "mean");
  const PreferenceLoss loss =
      preference_loss(chosen.policy, rejected.policy, chosen.reference, rejected.reference, config);
  const HfOutputs outputs = {{"loss", loss.loss},
                             {"policy_chosen_logps", chosen.policy},
                             {"policy_rejected_logps", rejected.policy},
                             {"ref_chosen_logps", constant(chosen.reference)},
                             {"ref_rejected_logps", constant(rejected.reference)},
                             {"chosen_rewards", constant(loss.chosen_rewards)},
                             {"rejected_rewards", constant(loss.rejected_rewards)}};
  std::vector<ParityRow> rows;
  compare_outputs(golden, outputs, rows);
  tape.backward(loss.loss);
  compare_gradients(golden, policy->parameters(), rows);
  return rows;
}

const RegisterParity kDpo("dpo", dpo_parity);

}  // namespace
}  // namespace ocellus
