#include "vlm/parity.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/json.h"
#include "nn/checkpoint_file.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "vlm/hf_model.h"
#include "vlm/language_loss.h"

namespace ocellus {
namespace {

using nlohmann::json;

struct Golden {
  std::string folder;
  json meta;
  CheckpointReader tensors;
  DType dtype;
  double atol, rtol;

  Golden(const std::string& f, DType d)
      : folder(f),
        meta(load_json(f + "/golden.json")),
        tensors(f + "/golden.safetensors"),
        dtype(d),
        atol(meta.value("atol", 0.0)),
        rtol(meta.value("rtol", 0.0)) {}

  /// Names that begin with `prefix`, without it.
  std::vector<std::string> under(const std::string& prefix) const {
    std::vector<std::string> list;
    for (const std::string& name : tensors.names())
      if (name.starts_with(prefix)) list.push_back(name.substr(prefix.size()));
    return list;
  }
  Tensor input(const std::string& name) const {
    const Tensor x = tensors.read(name);
    return is_floating(x.dtype()) ? x.to(dtype) : x;
  }
  HfInputs inputs(const std::string& prefix) const {
    HfInputs in;
    for (const std::string& name : under(prefix)) in.tensors[name] = input(prefix + name);
    const json call = meta.value("call", json::object());
    for (const auto& [key, value] : call.items())
      if (value.is_boolean()) in.flags[key] = value.get<bool>();
    return in;
  }
};

// Compares `got` with the stored tensor `name`; `where` (or undefined) selects positions of the leading
// dimensions.
ParityRow compare(const Golden& golden, const std::string& name, const Tensor& got,
                  const Tensor& where = {}) {
  ParityRow row;
  row.name = name;
  const Tensor stored = golden.tensors.read(name);
  if (got.shape() != stored.shape()) {
    row.note = fmt::format("shape is {}, stored {}", to_string(got.shape()), to_string(stored.shape()));
    return row;
  }
  const auto a = got.to_vector<double>(), b = stored.to_vector<double>();
  std::vector<int64_t> selected;
  size_t stride = 1;
  if (where.defined()) {
    selected = where.to_vector<int64_t>();
    stride = a.size() / std::max<size_t>(selected.size(), 1);
  }
  double top = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!selected.empty() && !selected[i / stride]) continue;
    const double d = std::fabs(a[i] - b[i]);
    row.max_error = std::isnan(d) ? INFINITY : std::max(row.max_error, d);
    top = std::max(top, std::fabs(b[i]));
  }
  row.relative = top > 0 ? row.max_error / top : 0;
  const double allowed = is_floating(stored.dtype()) ? golden.atol + golden.rtol * top : 0;
  row.ok = row.max_error <= allowed;
  if (!row.ok) row.note = fmt::format("allowed {:.2e}", allowed);
  return row;
}

ParityRow complaint(const std::string& name, const std::string& note) {
  ParityRow row;
  row.name = name;
  row.note = note;
  return row;
}

void compare_outputs(const Golden& golden, const HfOutputs& outputs, std::vector<ParityRow>& rows) {
  for (const std::string& name : golden.under("out.")) {
    auto found = outputs.find(name);
    if (found == outputs.end()) {
      rows.push_back(complaint("out." + name, "nothing here computes it"));
      continue;
    }
    const std::string where = "where." + name;
    rows.push_back(compare(golden, "out." + name, found->second.value(),
                           golden.tensors.contains(where) ? golden.tensors.read(where) : Tensor()));
  }
}

// The scalar whose gradients are stored: the model's own loss, or Σ ⟨output, cotangent⟩.
Variable loss_of(const Golden& golden, HfOutputs& outputs) {
  const json from = golden.meta.value("loss_from", json("model"));
  if (from.is_object() && from.contains("cotangents")) {
    Variable total;
    for (const json& name : from["cotangents"]) {
      const std::string output = name.get<std::string>();
      check<FormatError>(outputs.contains(output), "{}: nothing here computes {}, which the loss needs",
                         golden.folder, output);
      const Variable term =
          sum(mul(outputs.at(output), constant(golden.input("cot." + output))));
      total = total.defined() ? add(total, term) : term;
    }
    outputs["loss"] = total;
  }
  auto found = outputs.find("loss");
  return found == outputs.end() ? Variable() : found->second;
}

std::set<std::string> name_set(const json& meta, const char* key) {
  std::set<std::string> names;
  const json list = meta.value(key, json::array());
  for (const json& name : list) names.insert(name.get<std::string>());
  return names;
}

void compare_gradients(const Golden& golden, HfModel& model, std::vector<ParityRow>& rows) {
  std::map<std::string, Parameter*> by_name;
  for (auto& [name, parameter] : model.parameters()) by_name[name] = parameter;
  for (const std::string& name : golden.under("grad.")) {
    auto found = by_name.find(name);
    if (found == by_name.end())
      rows.push_back(complaint("grad." + name, "the model has no such parameter"));
    else if (!found->second->grad().defined())
      rows.push_back(complaint("grad." + name, "no gradient reached it"));
    else
      rows.push_back(compare(golden, "grad." + name, found->second->grad()));
  }
  for (const std::string& name : name_set(golden.meta, "no_grad"))
    if (by_name.contains(name) && by_name[name]->grad().defined())
      rows.push_back(complaint("grad." + name, "should not reach the loss, but has a gradient"));
}

GenerateOptions generate_options(const Golden& golden) {
  GenerateOptions options;
  options.max_new_tokens =
      golden.meta.value("generate", json::object()).value("max_new_tokens", int64_t{20});
  for (const char* file : {"/generation_config.json", "/config.json"}) {
    json config;
    try {
      config = load_json(golden.folder + file);
    } catch (const FormatError&) {
      continue;
    }
    const json eos = config.value("eos_token_id", json());
    if (eos.is_array()) options.stop_tokens = eos.get<std::vector<int64_t>>();
    if (eos.is_number_integer()) options.stop_tokens = {eos.get<int64_t>()};
    const json pad = config.value("pad_token_id", json());
    options.pad_token = pad.is_number_integer() ? pad.get<int64_t>()
                        : options.stop_tokens.empty() ? 0 : options.stop_tokens[0];
    break;
  }
  return options;
}

std::vector<ParityRow> model_parity(const Golden& golden) {
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
      check<FormatError>(loss.defined(), "{}: gradients are stored, but there is no loss", golden.folder);
      tape.backward(loss);
      compare_gradients(golden, *model, rows);
    }
  }
  for (const std::string& name : golden.under("gen.")) {
    if (name.starts_with("in.")) continue;
    if (name != "sequences") {
      rows.push_back(complaint("gen." + name, "nothing here computes it"));
      continue;
    }
    HfInputs in = golden.inputs(golden.under("gen.in.").empty() ? "in." : "gen.in.");
    in.tensors.erase("labels");
    rows.push_back(compare(golden, "gen.sequences", model->generate(in, generate_options(golden))));
  }
  return rows;
}

std::vector<ParityRow> train_parity(const Golden& golden) {
  std::vector<ParityRow> rows;
  const json& t = golden.meta.at("train");
  const std::string architecture = golden.meta.at("class").get<std::string>();
  auto model = load_hf_model(golden.folder, architecture, golden.dtype);
  Decoder* decoder = model->decoder();
  check<FormatError>(decoder, "{}: {} has no decoder to train", golden.folder, architecture);
  ParameterDType scope(golden.dtype);
  const std::set<std::string> no_decay = name_set(t, "no_decay");
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
  const int64_t steps = t.at("steps").get<int64_t>(), accumulation = t.at("accumulation").get<int64_t>();
  const HfInputs all = golden.inputs("in.");
  std::vector<double> losses, norms, rates;
  for (int64_t step = 0; step < steps; ++step) {
    int64_t targets = 0;
    auto micro = [&](const char* name, int64_t m) {
      const Tensor x = all.need(name).sliced(0, step * accumulation + m, step * accumulation + m + 1);
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

}  // namespace

std::vector<ParityRow> run_parity(const std::string& folder, DType dtype) {
  const Golden golden(folder, dtype);
  const std::string kind = golden.meta.value("kind", "model");
  try {
    if (kind == "model") return model_parity(golden);
    if (kind == "train") return train_parity(golden);
  } catch (const json::exception& error) {
    fail<FormatError>("{}/golden.json: {}", folder, error.what());
  }
  fail<FormatError>("{}/golden.json: kind \"{}\" is not one of model, train", folder, kind);
}

}  // namespace ocellus
