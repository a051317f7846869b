// Adapters on a whole model: choosing layers, files, merging.
#include <algorithm>
#include <filesystem>
#include <set>

#include "engine/file.h"
#include "nn/lora.h"

namespace ocellus {
namespace {

namespace fs = std::filesystem;
using Kind = WeightLayer::Kind;
constexpr const char* kPrefix = "base_model.model.";

// A module under its path here and its name in files.
struct NamedModule {
  std::string path, name;
  Module* module;
};

// The name in files of the module `path`: that of a parameter below it, less what both have in
// common behind it.
std::string file_name_of(const std::string& path, Module& module, const NameMap& file_name) {
  if (!file_name) return path;
  std::string found = path;
  bool first = true;
  module.for_each_parameter(
      [&](const std::string& rest, Parameter&) {
        if (!first) return;
        first = false;
        const std::string whole = file_name(path + rest);
        if (whole.ends_with(rest)) found = whole.substr(0, whole.size() - rest.size());
      },
      ".");
  return found;
}

std::vector<NamedModule> named_modules(Module& model, const NameMap& file_name) {
  std::vector<NamedModule> list;
  model.for_each_module([&](const std::string& path, Module& module) {
    if (path.empty()) return;
    const NamedModule entry{path, file_name_of(path, module, file_name), &module};
    // A child without a name of its own stands for its parent, unless it is a part of the adapter.
    if (!list.empty() && list.back().path == path) {
      if (!dynamic_cast<WeightLayer*>(list.back().module)) list.back() = entry;
    } else {
      list.push_back(entry);
    }
  });
  return list;
}

// Output layers by the names that transformers gives them; "all-linear" and globs leave them out.
bool is_output_layer(const std::string& name) {
  for (const char* ending :
       {"lm_head", "embed_out", "cls.predictions.decoder", "score", "classifier"})
    if (name == ending || name.ends_with(std::string(".") + ending)) return true;
  return false;
}

std::string last_segments(const std::string& name, size_t count) {
  size_t at = name.size();
  for (size_t i = 0; i < count && at != std::string::npos; ++i)
    at = at == 0 ? std::string::npos : name.rfind('.', at - 1);
  return at == std::string::npos ? name : name.substr(at + 1);
}

std::string nearest_ending(const std::string& wanted, const std::vector<NamedModule>& modules) {
  const auto segments = static_cast<size_t>(std::count(wanted.begin(), wanted.end(), '.')) + 1;
  std::string best = "none";
  size_t distance = SIZE_MAX;
  for (const NamedModule& entry : modules) {
    if (!dynamic_cast<WeightLayer*>(entry.module)) continue;
    const std::string ending = last_segments(entry.name, segments);
    const size_t d = edit_distance(wanted, ending);
    if (d < distance) distance = d, best = ending;
  }
  return best;
}

std::vector<NamedModule> chosen_modules(const std::vector<NamedModule>& modules,
                                        const LoraConfig& config, const LoraMatcher& matcher,
                                        bool strict) {
  std::vector<NamedModule> chosen;
  for (const NamedModule& entry : modules) {
    if (!matcher.targets(entry.name)) continue;
    check<UsageError>(
        dynamic_cast<WeightLayer*>(entry.module),
        "lora: target_modules chooses {}, which is neither a linear layer nor an embedding",
        entry.name);
    chosen.push_back(entry);
  }
  const std::string wanted = config.targets.regex.empty()
                                 ? config.targets.list.empty() ? "" : config.targets.list[0]
                                 : config.targets.regex;
  check<UsageError>(!chosen.empty(),
                    "lora: target_modules \"{}\" matches no layer; the nearest name is {}", wanted,
                    nearest_ending(wanted, modules));
  for (const std::string& target : config.targets.list)
    check<UsageError>(!strict || std::any_of(chosen.begin(), chosen.end(),
                                             [&](const NamedModule& entry) {
                                               return entry.name == target ||
                                                      entry.name.ends_with("." + target);
                                             }),
                      "lora: target_modules \"{}\" matches no layer; the nearest name is {}",
                      target, nearest_ending(target, modules));
  return chosen;
}

// "all-linear" becomes the list of names it stands for, as PEFT writes it.
void expand_all_linear(LoraConfig& config, const std::vector<NamedModule>& modules) {
  std::string lower = config.targets.regex;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (lower != "all-linear") return;
  config.targets = {};
  for (const NamedModule& entry : modules) {
    auto* layer = dynamic_cast<WeightLayer*>(entry.module);
    if (layer && layer->kind() != Kind::kEmbedding && !is_output_layer(entry.name))
      config.targets.list.push_back(entry.name);
  }
  check<UsageError>(!config.targets.list.empty(), "lora: the model has no linear layer");
}

bool lists_embedding(const LoraConfig& config) {
  const auto& list = config.targets.list;
  return std::any_of(list.begin(), list.end(), [](const std::string& entry) {
    return entry == "embed_tokens" || entry == "lm_head";
  });
}

}  // namespace

Adapters add_lora(Module& model, const LoraConfig& asked, uint64_t seed, const NameMap& file_name,
                  bool strict) {
  check<UsageError>(asked.rank > 0, "lora: rank must be positive, got {}", asked.rank);
  check<UsageError>(
      asked.init == "default" || asked.init == "random" || asked.init == "gaussian" || !strict,
      "lora: init_lora_weights must be default, random or gaussian, got \"{}\"", asked.init);
  Adapters added;
  added.config_ = asked;
  LoraConfig& config = added.config_;
  const std::vector<NamedModule> modules = named_modules(model, file_name);
  expand_all_linear(config, modules);
  const LoraMatcher matcher(config);
  const std::vector<NamedModule> chosen = chosen_modules(modules, config, matcher, strict);
  for (const NamedModule& entry : chosen) {
    check<UsageError>(!static_cast<WeightLayer*>(entry.module)->adapter(),
                      "lora: {} has an adapter already; merge it first", entry.name);
    check<UsageError>(
        !config.lora_bias || static_cast<WeightLayer*>(entry.module)->kind() != Kind::kEmbedding,
        "lora: lora_bias is not possible on the embedding {}", entry.name);
  }

  model.for_each_parameter([](const std::string&, Parameter& p) { p.set_trainable(false); });
  auto train = [&](const std::string& key, Parameter& parameter) {
    parameter.set_trainable(true);
    added.parameters_.emplace_back(kPrefix + key, &parameter);
  };
  auto train_in_full = [&](const std::string& key, Parameter& parameter) {
    if (parameter.trainable()) return;
    parameter.keep_value();
    added.kept_.push_back(&parameter);
    train(key, parameter);
  };
  bool transposed = false;
  std::set<Module*> with_adapter;
  for (const NamedModule& entry : chosen) {
    auto& layer = *static_cast<WeightLayer*>(entry.module);
    ParameterDType same(layer.weight().value().dtype() == DType::kF64 ? DType::kF64 : DType::kF32);
    auto adapter = std::make_unique<LoraAdapter>(layer, config, matcher.rank_of(entry.name),
                                                 matcher.alpha_of(entry.name));
    init_parameters(*adapter, seed, entry.path + ".");
    adapter->reset_magnitude();
    adapter->for_each_parameter(
        [&](const std::string& name, Parameter& parameter) { train(name, parameter); },
        entry.name + ".");
    layer.set_adapter(std::move(adapter));
    added.layers_.emplace_back(entry.name, &layer);
    with_adapter.insert(&layer);
    transposed = transposed || layer.kind() == Kind::kTransposed;
    if (lists_embedding(config) &&
        (layer.kind() == Kind::kEmbedding || is_output_layer(entry.name)))
      added.base_embeddings_.emplace_back(kPrefix + entry.name + ".base_layer.weight",
                                          &layer.weight());
  }
  config.fan_in_fan_out = transposed;

  for (const std::string& ending : config.modules_to_save)
    check<UsageError>(
        std::any_of(modules.begin(), modules.end(),
                    [&](const NamedModule& entry) { return entry.name.ends_with(ending); }),
        "lora: modules_to_save \"{}\" matches no module; the nearest name is {}", ending,
        nearest_ending(ending, modules));
  for (const NamedModule& entry : modules)
    if (matcher.saves(entry.name))
      entry.module->for_each_parameter(
          [&](const std::string& name, Parameter& parameter) { train_in_full(name, parameter); },
          entry.name + ".");
  if (config.bias != "none")
    for (const NamedModule& entry : modules) {
      auto* layer = dynamic_cast<WeightLayer*>(entry.module);
      const bool adapted = with_adapter.contains(entry.module);
      if (config.bias == "lora_only" && !adapted) continue;
      // PEFT wraps an adapted layer; its bias is then one level deeper.
      if (layer && layer->bias())
        train_in_full(entry.name + (adapted ? ".base_layer.bias" : ".bias"), *layer->bias());
    }
  if (config.bias == "all")
    model.for_each_parameter([&](const std::string& path, Parameter& parameter) {
      if (path.ends_with(".bias") && !path.ends_with("lora_B.bias"))
        train_in_full(file_name ? file_name(path) : path, parameter);
    });
  return added;
}

std::vector<std::string> matching_layers(Module& model, const std::vector<std::string>& patterns) {
  const std::vector<NamedModule> modules = named_modules(model, {});
  std::set<std::string> paths;
  for (const std::string& asked : patterns) {
    const std::string pattern = asked == "all-linear" ? "*" : asked;
    const std::string last = pattern.substr(pattern.rfind('.') + 1);
    const bool named = last.find_first_not_of('*') != std::string::npos;
    bool used = false;
    std::string nearest = "none";
    for (const NamedModule& entry : modules) {
      auto* layer = dynamic_cast<WeightLayer*>(entry.module);
      if (!layer) continue;
      if (nearest == "none" || edit_distance(pattern, entry.path) < edit_distance(pattern, nearest))
        nearest = entry.path;
      if (!name_matches(pattern, entry.path)) continue;
      if (!named && (layer->kind() == Kind::kEmbedding || is_output_layer(entry.path))) continue;
      paths.insert(entry.path);
      used = true;
    }
    check<UsageError>(used, "lora: pattern \"{}\" matches no layer; the nearest name is {}", asked,
                      nearest);
  }
  check<UsageError>(!paths.empty(), "lora: there is no pattern of layers to adapt");
  return {paths.begin(), paths.end()};
}

Adapters add_lora(Module& model, const std::vector<std::string>& patterns, LoraConfig config,
                  uint64_t seed, const NameMap& file_name) {
  const std::vector<std::string> paths = matching_layers(model, patterns);
  config.targets = {};
  for (const NamedModule& entry : named_modules(model, file_name))
    if (std::binary_search(paths.begin(), paths.end(), entry.path))
      config.targets.list.push_back(entry.name);
  return add_lora(model, config, seed, file_name);
}

namespace {

// Modules that the tensors of an adapter file belong to.
std::set<std::string> adapted_in(const std::string& path) {
  std::set<std::string> modules;
  if (!fs::exists(path)) return modules;
  const std::string prefix = kPrefix;
  for (const std::string& name : CheckpointReader(path).names())
    if (const size_t at = name.find(".lora_"); at != std::string::npos && name.starts_with(prefix))
      modules.insert(name.substr(prefix.size(), at - prefix.size()));
  return modules;
}

}  // namespace

Adapters load_lora(Module& model, const std::string& folder, const std::vector<NameMap>& trees) {
  const LoraConfig config = load_lora_config(folder);
  const std::set<std::string> wanted = adapted_in(folder + "/adapter_model.safetensors");
  NameMap chosen = trees.empty() ? NameMap() : trees[0];
  for (const NameMap& tree : trees) {
    std::set<std::string> names;
    for (const NamedModule& entry : named_modules(model, tree)) names.insert(entry.name);
    if (!std::includes(names.begin(), names.end(), wanted.begin(), wanted.end())) continue;
    chosen = tree;
    break;
  }
  try {
    Adapters adapters = add_lora(model, config, 0, chosen, false);
    adapters.load(folder);
    return adapters;
  } catch (const UsageError& error) {
    fail<FormatError>("{}: {}", folder, error.what());
  }
}

std::vector<std::string> Adapters::modules() const {
  std::vector<std::string> names;
  for (const auto& [name, layer] : layers_) names.push_back(name);
  return names;
}

void Adapters::load(const std::string& folder) {
  const std::string path = folder + "/adapter_model.safetensors";
  if (!fs::exists(path) && fs::exists(folder + "/adapter_model.bin"))
    fail<FormatError>(
        "{}: has only adapter_model.bin; pickle files can run code and are not read, save the "
        "adapter "
        "with peft's save_pretrained(safe_serialization=True)",
        folder);
  const CheckpointReader file(path);
  std::vector<std::string> ignored;
  std::vector<std::pair<std::string, Parameter*>> wanted = parameters_;
  for (const auto& entry : base_embeddings_)
    if (file.contains(entry.first)) wanted.push_back(entry);
  for (const std::string& name : file.names()) {
    // With bias = "all" PEFT stores the biases of modules in full once more, and of what they
    // replace.
    if (name.find(".original_module.") != std::string::npos ||
        name.find(".modules_to_save.") != std::string::npos)
      ignored.push_back(name);
  }
  load_tensors(wanted, file, ignored);
}

void Adapters::save(const std::string& folder) const {
  make_folders(folder);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, parameter] : parameters_) tensors.emplace_back(name, parameter->value());
  for (const auto& [name, parameter] : base_embeddings_)
    tensors.emplace_back(name, parameter->value());
  write_file_atomic(folder + "/adapter_config.json", lora_config_json(config_));
  save_safetensors(folder + "/adapter_model.safetensors", tensors);
}

void Adapters::detach() {
  for (auto& [name, layer] : layers_) layer->set_adapter(nullptr);
  for (Parameter* parameter : kept_) parameter->forget_kept();
  layers_.clear();
  parameters_.clear();
  base_embeddings_.clear();
  kept_.clear();
}

void Adapters::merge() {
  for (auto& [name, layer] : layers_)
    check<UsageError>(!config_.lora_bias || layer->bias(),
                      "lora: {} has no bias that the adapter's bias could be folded into", name);
  for (auto& [name, layer] : layers_) static_cast<LoraAdapter*>(layer->adapter())->merge();
  detach();
}

void Adapters::forget_originals() {
  for (Parameter* parameter : kept_) parameter->forget_kept();
}

void Adapters::remove() {
  for (Parameter* parameter : kept_) parameter->exchange_kept();
  detach();
}

}  // namespace ocellus
