// ocellus ops: the table of all ops, the page of one, and its checks.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "autograd/grad_check.h"
#include "cuda/pending.h"
#include "tools/ocellus/command.h"
#include "tools/ocellus/embedded_sources.h"

namespace ocellus {
namespace {

struct Arguments {
  std::string name;
  bool check = false, json = false;
  int64_t seed = 1;
};

const char* precision_name(Precision precision) {
  return precision == Precision::kLow ? "low" : precision == Precision::kFollow ? "follow" : "full";
}

bool has_reference(const OpDef& op) {
  return std::any_of(op.samples.begin(), op.samples.end(), [](const NamedSample& sample) {
    Rng rng(1);
    return sample.make(rng).reference != nullptr;
  });
}

// The `///` block above "NAME(" or "/// NAME — …" in the sources that define ops.
std::string documentation(const std::string& name, std::string& place) {
  const std::string head = "/// " + name + " \u2014";
  for (const EmbeddedSource& source : embedded_sources()) {
    std::istringstream lines(source.text);
    std::string line, block;
    int number = 0;
    while (std::getline(lines, line)) {
      ++number;
      const size_t at = line.find(head);
      if (at == std::string::npos || line.find_first_not_of(' ') != at) continue;
      if (place.empty()) place = fmt::format("{}:{}", source.path, number);
      do {
        const size_t text = line.find("/// ");
        block += "  " + (text == std::string::npos ? "" : line.substr(text + 4)) + "\n";
        ++number;
      } while (std::getline(lines, line) && line.find("///") != std::string::npos);
      return block;
    }
  }
  return "";
}

// Files that carry the op's name: what a reader opens.
std::vector<std::string> files_of(const OpDef& op) {
  std::set<std::string> files;
  const std::string defined = op.where.file_name();
  for (const EmbeddedSource& source : embedded_sources())
    if (defined.ends_with(source.path)) files.insert(fmt::format("{}:{}", source.path, op.where.line()));
  std::string place;
  documentation(op.name, place);
  if (!place.empty()) files.insert(place);
  return {files.begin(), files.end()};
}

nlohmann::json describe(const OpDef& op) {
  nlohmann::json inputs = nlohmann::json::array(), samples = nlohmann::json::array();
  for (const InputDef& input : op.inputs) {
    nlohmann::json entry = {{"name", input.name}, {"differentiable", !input.not_differentiable}};
    if (input.not_differentiable) entry["reason"] = input.not_differentiable;
    inputs.push_back(entry);
  }
  for (const NamedSample& sample : op.samples) samples.push_back(sample.name);
  return {{"name", op.name},
          {"inputs", inputs},
          {"dtypes", {"f32", "bf16", "f64"}},
          {"devices", cuda_pending(op.name) ? nlohmann::json({"cpu"}) : nlohmann::json({"cpu", "cuda"})},
          {"cuda", cuda_pending(op.name) ? "no CUDA kernel yet" : "kernel"},
          {"precision", precision_name(op.precision)},
          {"composite", op.composite},
          {"reference", has_reference(op)},
          {"samples", samples},
          {"files", files_of(op)}};
}

int print_checks(const OpDef& op, uint64_t seed, bool json) {
  int passed = 0, failed = 0;
  nlohmann::json rows = nlohmann::json::array();
  for (const CheckOutcome& outcome : check_op(op, seed)) {
    ++(outcome.passed ? passed : failed);
    if (json)
      rows.push_back({{"check", outcome.check}, {"sample", outcome.sample}, {"passed", outcome.passed},
                      {"detail", outcome.detail}});
    else
      fmt::print("  {:<10} {:<24} {:<7} {}\n", outcome.check, outcome.sample,
                 outcome.passed ? "ok" : "FAILED", outcome.detail);
  }
  if (json)
    fmt::print("{}\n", nlohmann::json({{"name", op.name}, {"passed", passed}, {"failed", failed}, {"checks", rows}}).dump());
  else
    fmt::print("{} passed, {} failed\n", passed, failed);
  return failed ? 1 : 0;
}

void print_page(const OpDef& op) {
  const nlohmann::json page = describe(op);
  std::string place;
  fmt::print("{}\n{}", op.name, documentation(op.name, place));
  for (const nlohmann::json& input : page["inputs"])
    fmt::print("  input      {}{}\n", input["name"].get<std::string>(),
               input["differentiable"].get<bool>() ? "" : " (no gradient: " + input["reason"].get<std::string>() + ")");
  fmt::print("  precision  {}\n  devices    cpu{}\n  reference  {}\n", precision_name(op.precision),
             cuda_pending(op.name) ? " (no CUDA kernel yet)" : ", cuda",
             page["reference"].get<bool>() ? "plain ops" : op.composite ? "composite" : "none");
  for (const NamedSample& sample : op.samples) fmt::print("  sample     {}\n", sample.name);
  for (const nlohmann::json& file : page["files"]) fmt::print("  see        {}\n", file.get<std::string>());
}

int run(const Arguments& a) {
  if (a.name.empty()) {
    check<UsageError>(!a.check, "ops: --check needs the name of an op");
    nlohmann::json list = nlohmann::json::array();
    int count = 0;
    if (!a.json)
      fmt::print("{:<24} {:<28} {:<8} {:<20} {:<10} {}\n", "op", "inputs", "precision", "devices",
                 "reference", "samples");
    for_each_op([&](const OpDef& op) {
      ++count;
      if (a.json) return list.push_back(describe(op));
      std::string inputs;
      for (const InputDef& input : op.inputs) inputs += (inputs.empty() ? "" : " ") + std::string(input.name);
      fmt::print("{:<24} {:<28} {:<8}  {:<20} {:<10} {}\n", op.name, inputs, precision_name(op.precision),
                 cuda_pending(op.name) ? "cpu (no CUDA yet)" : "cpu cuda",
                 op.composite ? "composite" : has_reference(op) ? "yes" : "-", op.samples.size());
    });
    if (a.json)
      fmt::print("{}\n", list.dump());
    else
      fmt::print("{} ops\n", count);
    return 0;
  }
  const OpDef* op = find_op(a.name);
  if (!op) {
    std::string near;
    for_each_op([&](const OpDef& other) {
      if (near.empty() && (std::strstr(other.name, a.name.c_str()) || a.name.find(other.name) != std::string::npos))
        near = other.name;
    });
    fail<UsageError>("ops: there is no op \"{}\"{}", a.name, near.empty() ? "" : "; did you mean " + near + "?");
  }
  if (a.check) return print_checks(*op, static_cast<uint64_t>(a.seed), a.json);
  if (a.json)
    fmt::print("{}\n", nlohmann::json::array({describe(*op)}).dump());
  else
    print_page(*op);
  return 0;
}

const RegisterCommand kOps({"ops", "the table of ops, the page of one, its checks", "ocellus ops rms_norm --check",
                            [](Options& options) -> std::function<int()> {
                              auto a = std::make_shared<Arguments>();
                              options.positional("name", a->name, "an op", false);
                              options.flag("--check", a->check, "run the checks of that op");
                              options.seed(a->seed);
                              options.json(a->json);
                              return [a] { return run(*a); };
                            }});

}  // namespace
}  // namespace ocellus
