#include "vlm/stage.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace ocellus {
namespace {
// The deviation of a uniform draw over ±1/√width: 0.02 at a width of 768, more in narrow models,
// which learn shapes several times slower from 0.02.
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
  check<UsageError>(
      l.hidden_size % l.num_attention_heads == 0,
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

namespace {

std::string root_of(const std::string& path) { return path.substr(0, path.find('.')); }

// The largest modules all of whose parameters are chosen, below (and with) `path`. An adapter file
// holds whole modules, so a module with parameters of its own is chosen whole or not at all.
void add_whole_modules(const std::vector<std::pair<std::string, Parameter*>>& parameters,
                       const std::function<bool(const std::string&)>& chosen,
                       const std::string& path, std::vector<std::string>& modules) {
  std::set<std::string> parts;
  int64_t yes = 0, no = 0;
  for (const auto& [name, parameter] : parameters) {
    if (!name.starts_with(path + ".")) continue;
    ++(chosen(name) ? yes : no);
    const std::string rest = name.substr(path.size() + 1);
    const size_t dot = rest.find('.');
    if (dot != std::string::npos) parts.insert(path + "." + rest.substr(0, dot));
  }
  if (yes == 0) return;
  if (no == 0) return modules.push_back(path);
  for (const auto& [name, parameter] : parameters)
    check<UsageError>(
        !chosen(name) || name.substr(0, name.rfind('.')) != path,
        "train chooses {} but not all of {}; beside adapters, modules are trained whole", name,
        path);
  for (const std::string& part : parts) add_whole_modules(parameters, chosen, part, modules);
}

Adapters begin_adapters(Vlm& model, const StageRecipe& stage, uint64_t seed) {
  const LoraRecipe& recipe = stage.lora;
  LoraConfig config;
  config.rank = recipe.rank;
  config.alpha = recipe.alpha;
  config.dropout = recipe.dropout;
  config.rslora = recipe.rslora;
  config.dora = recipe.dora;
  config.init = recipe.init;
  config.bias = recipe.bias;
  set_trainable(model, stage.train);  // refuses patterns that match nothing
  const std::string type = vlm_model_type(model.config());
  const NameMap names = [type](const std::string& name) { return vlm_module_name(type, name); };
  std::set<std::string> adapted;  // parts with adapters
  for (const std::string& path : matching_layers(model, recipe.targets))
    adapted.insert(root_of(path));
  const auto parameters = model.parameters();
  for (const std::string& pattern : recipe.modules_to_save)
    check<UsageError>(
        std::any_of(parameters.begin(), parameters.end(),
                    [&](const auto& entry) { return name_matches(pattern, entry.first); }),
        "lora.modules_to_save \"{}\" matches nothing", pattern);
  auto matches = [](const std::vector<std::string>& patterns, const std::string& name) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& pattern) { return name_matches(pattern, name); });
  };
  auto chosen = [&](const std::string& name) {
    return matches(recipe.modules_to_save, name) ||
           (!adapted.contains(root_of(name)) && matches(stage.train, name));
  };
  std::set<std::string> roots;
  for (const auto& [name, parameter] : parameters) roots.insert(root_of(name));
  std::vector<std::string> whole;
  for (const std::string& root : roots) add_whole_modules(parameters, chosen, root, whole);
  for (const std::string& path : whole) {
    // The module's name in files: that of one of its parameters, less what follows.
    const auto inside = std::find_if(parameters.begin(), parameters.end(), [&](const auto& entry) {
      return entry.first.starts_with(path + ".");
    });
    const std::string rest = inside->first.substr(path.size()), name = names(inside->first);
    config.modules_to_save.push_back(name.substr(0, name.size() - rest.size()));
  }
  Adapters adapters = add_lora(model, recipe.targets, config, seed, names);
  adapters.forget_originals();
  return adapters;
}

}  // namespace

StageSetup begin_stage(Vlm& model, const StageRecipe& stage, uint64_t seed) {
  try {
    StageSetup setup;
    if (stage.lora.on())
      setup.adapters = begin_adapters(model, stage, seed);
    else
      set_trainable(model, stage.train);
    model.set_checkpointing(stage.checkpoint_activations);
    model.set_dropout(stage.dropout);
    std::vector<std::pair<std::string, double>> rates;
    for (const PatternRate& rate : stage.lr) rates.emplace_back(rate.pattern, rate.lr);
    OptimizerConfig config;
    config.kind = stage.optimizer;
    config.betas = stage.betas;
    config.eps = stage.eps;
    config.momentum = stage.momentum;
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
