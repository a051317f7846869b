// ocellus ops: the table of all ops, the page of one, and its checks.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "autograd/grad_check.h"
#include "autograd/tape.h"
#include "tools/ocellus/command.h"
#include "tools/ocellus/embedded_sources.h"
#include "vlm/recipe.h"

namespace ocellus {
namespace {

struct OpsArguments {
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

// The longest `///` block that begins "/// NAME — …" in the sources that define ops; its place too.
std::string documentation(const std::string& name, std::string& place) {
  const std::string head = "/// " + name + " \u2014";
  std::string longest;
  for (const EmbeddedSource& source : embedded_sources()) {
    std::istringstream lines(source.text);
    std::string line, block;
    int number = 0;
    while (std::getline(lines, line)) {
      ++number;
      const size_t at = line.find(head);
      if (at == std::string::npos || line.find_first_not_of(' ') != at) continue;
      const int begin = number;
      do {
        const size_t text = line.find("/// ");
        block += "  " + (text == std::string::npos ? "" : line.substr(text + 4)) + "\n";
        ++number;
      } while (std::getline(lines, line) && line.find("///") != std::string::npos);
      if (block.size() <= longest.size()) break;
      longest = block;
      place = fmt::format("{}:{}", source.path, begin);
      break;
    }
  }
  return longest;
}

// Where the op is defined and described, and the kernels whose headers its file includes: what a reader opens.
std::vector<std::string> files_of(const OpDef& op) {
  std::set<std::string> files, kernels;
  const std::string defined = op.where.file_name();
  for (const EmbeddedSource& source : embedded_sources()) {
    // A line of a .def list is expanded in elementwise.cpp.
    const bool listed = defined.ends_with(".def") && source.path == std::string("autograd/ops/elementwise.cpp");
    if (defined.ends_with(source.path)) files.insert(fmt::format("{}:{}", source.path, op.where.line()));
    if (listed) files.insert(source.path);
    if (!listed && !defined.ends_with(source.path)) continue;
    const std::string text = source.text, head = "#include \"engine/kernels/";
    for (size_t at = text.find(head); at != std::string::npos; at = text.find(head, at + 1)) {
      const size_t begin = at + head.size();
      kernels.insert(text.substr(begin, text.find(".h\"", begin) - begin));
    }
  }
  for (const EmbeddedSource& source : embedded_sources())
    for (const std::string& kernel : kernels)
      if (source.path == "engine/kernels/" + kernel + ".h" || source.path == "engine/cpu/" + kernel + ".cpp" ||
          source.path == "cuda/kernels/" + kernel + ".cu")
        files.insert(source.path);
  std::string place;
  documentation(op.name, place);
  if (!place.empty()) files.insert(place);
  return {files.begin(), files.end()};
}

// What a sample shows: shapes, the ops of its nodes, and what they hold for backward.
struct Seen {
  std::string shapes;
  std::vector<std::string> nodes, saved;
};

std::string input_name(const OpDef& op, size_t i) {
  std::string name = op.inputs[std::min(i, op.inputs.size() - 1)].name;
  if (const size_t dots = name.find("\u2026"); dots != std::string::npos)
    name.replace(dots, std::string::npos, std::to_string(i - (op.inputs.size() - 1)));
  return name;
}

Seen run_sample(const OpDef& op, const NamedSample& named) {
  Rng rng(1);
  const Sample sample = named.make(rng);
  Seen seen;
  Tape tape;
  Variables leaves;
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    const Tensor& x = sample.inputs[i];
    const bool trained = x.defined() && is_floating(x.dtype()) &&
                         !op.inputs[std::min(i, op.inputs.size() - 1)].not_differentiable;
    leaves.push_back(trained ? leaf(x) : constant(x));
    seen.shapes += (i ? ", " : "") + input_name(op, i) + " " + to_string(x.shape());
  }
  const Variables ys = sample.run(leaves);
  seen.shapes += " \u2192";
  for (const Variable& y : ys) seen.shapes += " " + to_string(y.shape());
  std::set<std::string> saved;
  for (const auto& storage : tape.saved_storages()) {
    std::string name = "more";
    for (size_t i = 0; i < sample.inputs.size(); ++i)
      if (sample.inputs[i].defined() && sample.inputs[i].storage() == storage) name = input_name(op, i);
    for (const Variable& y : ys)
      if (name == "more" && y.value().storage() == storage) name = "the output";
    saved.insert(name == "more" ? fmt::format("\u2026 and {} B of its own", storage->memory.bytes()) : name);
  }
  seen.saved = {saved.begin(), saved.end()};
  std::istringstream report(tape.report());
  std::string line;
  std::getline(report, line);  // the heading
  while (std::getline(report, line)) seen.nodes.push_back(line.substr(0, line.find(' ')));
  return seen;
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
          {"devices", {"cpu", "cuda"}},
          {"precision", precision_name(op.precision)},
          {"composite", op.composite},
          {"made_of", op.composite ? run_sample(op, *op.samples.begin()).nodes : std::vector<std::string>()},
          {"saves", run_sample(op, *op.samples.begin()).saved},
          {"reference", has_reference(op)},
          {"samples", samples},
          {"files", files_of(op)}};
}

// One line an op and its failures; all of them.
int print_all_checks(uint64_t seed, bool json) {
  int passed = 0, failed = 0;
  nlohmann::json rows = nlohmann::json::array();
  for_each_op([&](const OpDef& op) {
    int good = 0, bad = 0;
    std::string failures;
    for (const CheckOutcome& outcome : check_op(op, seed)) {
      ++(outcome.passed ? good : bad);
      if (!outcome.passed)
        failures += fmt::format("  {:<10} {:<24} FAILED  {}\n", outcome.check, outcome.sample, outcome.detail);
    }
    passed += good;
    failed += bad;
    if (json)
      rows.push_back({{"name", op.name}, {"passed", good}, {"failed", bad}});
    else
      fmt::print("{:<24} {:>3} passed, {} failed\n{}", op.name, good, bad, failures);
  });
  if (json)
    fmt::print("{}\n", nlohmann::json({{"passed", passed}, {"failed", failed}, {"ops", rows}}).dump());
  else
    fmt::print("{} passed, {} failed\n", passed, failed);
  return failed ? 1 : 0;
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
  fmt::print("  precision  {}\n  devices    cpu, cuda\n  reference  {}\n", precision_name(op.precision),
             page["reference"].get<bool>() ? "plain ops" : op.composite ? "composite" : "none");
  for (const nlohmann::json& part : page["made_of"]) fmt::print("  made of    {}\n", part.get<std::string>());
  std::string saves;
  for (const nlohmann::json& saved : page["saves"]) saves += (saves.empty() ? "" : ", ") + saved.get<std::string>();
  fmt::print("  saves      {}\n", saves.empty() ? "nothing" : saves);
  for (const NamedSample& sample : op.samples)
    fmt::print("  sample     {}: {}\n", sample.name, run_sample(op, sample).shapes);
  for (const nlohmann::json& file : page["files"]) fmt::print("  see        {}\n", file.get<std::string>());
}

int run(const OpsArguments& a) {
  if (a.name.empty()) {
    if (a.check) return print_all_checks(static_cast<uint64_t>(a.seed), a.json);
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
                 "cpu cuda",
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
    std::vector<std::string> names;
    for_each_op([&](const OpDef& other) { names.push_back(other.name); });
    const std::string near = nearest_name(a.name, names);
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
                              auto a = std::make_shared<OpsArguments>();
                              options.positional("name", a->name, "an op", false);
                              options.flag("--check", a->check, "run the checks of that op, or of all");
                              options.seed(a->seed);
                              options.json(a->json);
                              return [a] { return run(*a); };
                            }});

}  // namespace
}  // namespace ocellus
