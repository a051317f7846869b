#include "vlm/golden.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/json.h"

namespace ocellus {

using nlohmann::json;

Golden::Golden(const std::string& f, DType d)
    : folder(f),
      meta(load_json(f + "/golden.json")),
      tensors(f + "/golden.safetensors"),
      dtype(d),
      atol(meta.value("atol", 0.0)),
      rtol(meta.value("rtol", 0.0)) {}

std::vector<std::string> Golden::under(const std::string& prefix) const {
  std::vector<std::string> list;
  for (const std::string& name : tensors.names())
    if (name.starts_with(prefix)) list.push_back(name.substr(prefix.size()));
  return list;
}

Tensor Golden::input(const std::string& name) const {
  const Tensor x = tensors.read(name);
  return is_floating(x.dtype()) ? x.to(dtype) : x;
}

HfInputs Golden::inputs(const std::string& prefix) const {
  HfInputs in;
  for (const std::string& name : under(prefix)) in.tensors[name] = input(prefix + name);
  const json call = meta.value("call", json::object());
  for (const auto& [key, value] : call.items())
    if (value.is_boolean()) in.flags[key] = value.get<bool>();
  return in;
}

GenerateOptions Golden::generate_options(const json& call) const {
  GenerateOptions options;
  options.max_new_tokens = 20;
  options.pad_token = -1;
  for (const char* file : {"/generation_config.json", "/config.json"}) {
    if (!std::filesystem::exists(folder + file)) continue;
    read_generate_options(load_json(folder + file), folder + file, options);
    break;
  }
  read_generate_options(call, folder + "/golden.json: generate", options);
  if (options.pad_token < 0) options.pad_token = options.stop_tokens.empty() ? 0 : options.stop_tokens[0];
  return options;
}

std::set<std::string> name_list(const json& meta, const char* key) {
  std::set<std::string> names;
  const json list = meta.value(key, json::array());
  for (const json& name : list) names.insert(name.get<std::string>());
  return names;
}

ParityRow compare(const Golden& golden, const std::string& name, const Tensor& got,
                  const Tensor& where) {
  ParityRow row;
  row.name = name;
  const Tensor stored = golden.tensors.read(name);
  if (got.shape() != stored.shape()) {
    row.note =
        fmt::format("shape is {}, stored {}", to_string(got.shape()), to_string(stored.shape()));
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

Variable loss_of(const Golden& golden, HfOutputs& outputs) {
  const json from = golden.meta.value("loss_from", json("model"));
  if (from.is_object() && from.contains("cotangents")) {
    Variable total;
    for (const json& name : from["cotangents"]) {
      const std::string output = name.get<std::string>();
      check<FormatError>(outputs.contains(output),
                         "{}: nothing here computes {}, which the loss needs", golden.folder,
                         output);
      const Variable term = sum(mul(outputs.at(output), constant(golden.input("cot." + output))));
      total = total.defined() ? add(total, term) : term;
    }
    outputs["loss"] = total;
  }
  auto found = outputs.find("loss");
  return found == outputs.end() ? Variable() : found->second;
}

void compare_gradients(const Golden& golden,
                       const std::vector<std::pair<std::string, Parameter*>>& parameters,
                       std::vector<ParityRow>& rows) {
  const std::map<std::string, Parameter*> by_name(parameters.begin(), parameters.end());
  for (const std::string& name : golden.under("grad.")) {
    auto found = by_name.find(name);
    if (found == by_name.end())
      rows.push_back(complaint("grad." + name, "the model has no such parameter"));
    else if (!found->second->grad().defined())
      rows.push_back(complaint("grad." + name, "no gradient reached it"));
    else
      rows.push_back(compare(golden, "grad." + name, found->second->grad()));
  }
  for (const std::string& name : name_list(golden.meta, "no_grad"))
    if (by_name.contains(name) && by_name.at(name)->grad().defined())
      rows.push_back(complaint("grad." + name, "should not reach the loss, but has a gradient"));
}

namespace {
std::map<std::string, RegisterParity::Function>& kinds() {
  static std::map<std::string, RegisterParity::Function> table;
  return table;
}
}  // namespace

RegisterParity::RegisterParity(const char* kind, Function function) { kinds()[kind] = function; }

std::vector<ParityRow> run_parity(const std::string& folder, DType dtype) {
  const std::string path = folder + "/golden.json";
  try {
    const std::string kind = load_json(path).value("kind", "model");
    if (auto found = kinds().find(kind); found != kinds().end())
      return found->second(folder, dtype);
    std::string known;
    for (const auto& [name, function] : kinds()) known += (known.empty() ? "" : ", ") + name;
    fail<FormatError>("{}: kind \"{}\" is not one of {}", path, kind, known);
  } catch (const json::exception& error) {
    fail<FormatError>("{}: {}", path, error.what());
  }
}

}  // namespace ocellus
