// adapter_config.json of PEFT: which modules carry an adapter, and of what kind.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ocellus {

/// ModuleChoice — modules by name: a list of names or endings ("q_proj" chooses "layers.0.q_proj"),
/// or one regular expression over the whole name.
struct ModuleChoice {
  std::vector<std::string> list;
  std::string regex;  // "all-linear": every linear layer but the output layer
  bool empty() const { return list.empty() && regex.empty(); }
};

/// LoraConfig — PEFT's LoraConfig; its names in comments.  Hu et al. 2021, arXiv:2106.09685;
/// rsLoRA: Kalajdzievski 2023, arXiv:2312.03732; DoRA: Liu et al. 2024, arXiv:2402.09353.
struct LoraConfig {
  int64_t rank = 8;              // r
  double alpha = 8;              // lora_alpha: the change is scaled by alpha/rank
  double dropout = 0;            // lora_dropout, on the adapter's input
  bool rslora = false;           // use_rslora: alpha/√rank
  bool dora = false;             // use_dora: a trained length for every row of the changed weight
  bool lora_bias = false;        // a bias behind B
  std::string bias = "none";     // biases of the base that are trained too: none | all | lora_only
  std::string init = "default";  // init_lora_weights: default (true) | random (false) | gaussian
  ModuleChoice targets = {};     // target_modules
  ModuleChoice exclude = {};     // exclude_modules
  std::vector<std::string> modules_to_save = {};  // endings of modules that are trained in full
  std::vector<int64_t> layers_to_transform = {};
  std::vector<std::string> layers_pattern = {};
  std::vector<std::pair<std::string, int64_t>> rank_pattern =
      {};  // by ending or expression, first match
  std::vector<std::pair<std::string, double>> alpha_pattern = {};
  bool fan_in_fan_out = false;  // written for transposed weights; the layer itself says what it is
  std::string task_type = {};   // "CAUSAL_LM"
  std::string base_model = {};  // base_model_name_or_path
};

/// parse_lora_config — the text of adapter_config.json. FormatError naming `who` and the key for
/// what is no LoRA, not understood, or would change the base weights (PiSSA, OLoRA, LoftQ …).
LoraConfig parse_lora_config(std::string_view text, const std::string& who);
LoraConfig load_lora_config(const std::string& adapter_folder);

/// lora_config_json — the text of adapter_config.json, with every key that PEFT writes.
std::string lora_config_json(const LoraConfig& config);

/// PythonPattern — a regular expression as Python's `re` reads it, over whole names.
class PythonPattern {
 public:
  /// FormatError naming `who` and the place in the expression.
  PythonPattern(const std::string& expression, const std::string& who);
  ~PythonPattern();
  PythonPattern(PythonPattern&&) noexcept;
  /// re.fullmatch. FormatError if it takes more steps than any name is worth.
  bool matches(const std::string& name) const;
  /// The first group of a match at the beginning of `name`, or "".
  std::string first_group(const std::string& name) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

/// LoraMatcher — the rules by which a LoraConfig chooses modules.
class LoraMatcher {
 public:
  explicit LoraMatcher(const LoraConfig& config, const std::string& who = "lora");
  /// True if the module `name` is to carry an adapter.
  bool targets(const std::string& name) const;
  /// True if it is trained in full.
  bool saves(const std::string& name) const;
  int64_t rank_of(const std::string& name) const;
  double alpha_of(const std::string& name) const;

 private:
  bool in_chosen_layer(const std::string& name) const;
  const LoraConfig& config_;
  std::vector<PythonPattern> target_, exclude_, saved_, layers_, ranks_, alphas_;
};

}  // namespace ocellus
