#include "vlm/module_names.h"

#include <vector>

namespace ocellus {
namespace {

// `file` becomes `module`, anywhere in a name or, after `^`, at its beginning; all rules of a class
// (by the beginning of its name), one after the other.
struct ModuleRule {
  const char *architecture, *file, *module;
};
constexpr ModuleRule kRules[] = {
    {"ViT", "encoder.layer.", "layers."},
    {"ViT", ".attention.attention.query.", ".attention.q_proj."},
    {"ViT", ".attention.attention.key.", ".attention.k_proj."},
    {"ViT", ".attention.attention.value.", ".attention.v_proj."},
    {"ViT", ".attention.output.dense.", ".attention.o_proj."},
    {"ViT", ".intermediate.dense.", ".mlp.fc1."},
    {"ViT", ".output.dense.", ".mlp.fc2."},
    {"Dinov2", ".attention.attention.query.", ".attention.q_proj."},
    {"Dinov2", ".attention.attention.key.", ".attention.k_proj."},
    {"Dinov2", ".attention.attention.value.", ".attention.v_proj."},
    {"Dinov2", ".attention.output.dense.", ".attention.o_proj."},
    {"Dinov2", ".mlp.weights_out.", ".mlp.down_proj."},
    {"GPTNeoX", "^embed_out.", "lm_head."},
    {"Llava", "^language_model.lm_head.", "lm_head."},
    {"Llava", "^language_model.model.", "model.language_model."},
    {"Llava", "^vision_tower.", "model.vision_tower."},
    {"Llava", "^multi_modal_projector.", "model.multi_modal_projector."},
    {"Llava", "^image_newline", "model.image_newline"},
    {"PaliGemma", "^language_model.model.", "model.language_model."},
    {"PaliGemma", "^vision_tower.", "model.vision_tower."},
    {"PaliGemma", "^multi_modal_projector.", "model.multi_modal_projector."},
    {"Qwen2VL", "^model.", "model.language_model."},
    {"Qwen2VL", "^visual.", "model.visual."},
};

void apply(const ModuleRule& rule, std::string& name) {
  const bool anchored = rule.file[0] == '^';
  const std::string file = rule.file + anchored;
  const size_t at = name.find(file);
  if (at == std::string::npos || (anchored && at != 0)) return;
  name.replace(at, file.size(), rule.module);
}

}  // namespace

NameMap module_names(const std::string& architecture) {
  std::vector<ModuleRule> rules;
  for (const ModuleRule& rule : kRules)
    if (architecture.starts_with(rule.architecture)) rules.push_back(rule);
  if (rules.empty()) return {};
  return [rules](const std::string& file_name) {
    std::string name = file_name;
    for (const ModuleRule& rule : rules) apply(rule, name);
    return name;
  };
}

}  // namespace ocellus
