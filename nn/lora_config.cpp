#include "nn/lora_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {
namespace {

using nlohmann::ordered_json;

// Keys that say nothing about what the adapter computes once its weights are known.
const std::set<std::string> kHarmless = {
    "auto_mapping", "corda_config",   "eva_config",       "inference_mode", "kasa_config",
    "loftq_config", "lora_ga_config", "megatron_config",  "megatron_core",  "peft_version",
    "revision",     "runtime_config", "qalora_group_size"};

bool is_off(const ordered_json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty()) ||
         value == "";
}

// One key at a time, with the file and the key in every complaint.
class Reader {
 public:
  Reader(const ordered_json& root, const std::string& who) : root_(root), who_(who) {}

  bool flag(const char* key) {
    const ordered_json* value = find(key);
    if (!value) return false;
    need(value->is_boolean(), key, "true or false");
    return value->get<bool>();
  }
  std::string text(const char* key, const std::string& fallback) {
    const ordered_json* value = find(key);
    if (!value) return fallback;
    need(value->is_string(), key, "a string");
    return value->get<std::string>();
  }
  double number(const char* key, double fallback, double least, double most) {
    const ordered_json* value = find(key);
    return value ? checked_number(*value, key, least, most) : fallback;
  }
  int64_t integer(const char* key, int64_t fallback, int64_t least, int64_t most) {
    const ordered_json* value = find(key);
    return value ? checked_integer(*value, key, least, most) : fallback;
  }
  std::vector<std::string> strings(const char* key) {
    const ordered_json* value = find(key);
    if (!value) return {};
    if (value->is_string()) return {value->get<std::string>()};
    need(value->is_array(), key, "a list of strings");
    std::vector<std::string> list;
    for (const ordered_json& entry : *value) {
      need(entry.is_string() && entry != "", key, "a list of strings");
      list.push_back(entry.get<std::string>());
    }
    return list;
  }
  std::vector<int64_t> integers(const char* key) {
    const ordered_json* value = find(key);
    if (!value) return {};
    if (value->is_number_integer()) return {checked_integer(*value, key, 0, 1 << 20)};
    need(value->is_array(), key, "a list of layer numbers");
    std::vector<int64_t> list;
    for (const ordered_json& entry : *value)
      list.push_back(checked_integer(entry, key, 0, 1 << 20));
    return list;
  }
  ModuleChoice choice(const char* key) {
    ModuleChoice choice;
    const ordered_json* value = find(key);
    if (value && value->is_string())
      choice.regex = value->get<std::string>();
    else
      choice.list = strings(key);
    return choice;
  }
  template <class Value, class Read>
  std::vector<std::pair<std::string, Value>> pattern(const char* key, Read read) {
    std::vector<std::pair<std::string, Value>> list;
    const ordered_json* value = find(key);
    if (!value) return list;
    need(value->is_object(), key, "an object of numbers by name");
    for (const auto& [name, entry] : value->items()) list.emplace_back(name, read(entry));
    return list;
  }
  double checked_number(const ordered_json& value, const char* key, double least, double most) {
    need(value.is_number() && value.get<double>() >= least && value.get<double>() <= most, key,
         fmt::format("a number from {} to {}", least, most));
    return value.get<double>();
  }
  int64_t checked_integer(const ordered_json& value, const char* key, int64_t least, int64_t most) {
    need(value.is_number_integer() && value.get<int64_t>() >= least && value.get<int64_t>() <= most,
         key, fmt::format("a whole number from {} to {}", least, most));
    return value.get<int64_t>();
  }
  const ordered_json* find(const char* key) {
    seen_.insert(key);
    auto found = root_.find(key);
    return found == root_.end() || found->is_null() ? nullptr : &*found;
  }
  void need(bool holds, const char* key, const std::string& what) const {
    check<FormatError>(holds, "{}: {} must be {}, got {}", who_, key, what, root_[key].dump());
  }
  void refuse_the_rest() const {
    for (const auto& [key, value] : root_.items())
      check<FormatError>(seen_.contains(key) || kHarmless.contains(key) || is_off(value),
                         "{}: {} = {} is not supported", who_, key, value.dump());
  }

 private:
  const ordered_json& root_;
  const std::string& who_;
  std::set<std::string> seen_;
};

std::string read_init(Reader& reader, const std::string& who) {
  const ordered_json* value = reader.find("init_lora_weights");
  if (!value || *value == true) return "default";
  if (*value == false) return "random";
  if (*value == "gaussian" || *value == "orthogonal") return value->get<std::string>();
  fail<FormatError>(
      "{}: init_lora_weights {} changes the base weights at the start; convert the adapter with "
      "peft's save_pretrained(path_initial_model_for_weight_conversion=…)",
      who, value->dump());
}

constexpr int64_t kMaxLoraRank = 1 << 20;

}  // namespace

LoraConfig parse_lora_config(std::string_view text, const std::string& who) {
  parse_json(text, who);  // duplicate keys, depth, UTF-8; below, the order of keys counts
  const ordered_json root = ordered_json::parse(text);
  check<FormatError>(root.is_object(), "{}: must be an object", who);
  Reader reader(root, who);
  const std::string type = reader.text("peft_type", "");
  check<FormatError>(type == "LORA", "{}: peft_type must be \"LORA\", got \"{}\"", who, type);
  LoraConfig c;
  c.rank = reader.integer("r", 8, 1, kMaxLoraRank);
  c.alpha = reader.number("lora_alpha", 8, -1e9, 1e9);
  c.dropout = reader.number("lora_dropout", 0, 0, 1);
  c.rslora = reader.flag("use_rslora");
  c.dora = reader.flag("use_dora");
  c.lora_bias = reader.flag("lora_bias");
  c.fan_in_fan_out = reader.flag("fan_in_fan_out");
  c.bias = reader.text("bias", "none");
  check<FormatError>(c.bias == "none" || c.bias == "all" || c.bias == "lora_only",
                     "{}: bias must be none, all or lora_only, got \"{}\"", who, c.bias);
  c.init = read_init(reader, who);
  c.targets = reader.choice("target_modules");
  c.exclude = reader.choice("exclude_modules");
  c.modules_to_save = reader.strings("modules_to_save");
  c.layers_to_transform = reader.integers("layers_to_transform");
  c.layers_pattern = reader.strings("layers_pattern");
  c.rank_pattern = reader.pattern<int64_t>("rank_pattern", [&](const ordered_json& value) {
    return reader.checked_integer(value, "rank_pattern", 1, kMaxLoraRank);
  });
  c.alpha_pattern = reader.pattern<double>("alpha_pattern", [&](const ordered_json& value) {
    return reader.checked_number(value, "alpha_pattern", -1e9, 1e9);
  });
  c.task_type = reader.text("task_type", "");
  c.base_model = reader.text("base_model_name_or_path", "");
  reader.refuse_the_rest();
  check<FormatError>(!c.targets.empty(), "{}: target_modules is missing or empty", who);
  check<FormatError>(!(c.dora && c.lora_bias), "{}: use_dora and lora_bias exclude each other",
                     who);
  return c;
}

LoraConfig load_lora_config(const std::string& folder) {
  const std::string path = folder + "/adapter_config.json";
  return parse_lora_config(read_file(path, 1 << 26), path);
}

std::string lora_config_json(const LoraConfig& c) {
  auto text_or_null = [](const std::string& text) {
    return text.empty() ? ordered_json() : ordered_json(text);
  };
  auto list_or_null = [](const auto& list) {
    return list.empty() ? ordered_json() : ordered_json(list);
  };
  auto choice = [&](const ModuleChoice& chosen) {
    return chosen.regex.empty() ? list_or_null(chosen.list) : ordered_json(chosen.regex);
  };
  auto pattern = [](const auto& entries) {
    ordered_json object = ordered_json::object();
    for (const auto& [name, value] : entries) object[name] = value;
    return object;
  };
  // Whole numbers are written as such: PEFT declares lora_alpha an integer.
  auto number = [](double value) {
    return value == std::floor(value) ? ordered_json(static_cast<int64_t>(value))
                                      : ordered_json(value);
  };
  ordered_json alphas = ordered_json::object();
  for (const auto& [name, value] : c.alpha_pattern) alphas[name] = number(value);
  const ordered_json root = {{"alpha_pattern", alphas},
                             {"auto_mapping", nullptr},
                             {"base_model_name_or_path", text_or_null(c.base_model)},
                             {"bias", c.bias},
                             {"exclude_modules", choice(c.exclude)},
                             {"fan_in_fan_out", c.fan_in_fan_out},
                             {"inference_mode", true},
                             {"init_lora_weights", c.init == "default"  ? ordered_json(true)
                                                   : c.init == "random" ? ordered_json(false)
                                                                        : ordered_json(c.init)},
                             {"layer_replication", nullptr},
                             {"layers_pattern", list_or_null(c.layers_pattern)},
                             {"layers_to_transform", list_or_null(c.layers_to_transform)},
                             {"loftq_config", ordered_json::object()},
                             {"lora_alpha", number(c.alpha)},
                             {"lora_bias", c.lora_bias},
                             {"lora_dropout", c.dropout},
                             {"megatron_config", nullptr},
                             {"megatron_core", "megatron.core"},
                             {"modules_to_save", list_or_null(c.modules_to_save)},
                             {"peft_type", "LORA"},
                             {"r", c.rank},
                             {"rank_pattern", pattern(c.rank_pattern)},
                             {"revision", nullptr},
                             {"target_modules", choice(c.targets)},
                             {"task_type", text_or_null(c.task_type)},
                             {"use_dora", c.dora},
                             {"use_rslora", c.rslora}};
  return root.dump(2) + "\n";
}

}  // namespace ocellus
