// What a recipe's stage does to a model: which parameters are trained, at which rates, on what schedule.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "nn/lora.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "vlm/recipe.h"
#include "vlm/vlm.h"

namespace ocellus {

/// vlm_config_of — the model's parts as the recipe asks for them; `vocab_size` from the tokenizer.
VlmConfig vlm_config_of(const Recipe& recipe, int64_t vocab_size, int64_t image_token_id,
                        int64_t pad_token_id, int64_t end_token_id);

/// StageSetup — optimizer and schedule of a stage, after freezing what it does not train; with lora, the
/// adapters that it put on the model.
struct StageSetup {
  std::unique_ptr<Optimizer> optimizer;
  Schedule schedule;
  std::optional<Adapters> adapters;
};
/// Throws UsageError naming the stage for patterns that match nothing. Adapters start from `seed`.
StageSetup begin_stage(Vlm& model, const StageRecipe& stage, uint64_t seed = 0);

}  // namespace ocellus
