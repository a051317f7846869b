// ocellus train: runs a recipe.
#include "vlm/train.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/ocellus/command.h"

namespace ocellus {
namespace {

struct TrainArguments {
  std::string recipe, out, compare, device = "auto", dtype;
  std::string seed;
  std::vector<std::string> settings;
  int64_t threads = 0;
  bool resume = false, json = false, help_recipe = false;
};

void print_answers(const EvaluationResult& evaluation) {
  if (evaluation.all.n == 0) return;
  fmt::print("accuracy {:.2f} % ({} of {})\n", 100 * evaluation.all.accuracy(), evaluation.all.right,
             evaluation.all.n);
  for (const auto& [source, tally] : evaluation.by_source)
    fmt::print("  {:<12} {:.2f} % of {}\n", source, 100 * tally.accuracy(), tally.n);
  for (const Answered& a : evaluation.answered)
    fmt::print("  {:<48} {:<12} {}\n", a.question, a.answer,
               a.right ? "right" : "wrong: it is " + a.expected);
}

int run(const TrainArguments& a) {
  if (a.help_recipe) {
    fmt::print("{}", recipe_help());
    return 0;
  }
  check<UsageError>(!a.recipe.empty(), "train: needs a recipe; see ocellus train --help");
  const Device device = choose_device(a.device);
  std::vector<std::string> settings = a.settings;
  if (!a.dtype.empty()) settings.push_back(fmt::format("precision={}", a.dtype));
  if (!a.seed.empty()) settings.push_back(fmt::format("seed={}", a.seed));
  use_threads(a.threads);
  Recipe recipe = load_recipe(a.recipe, settings);
  if (a.threads > 0) recipe.threads = a.threads;
  TrainOptions options;
  options.out = a.out.empty() ? "runs/" + recipe.name : a.out;
  options.resume = a.resume;
  options.compare = a.compare;
  options.device = device;
  const TrainResult result = train(recipe, options);
  if (result.signal) return 128 + result.signal;
  if (a.json) {
    nlohmann::json by_source = nlohmann::json::object();
    for (const auto& [source, tally] : result.final_evaluation.by_source)
      by_source[source] = {{"accuracy", tally.accuracy()}, {"n", tally.n}};
    fmt::print("{}\n", nlohmann::json({{"run", options.out},
                                       {"steps", result.steps},
                                       {"train_seconds", result.seconds},
                                       {"accuracy", result.final_evaluation.all.accuracy()},
                                       {"n", result.final_evaluation.all.n},
                                       {"by_source", by_source}})
                           .dump());
  } else {
    fmt::print("trained {} steps in {:.1f} s; model in {}/model, report in {}/report.html\n", result.steps,
               result.seconds, options.out, options.out);
    print_answers(result.final_evaluation);
  }
  return 0;
}

const RegisterCommand kTrain({"train", "train the model of a recipe, in stages",
                              "ocellus train vlm/recipes/quickstart.toml --set stage.naming.steps=120",
                              [](Options& options) -> std::function<int()> {
                                auto a = std::make_shared<TrainArguments>();
                                options.positional("recipe", a->recipe, "recipe in TOML", false);
                                options.list("--set", a->settings, "KEY=VALUE: change a key of the recipe");
                                options.option("--out", a->out, "run folder (default runs/NAME)");
                                options.option("--compare", a->compare, "another run to show in the report");
                                options.flag("--resume", a->resume,
                                             "continue from the newest valid checkpoint in the run folder");
                                options.flag("--help-recipe", a->help_recipe, "print every key of a recipe");
                                options.device(a->device);
                                options.dtype(a->dtype, "f32, bf16 (default: the recipe's precision)");
                                options.option("--seed", a->seed, "in place of the recipe's seed");
                                options.threads(a->threads);
                                options.json(a->json);
                                return [a] { return run(*a); };
                              }});

}  // namespace
}  // namespace ocellus
