// ocellus eval: free generation against the assistant's text, exact match.
#include "vlm/evaluate.h"

#include <nlohmann/json.hpp>

#include "tools/ocellus/command.h"
#include "vlm/batches.h"
#include "vlm/model_folder.h"

namespace ocellus {
namespace {

struct EvalArguments {
  std::string model, data, task, device = "auto", dtype = "f32";
  int64_t threads = 0, limit = 0, batch = 64, max_new_tokens = 32;
  bool json = false;
};

// SPEC: RECIPE.toml:NAME, or a file, folder or shard pattern.
std::unique_ptr<Source> open_spec(const std::string& spec) {
  const size_t colon = spec.rfind(".toml:");
  if (colon == std::string::npos) {
    DataSpec data;
    data.name = spec;
    data.path = spec;
    data.kind = guess_kind(spec);
    return open_source(data);
  }
  const std::string name = spec.substr(colon + 6);
  const Recipe recipe = load_recipe(spec.substr(0, colon + 5));
  std::vector<std::string> names;
  for (const DataRecipe& data : recipe.data) {
    if (data.name == name) return open_data(data);
    names.push_back(data.name);
  }
  const std::string near = nearest_name(name, names);
  fail<UsageError>("eval: {} has no data named \"{}\"{}", spec.substr(0, colon + 5), name,
                   near.empty() ? "" : "; did you mean " + near + "?");
}

int run(const EvalArguments& a) {
  check<UsageError>(a.task.empty(), "eval: the task \"{}\" is not built yet; without --task answers are "
                                    "compared with the assistant's text", a.task);
  const ParameterDevice placed(choose_device(a.device));
  use_threads(a.threads);
  LoadedVlm loaded = load_model_folder(a.model, choose_dtype(a.dtype, {DType::kF32, DType::kF64}));
  const auto source = open_spec(a.data);
  EvaluateOptions options;
  options.limit = a.limit;
  options.batch = a.batch;
  options.max_new_tokens = a.max_new_tokens;
  const EvaluationResult result =
      evaluate(*loaded.model, *loaded.chat, loaded.processor, *source, options);
  nlohmann::json by_source = nlohmann::json::object();
  for (const auto& [name, tally] : result.by_source)
    by_source[name] = {{"accuracy", tally.accuracy()}, {"n", tally.n}};
  if (a.json) {
    fmt::print("{}\n", nlohmann::json({{"accuracy", result.all.accuracy()},
                                       {"n", result.all.n},
                                       {"by_source", by_source},
                                       {"stopped_share", result.stopped_share}})
                           .dump());
  } else {
    fmt::print("accuracy {:.2f} % ({} of {})\n", 100 * result.all.accuracy(), result.all.right, result.all.n);
    for (const auto& [name, tally] : result.by_source)
      fmt::print("  {:<12} {:.2f} % of {}\n", name, 100 * tally.accuracy(), tally.n);
    fmt::print("answers that ended by themselves: {:.2f} %\n", 100 * result.stopped_share);
  }
  return 0;
}

const RegisterCommand kEval({"eval", "let a model answer and compare", 
                             "ocellus eval --model runs/quickstart/model --data "
                             "vlm/recipes/quickstart.toml:easy_vqa_test",
                             [](Options& options) -> std::function<int()> {
                               auto a = std::make_shared<EvalArguments>();
                               options.option("--model", a->model, "model folder", true);
                               options.option("--data", a->data,
                                              "messages JSONL, LLaVA JSON, shard pattern, or RECIPE.toml:NAME", true);
                               options.option("--task", a->task, "metric other than exact match");
                               options.option("--limit", a->limit, "samples; 0 is all");
                               options.option("--batch", a->batch, "samples answered together");
                               options.option("--max-new-tokens", a->max_new_tokens, "longest answer");
                               options.device(a->device);
                               options.dtype(a->dtype, "f32, f64");
                               options.threads(a->threads);
                               options.json(a->json);
                               return [a] { return run(*a); };
                             }});

}  // namespace
}  // namespace ocellus
