#include "vlm/key_layouts.h"

#include <map>
#include <memory>
#include <optional>

namespace ocellus {
namespace {

constexpr KeyRule kRules[] = {
    // Tied heads, stored once more.
    {"*ForCausalLM", "lm_head.weight", "model.embed_tokens.weight"},
    {"OPTForCausalLM", "lm_head.weight", "model.decoder.embed_tokens.weight"},
    {"GPT2LMHeadModel", "lm_head.weight", "transformer.wte.weight"},
    {"MptForCausalLM", "lm_head.weight", "transformer.wte.weight"},
    {"T5*", "encoder.embed_tokens.weight", "shared.weight"},
    {"T5*", "decoder.embed_tokens.weight", "shared.weight"},
    {"T5*", "lm_head.weight", "shared.weight"},
    {"MT5*", "encoder.embed_tokens.weight", "shared.weight"},
    {"MT5*", "decoder.embed_tokens.weight", "shared.weight"},
    {"BertForMaskedLM", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"},
    {"BertForMaskedLM", "cls.predictions.decoder.bias", "cls.predictions.bias"},
    // Files of the model without its head, and the reverse.
    {"GPT2LMHeadModel", "h.*", "transformer.h.*"},
    {"GPT2LMHeadModel", "w*.weight", "transformer.w*.weight"},
    {"GPT2LMHeadModel", "ln_f.*", "transformer.ln_f.*"},
    {"OPTForCausalLM", "decoder.*", "model.decoder.*"},
    {"MptForCausalLM", "blocks.*", "transformer.blocks.*"},
    {"MptForCausalLM", "w*.weight", "transformer.w*.weight"},
    {"MptForCausalLM", "norm_f.*", "transformer.norm_f.*"},
    {"BertModel", "bert.*", "*"},
    {"BertModel", "cls.*", ""},
    {"BertForMaskedLM", "embeddings.*", "bert.embeddings.*"},
    {"BertForMaskedLM", "encoder.*", "bert.encoder.*"},
    {"BertForMaskedLM", "bert.pooler.*", ""},
    {"BertForMaskedLM", "cls.seq_relationship.*", ""},
    {"Bert*", "*.gamma", "*.weight"},
    {"Bert*", "*.beta", "*.bias"},
    // Towers saved as part of a model, and the names that transformers 5 has for ViT in memory.
    {"CLIPTextModel", "text_model.*", "*"},
    {"CLIPVisionModel", "vision_model.*", "*"},
    {"SiglipTextModel", "text_model.*", "*"},
    {"SiglipVisionModel", "vision_model.*", "*"},
    {"ViTModel", "vit.*", "*"},
    {"ViTModel", "layers.*.attention.q_proj.*", "encoder.layer.*.attention.attention.query.*"},
    {"ViTModel", "layers.*.attention.k_proj.*", "encoder.layer.*.attention.attention.key.*"},
    {"ViTModel", "layers.*.attention.v_proj.*", "encoder.layer.*.attention.attention.value.*"},
    {"ViTModel", "layers.*.attention.o_proj.*", "encoder.layer.*.attention.output.dense.*"},
    {"ViTModel", "layers.*.mlp.fc1.*", "encoder.layer.*.intermediate.dense.*"},
    {"ViTModel", "layers.*.mlp.fc2.*", "encoder.layer.*.output.dense.*"},
    {"ViTModel", "layers.*", "encoder.layer.*"},
    {"Dinov2*", "encoder.layer.*.attention.q_proj.*",
     "encoder.layer.*.attention.attention.query.*"},
    {"Dinov2*", "encoder.layer.*.attention.k_proj.*", "encoder.layer.*.attention.attention.key.*"},
    {"Dinov2*", "encoder.layer.*.attention.v_proj.*",
     "encoder.layer.*.attention.attention.value.*"},
    {"Dinov2*", "encoder.layer.*.attention.o_proj.*", "encoder.layer.*.attention.output.dense.*"},
    // LLaVA: with the prefix of a whole CLIP or SigLIP; the names that transformers has in memory.
    {"Llava*", "vision_tower.vision_model.*", "vision_tower.*"},
    {"Llava*", "model.vision_tower.*", "vision_tower.*"},
    {"Llava*", "model.multi_modal_projector.*", "multi_modal_projector.*"},
    {"Llava*", "model.language_model.*", "language_model.model.*"},
    {"Llava*", "lm_head.weight", "language_model.lm_head.weight"},
    {"Llava*", "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"},
    // Buffers that earlier versions stored.
    {"GPT2LMHeadModel", "*h.*.attn.bias", ""},
    {"GPT2LMHeadModel", "*h.*.attn.masked_bias", ""},
    {"GPTNeoXForCausalLM", "*.attention.bias", ""},
    {"GPTNeoXForCausalLM", "*.attention.masked_bias", ""},
    {"*", "*.rotary_emb.inv_freq", ""},
    {"*", "*embeddings.position_ids", ""},
};

// What each `*` of the pattern stands for in `text` (the shortest runs), if it matches.
std::optional<std::vector<std::string>> match(const char* pattern, const std::string& text,
                                              size_t at = 0) {
  for (; *pattern && *pattern != '*'; ++pattern, ++at)
    if (at >= text.size() || text[at] != *pattern) return {};
  if (!*pattern)
    return at == text.size() ? std::optional(std::vector<std::string>()) : std::nullopt;
  for (size_t end = at; end <= text.size(); ++end)
    if (auto rest = match(pattern + 1, text, end)) {
      rest->insert(rest->begin(), text.substr(at, end - at));
      return rest;
    }
  return {};
}

std::string filled(const char* pattern, const std::vector<std::string>& runs) {
  std::string out;
  for (size_t n = 0; *pattern; ++pattern)
    if (*pattern == '*')
      out += n < runs.size() ? runs[n++] : "";
    else
      out += *pattern;
  return out;
}

// The parameter that `name` stands for; empty: none and to be ignored; nothing: unknown.
std::optional<std::string> meaning(const std::string& architecture,
                                   const std::set<std::string>& parameters, const std::string& name,
                                   int rules_left = 3) {
  if (parameters.contains(name)) return name;
  if (rules_left == 0) return {};
  for (const KeyRule& rule : kRules) {
    if (!match(rule.architecture, architecture)) continue;
    const auto runs = match(rule.file, name);
    if (!runs) continue;
    if (!*rule.here) return "";
    if (auto found = meaning(architecture, parameters, filled(rule.here, *runs), rules_left - 1))
      return found;
  }
  return {};
}

}  // namespace

KeyLayout key_layout(const std::string& architecture, const std::set<std::string>& parameters,
                     const std::vector<std::string>& names) {
  auto file_of = std::make_shared<std::map<std::string, std::string>>();
  KeyLayout layout;
  for (const std::string& name : names)
    if (parameters.contains(name)) (*file_of)[name] = name;
  for (const std::string& name : names) {
    if (parameters.contains(name)) continue;
    const auto parameter = meaning(architecture, parameters, name);
    if (!parameter) continue;
    if (parameter->empty() || !file_of->emplace(*parameter, name).second)
      layout.ignored.push_back(name);
  }
  layout.file_name = [file_of](const std::string& name) {
    auto found = file_of->find(name);
    return found == file_of->end() ? name : found->second;
  };
  return layout;
}

}  // namespace ocellus
