#include "vlm/decoder_families.h"

#include <iterator>

namespace ocellus {
namespace {

constexpr DecoderNames kLlamaNames = {
    .embed = "model.embed_tokens", .positions = nullptr, .layers = "model.layers.",
    .final_norm = "model.norm", .head = "lm_head",
    .norm1 = "input_layernorm", .attention = "self_attn",
    .q = "q_proj", .k = "k_proj", .v = "v_proj", .out = "o_proj",
    .norm2 = "post_attention_layernorm", .mlp = "mlp",
    .gate = "gate_proj", .up = "up_proj", .down = "down_proj"};

constexpr DecoderNames kSandwichNames = {
    .embed = "model.embed_tokens", .positions = nullptr, .layers = "model.layers.",
    .final_norm = "model.norm", .head = "lm_head",
    .norm1 = "input_layernorm", .attention = "self_attn",
    .q = "q_proj", .k = "k_proj", .v = "v_proj", .out = "o_proj",
    .norm2 = "pre_feedforward_layernorm", .mlp = "mlp",
    .gate = "gate_proj", .up = "up_proj", .down = "down_proj",
    .attention_norm = "post_attention_layernorm", .mlp_norm = "post_feedforward_layernorm"};

constexpr DecoderNames kGpt2Names = {
    .embed = "transformer.wte", .positions = "transformer.wpe", .layers = "transformer.h.",
    .final_norm = "transformer.ln_f", .head = "lm_head",
    .norm1 = "ln_1", .attention = "attn",
    .q = "c_attn", .k = nullptr, .v = nullptr, .out = "c_proj",
    .norm2 = "ln_2", .mlp = "mlp", .gate = nullptr, .up = "c_fc", .down = "c_proj"};

constexpr DecoderNames kGptNeoxNames = {
    .embed = "gpt_neox.embed_in", .positions = nullptr, .layers = "gpt_neox.layers.",
    .final_norm = "gpt_neox.final_layer_norm", .head = "embed_out",
    .norm1 = "input_layernorm", .attention = "attention",
    .q = "query_key_value", .k = nullptr, .v = nullptr, .out = "dense",
    .norm2 = "post_attention_layernorm", .mlp = "mlp",
    .gate = nullptr, .up = "dense_h_to_4h", .down = "dense_4h_to_h"};

constexpr DecoderNames kOptNames = {
    .embed = "model.decoder.embed_tokens", .positions = "model.decoder.embed_positions",
    .layers = "model.decoder.layers.", .final_norm = "model.decoder.final_layer_norm",
    .head = "lm_head",
    .norm1 = "self_attn_layer_norm", .attention = "self_attn",
    .q = "q_proj", .k = "k_proj", .v = "v_proj", .out = "out_proj",
    .norm2 = "final_layer_norm", .mlp = "", .gate = nullptr, .up = "fc1", .down = "fc2"};

constexpr DecoderNames kMptNames = {
    .embed = "transformer.wte", .positions = nullptr, .layers = "transformer.blocks.",
    .final_norm = "transformer.norm_f", .head = "lm_head",
    .norm1 = "norm_1", .attention = "attn",
    .q = "Wqkv", .k = nullptr, .v = nullptr, .out = "out_proj",
    .norm2 = "norm_2", .mlp = "ffn", .gate = nullptr, .up = "up_proj", .down = "down_proj"};

constexpr DecoderFamily kFamilies[] = {
    {"llama", "LlamaForCausalLM", kLlamaNames},
    {"mistral", "MistralForCausalLM", kLlamaNames},
    {"qwen2", "Qwen2ForCausalLM", kLlamaNames},
    {.model_type = "qwen3", .architecture = "Qwen3ForCausalLM", .names = kLlamaNames, .qk_norm = true},
    {"gemma", "GemmaForCausalLM", kLlamaNames, NormKind::kRmsPlusOne},
    {"gemma2", "Gemma2ForCausalLM", kSandwichNames, NormKind::kRmsPlusOne},
    {.model_type = "gemma3_text", .architecture = "Gemma3ForCausalLM", .names = kSandwichNames,
     .norm = NormKind::kRmsPlusOne, .qk_norm = true},
    {.model_type = "gpt2", .architecture = "GPT2LMHeadModel", .names = kGpt2Names,
     .norm = NormKind::kLayer, .positions = PositionKind::kLearned,
     .fused = FusedQkv::kConcatenated, .transposed = true},
    {.model_type = "gpt_neox", .architecture = "GPTNeoXForCausalLM", .names = kGptNeoxNames,
     .norm = NormKind::kLayer, .fused = FusedQkv::kPerHead},
    {.model_type = "opt", .architecture = "OPTForCausalLM", .names = kOptNames,
     .norm = NormKind::kLayer, .positions = PositionKind::kLearned, .mask_positions = true,
     .position_offset = 2},
    {.model_type = "mpt", .architecture = "MptForCausalLM", .names = kMptNames,
     .norm = NormKind::kLayerNoBias, .positions = PositionKind::kAlibi,
     .fused = FusedQkv::kConcatenated},
};

}  // namespace

const DecoderFamily* DecoderFamilies::begin() const { return std::begin(kFamilies); }
const DecoderFamily* DecoderFamilies::end() const { return std::end(kFamilies); }

const DecoderFamily& decoder_family(const std::string& model_type, const std::string& who) {
  std::string known;
  for (const DecoderFamily& family : kFamilies) {
    if (model_type == family.model_type) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  fail<FormatError>("{}: model_type \"{}\" is not one of {}", who, model_type, known);
}

}  // namespace ocellus
