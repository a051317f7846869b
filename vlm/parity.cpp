// Goldens of kind "model" (outputs, gradients, greedy continuation) and "train" (a few optimizer
// steps).
#include "engine/json.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "vlm/golden.h"
#include "vlm/language_loss.h"

namespace ocellus {
namespace {

using nlohmann::json;

std::vector<ParityRow> model_parity(const std::string& folder, DType dtype) {
  const Golden golden(folder, dtype);
  std::vector<ParityRow> rows;
  const std::string architecture = golden.meta.at("class").get<std::string>();
  auto model = load_hf_model(golden.folder, architecture, golden.dtype);
  ParameterDType scope(golden.dtype);
  {
    Tape tape;
    HfOutputs outputs = model->forward(golden.inputs("in."));
    const Variable loss = loss_of(golden, outputs);
    compare_outputs(golden, outputs, rows);
    if (!golden.under("grad.").empty()) {
      check<FormatError>(loss.defined(), "{}: gradients are stored, but there is no loss",
                         golden.folder);
      tape.backward(loss);
      compare_gradients(golden, model->file_parameters(), rows);
    }
  }
  for (const std::string& name : golden.under("gen.")) {
    if (name.starts_with("in.")) continue;
    if (name != "sequences") {
      rows.push_back(complaint("gen." + name, "nothing here computes it"));
      continue;
    }
    const json call = golden.meta.value("generate", json::object());
    HfInputs in = golden.inputs(golden.under("gen.in.").empty() ? "in." : "gen.in.");
    in.tensors.erase("labels");
    rows.push_back(compare(golden, "gen.sequences", model->generate(in, golden.generate_options(call))));
  }
  return rows;
}

std::vector<ParityRow> train_parity(const std::string& folder, DType dtype) {
  const Golden golden(folder, dtype);
  std::vector<ParityRow> rows;
  const json& t = golden.meta.at("train");
  const std::string architecture = golden.meta.at("class").get<std::string>();
  auto model = load_hf_model(golden.folder, architecture, golden.dtype);
  Decoder* decoder = model->decoder();
  check<FormatError>(decoder, "{}: {} has no decoder to train", golden.folder, architecture);
  ParameterDType scope(golden.dtype);
  const std::set<std::string> no_decay = name_list(t, "no_decay");
  OptimizerConfig config;
  config.betas = {t.at("betas")[0].get<double>(), t.at("betas")[1].get<double>()};
  config.eps = t.at("eps").get<double>();
  std::vector<ParameterGroup> groups(2);
  groups[0].weight_decay = t.at("weight_decay").get<double>();
  for (auto& [name, parameter] : model->parameters())
    groups[no_decay.contains(name) ? 1 : 0].parameters.emplace_back(name, parameter);
  Optimizer optimizer(config, groups);
  Schedule schedule;
  schedule.kind = "cosine";
  schedule.warmup_steps = t.at("warmup_steps").get<int64_t>();
  schedule.total_steps = t.at("total_steps").get<int64_t>();
  const int64_t steps = t.at("steps").get<int64_t>(),
                accumulation = t.at("accumulation").get<int64_t>();
  const HfInputs all = golden.inputs("in.");
  std::vector<double> losses, norms, rates;
  for (int64_t step = 0; step < steps; ++step) {
    int64_t targets = 0;
    auto micro = [&](const char* name, int64_t m) {
      const Tensor x =
          all.need(name).sliced(0, step * accumulation + m, step * accumulation + m + 1);
      return x.contiguous().view_as({x.dim(1), x.dim(2)});
    };
    for (int64_t m = 0; m < accumulation; ++m)
      for (int64_t label : shifted_labels(micro("labels", m)).to_vector<int64_t>())
        targets += label != -100;
    double loss = 0;
    for (int64_t m = 0; m < accumulation; ++m) {
      Tape tape;
      HfInputs in;
      for (const auto& [name, tensor] : all.tensors) in.tensors[name] = micro(name.c_str(), m);
      const Variable total = model->forward(in).at("loss_sum");
      loss += total.value().item();
      tape.backward(total, 1.0 / static_cast<double>(targets));
    }
    losses.push_back(loss / static_cast<double>(targets));
    rates.push_back(t.at("lr").get<double>() * schedule.factor(step));
    norms.push_back(optimizer.gradient_norm());
    optimizer.step(rates.back(), clip_factor(norms.back(), t.at("max_grad_norm").get<double>()));
    model->clear_gradients();
  }
  auto series = [&](const std::vector<double>& values) {
    return Tensor::from(values, {static_cast<int64_t>(values.size())});
  };
  const std::map<std::string, Tensor> computed = {
      {"loss", series(losses)}, {"grad_norm", series(norms)}, {"lr", series(rates)}};
  for (const std::string& name : golden.under("train.")) {
    auto found = computed.find(name);
    rows.push_back(found == computed.end() ? complaint("train." + name, "nothing here computes it")
                                           : compare(golden, "train." + name, found->second));
  }
  std::map<std::string, Parameter*> by_name;
  for (auto& [name, parameter] : model->parameters()) by_name[name] = parameter;
  for (const std::string& name : golden.under("final."))
    rows.push_back(by_name.contains(name)
                       ? compare(golden, "final." + name, by_name[name]->value())
                       : complaint("final." + name, "the model has no such parameter"));
  return rows;
}

const RegisterParity kModel("model", model_parity), kTrain("train", train_parity);

}  // namespace
}  // namespace ocellus
