#include "vlm/stage.h"

#include <cmath>

namespace ocellus {
namespace {
// The deviation of a uniform draw over ±1/√width: 0.02 at a width of 768, more in narrow models, which
// learn shapes several times slower from 0.02.
double initial_deviation(int64_t width) { return 1 / std::sqrt(3.0 * static_cast<double>(width)); }
}  // namespace

VlmConfig vlm_config_of(const Recipe& recipe, int64_t vocab_size, int64_t image_token_id,
                        int64_t pad_token_id, int64_t end_token_id) {
  const VisionRecipe& v = recipe.model.vision;
  const LanguageRecipe& l = recipe.model.language;
  VlmConfig c;
  c.vision.model_type = v.kind == "vit" ? "vit" : "siglip_vision_model";
  c.vision.image_size = v.image_size;
  c.vision.patch_size = v.patch_size;
  c.vision.hidden_size = v.hidden_size;
  c.vision.num_hidden_layers = v.num_hidden_layers;
  c.vision.num_attention_heads = v.num_attention_heads;
  c.vision.intermediate_size = v.intermediate_size;
  c.vision.hidden_act = v.hidden_act;
  c.vision.layer_norm_eps = v.layer_norm_eps;
  c.vision.dropout = v.dropout;
  c.vision.initializer_range = std::sqrt(3.0) * initial_deviation(v.hidden_size);
  c.vision.use_head = false;
  c.connector.kind = recipe.model.connector.kind;
  c.connector.factor = recipe.model.connector.factor;
  c.connector.hidden_act = recipe.model.connector.hidden_act;
  c.connector.vision_dim = v.hidden_size;
  c.connector.text_dim = l.hidden_size;
  c.language.vocab_size = vocab_size;
  c.language.hidden_size = l.hidden_size;
  c.language.num_hidden_layers = l.num_hidden_layers;
  c.language.num_attention_heads = l.num_attention_heads;
  c.language.num_key_value_heads = l.num_key_value_heads;
  check<UsageError>(l.hidden_size % l.num_attention_heads == 0,
                    "model.language: hidden_size ({}) must be a multiple of num_attention_heads ({})",
                    l.hidden_size, l.num_attention_heads);
  c.language.head_dim = l.hidden_size / l.num_attention_heads;
  c.language.intermediate_size = l.intermediate_size;
  c.language.max_position_embeddings = l.max_position_embeddings;
  c.language.hidden_act = l.hidden_act;
  c.language.rms_norm_eps = l.rms_norm_eps;
  c.language.rope.theta = l.rope_theta;
  c.language.tie_word_embeddings = l.tie_word_embeddings;
  c.language.dropout = l.dropout;
  c.language.initializer_range = initial_deviation(l.hidden_size);
  c.language.pad_token_id = pad_token_id;
  c.language.eos_token_ids = {end_token_id};
  c.image_token_id = image_token_id;
  return c;
}

StageSetup begin_stage(Vlm& model, const StageRecipe& stage) {
  try {
    set_trainable(model, stage.train);
    model.set_checkpointing(stage.checkpoint_activations);
    std::vector<std::pair<std::string, double>> rates;
    for (const PatternRate& rate : stage.lr) rates.emplace_back(rate.pattern, rate.lr);
    OptimizerConfig config;
    config.kind = stage.optimizer;
    config.betas = stage.betas;
    config.eps = stage.eps;
    config.momentum = stage.momentum;
    StageSetup setup;
    setup.optimizer =
        std::make_unique<Optimizer>(config, group_parameters(model, rates, stage.weight_decay));
    auto steps_of = [&](double share) {
      return static_cast<int64_t>(
          std::llround(share < 1 ? share * static_cast<double>(stage.steps) : share));
    };
    setup.schedule.kind = stage.schedule;
    setup.schedule.warmup_steps = steps_of(stage.warmup);
    setup.schedule.total_steps = stage.steps;
    setup.schedule.decay_steps = steps_of(stage.decay);
    setup.schedule.min_ratio = stage.min_lr_ratio;
    return setup;
  } catch (const UsageError& error) {
    fail<UsageError>("stage {}: {}", stage.name, error.what());
  }
}

}  // namespace ocellus
