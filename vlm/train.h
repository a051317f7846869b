// The trainer: a recipe, stage after stage, exactly resumable at every step.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "vlm/evaluate.h"
#include "vlm/recipe.h"

namespace ocellus {

struct TrainOptions {
  std::string out;         // run folder
  bool resume = false;     // continue from the newest valid checkpoint in it
  Device device = kCpu;    // where the model lies and steps run
  bool quiet = false;      // no progress lines
  std::string compare;     // another run folder, shown beside this run in the report
  /// Called after each finished step with its number; tests use it to interrupt or to damage things.
  std::function<void(int64_t step)> after_step;
};

struct TrainResult {
  int64_t steps = 0;       // global steps done
  int signal = 0;          // the signal that interrupted, or 0
  double seconds = 0;      // training time of this process, evaluation excluded
  EvaluationResult final_evaluation;
};

/// train — runs the recipe and leaves in the run folder: recipe.toml (resolved), run.json, log.jsonl,
/// event files, checkpoints/, ledger.jsonl, model/, report.html.
/// Per step: batches are a pure function of (seed, stage, position); the loss is the sum over target
/// tokens of all micro-batches divided by their number; gradients are clipped by their global norm.
/// Loss or gradients that are not finite: numerics.on_nonfinite stops (NumericsError naming the first bad
/// tensor), skips the update, or rewinds to the newest checkpoint and skips it on the way.
/// SIGINT and SIGTERM save a checkpoint and return with `signal` set.
TrainResult train(const Recipe& recipe, const TrainOptions& options);

}  // namespace ocellus
