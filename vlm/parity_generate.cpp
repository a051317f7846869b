// Golden folders of kind "generate": what transformers' generate() answers under several options. "cases"
// lists names and options; gen.NAME.sequences are the answers to in.*.
#include <nlohmann/json.hpp>

#include "vlm/golden.h"

namespace ocellus {
namespace {

using nlohmann::json;

std::vector<ParityRow> generate_parity(const std::string& folder, DType dtype) {
  const Golden golden(folder, dtype);
  auto model = load_hf_model(folder, golden.meta.at("class").get<std::string>(), dtype);
  ParameterDType scope(dtype);
  const HfInputs in = golden.inputs("in.");
  std::vector<ParityRow> rows;
  std::set<std::string> known;
  for (const json& one : golden.meta.at("cases")) {
    const std::string name = one.at("name").get<std::string>() + ".sequences";
    known.insert(name);
    rows.push_back(compare(golden, "gen." + name,
                           model->generate(in, golden.generate_options(one.at("options")))));
  }
  for (const std::string& name : golden.under("gen."))
    if (!known.contains(name)) rows.push_back(complaint("gen." + name, "no case computes it"));
  return rows;
}

const RegisterParity kGenerate("generate", generate_parity);

}  // namespace
}  // namespace ocellus
