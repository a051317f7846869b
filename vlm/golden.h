// What the comparisons with golden folders share: the folder, and how a tensor is compared. One
// file a kind of golden (parity.cpp: model and train) registers the function that computes it.
#pragma once
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "nn/checkpoint_file.h"
#include "vlm/hf_model.h"
#include "vlm/parity.h"

namespace ocellus {

/// Golden — golden.json and golden.safetensors of a folder; `dtype` is what the comparison computes
/// in.
struct Golden {
  std::string folder;
  nlohmann::json meta;  // golden.json
  CheckpointReader tensors;
  DType dtype;
  double atol, rtol;

  Golden(const std::string& folder, DType dtype);
  /// Names of tensors that begin with `prefix`, without it.
  std::vector<std::string> under(const std::string& prefix) const;
  /// A stored tensor; floats as `dtype`.
  Tensor input(const std::string& name) const;
  /// All tensors under `prefix` ("in."), with the flags of "call".
  HfInputs inputs(const std::string& prefix) const;
  /// Options of generate() as transformers has them: generation_config.json, or config.json without one,
  /// then the arguments of the call.
  GenerateOptions generate_options(const nlohmann::json& call) const;
};

/// The names listed under `key` of golden.json or an object in it; none if there is no such key.
std::set<std::string> name_list(const nlohmann::json& meta, const char* key);

/// compare — `got` with the stored tensor `name`; `where` (or undefined) selects positions of the
/// leading dimensions.
ParityRow compare(const Golden& golden, const std::string& name, const Tensor& got,
                  const Tensor& where = {});
/// A failed row that says why.
ParityRow complaint(const std::string& name, const std::string& note);
/// Every stored out.* with the output of that name.
void compare_outputs(const Golden& golden, const HfOutputs& outputs, std::vector<ParityRow>& rows);
/// loss_of — the scalar whose gradients are stored: the model's own loss, or Σ ⟨output, cotangent⟩.
/// Undefined if there is none.
Variable loss_of(const Golden& golden, HfOutputs& outputs);
/// Every stored grad.* with the gradient of the parameter of that name, and "no_grad" without one.
void compare_gradients(const Golden& golden,
                       const std::vector<std::pair<std::string, Parameter*>>& parameters,
                       std::vector<ParityRow>& rows);

/// RegisterParity — a kind of golden folder and its comparison, one static object each.
struct RegisterParity {
  using Function = std::vector<ParityRow> (*)(const std::string& folder, DType dtype);
  RegisterParity(const char* kind, Function function);
};

}  // namespace ocellus
