// What a run leaves behind about itself: run.json and report.html.
#pragma once
#include <cstdint>
#include <string>

#include "vlm/recipe.h"
#include "vlm/train.h"

namespace ocellus {

class Optimizer;
class Vlm;

/// program_version — "0.1.0" and, where it was known at build time, the commit.
std::string program_version();

/// RunRecord — gathers what run.json and the report say beyond the log.
class RunRecord {
 public:
  /// Memory by category at its largest, from what each part holds after a step.
  void note_step(Vlm& model, const Optimizer& optimizer, uint64_t saved_bytes, uint64_t batch_bytes);
  /// Writes run.json and report.html into the run folder; `compare` is another run to show beside it.
  void write(const std::string& folder, const Recipe& recipe, const TrainResult& result, int64_t samples,
             int64_t tokens, double train_seconds, double wait_seconds, uint64_t refused, const std::string& compare) const;

 private:
  uint64_t weights_ = 0, gradients_ = 0, optimizer_ = 0, activations_ = 0, batches_ = 0, peak_ = 0;
};

}  // namespace ocellus
