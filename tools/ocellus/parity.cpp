// ocellus parity: does a checkpoint compute here what it computes in transformers?
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/ocellus/command.h"
#include "vlm/parity.h"

namespace ocellus {
namespace {

struct ParityArguments {
  std::vector<std::string> folders;
  std::string dtype = "f32";
  int64_t threads = 0;
  bool json = false, verbose = false;
};

// Rows of one folder; gradients are summed up in one line unless asked for.
void print_rows(const std::vector<ParityRow>& rows, bool verbose) {
  ParityRow worst;
  int good = 0, gradients = 0;
  for (const ParityRow& row : rows) {
    const bool gradient = row.name.starts_with("grad.") || row.name.starts_with("final.");
    if (gradient && row.ok && !verbose) {
      ++good;
      if (row.max_error >= worst.max_error) worst = row;
    } else {
      fmt::print("  {:<44} max|err| {:.1e}  rel {:.1e}  {}{}\n", row.name, row.max_error, row.relative,
                 row.ok ? "ok" : "FAILED ", row.note);
    }
    gradients += gradient;
  }
  if (good)
    fmt::print("  {:<44} max|err| {:.1e}  rel {:.1e}  ok ({} tensors, worst {})\n",
               worst.name.substr(0, worst.name.find('.')) + ".*", worst.max_error, worst.relative, good,
               worst.name);
}

int run(const ParityArguments& a) {
  use_threads(a.threads);
  const DType dtype = choose_dtype(a.dtype, {DType::kF32, DType::kF64});
  for (const std::string& folder : a.folders)
    check<FormatError>(std::filesystem::is_directory(folder), "{}: there is no such folder", folder);
  nlohmann::json document = nlohmann::json::array();
  int passed = 0, failed = 0;
  for (const std::string& folder : a.folders) {
    std::vector<ParityRow> rows;
    try {
      rows = run_parity(folder, dtype);
    } catch (const Error& error) {
      ParityRow row;
      row.name = "load";
      row.note = error.what();
      rows.push_back(row);
    }
    for (const ParityRow& row : rows) {
      ++(row.ok ? passed : failed);
      if (a.json)
        document.push_back({{"folder", folder}, {"name", row.name}, {"max_error", row.max_error},
                            {"relative", row.relative}, {"ok", row.ok}, {"note", row.note}});
    }
    if (a.json) continue;
    fmt::print("{}\n", folder);
    print_rows(rows, a.verbose);
  }
  if (a.json)
    fmt::print("{}\n", nlohmann::json({{"passed", passed}, {"failed", failed}, {"rows", document}}).dump());
  else
    fmt::print("{} passed, {} failed\n", passed, failed);
  return failed ? 1 : 0;
}

const RegisterCommand kParity({"parity", "compare with stored outputs and gradients of transformers",
                               "ocellus parity tests/golden/llama_right_pad",
                               [](Options& options) -> std::function<int()> {
                                 auto a = std::make_shared<ParityArguments>();
                                 options.positionals("folders", a->folders, "golden folders");
                                 options.dtype(a->dtype, "f32, f64");
                                 options.threads(a->threads);
                                 options.json(a->json);
                                 options.flag("--verbose", a->verbose, "a row for every tensor");
                                 return [a] { return run(*a); };
                               }});

}  // namespace
}  // namespace ocellus
