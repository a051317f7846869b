#include "vlm/key_layouts.h"

#include <doctest/doctest.h>

using namespace ocellus;

TEST_CASE("key_layout: files without the prefix of the body, and masks that are no parameters") {
  const std::set<std::string> ours = {"transformer.wte.weight", "transformer.h.0.attn.c_attn.bias"};
  const KeyLayout layout =
      key_layout("GPT2LMHeadModel", ours, {"wte.weight", "h.0.attn.c_attn.bias", "h.0.attn.bias"});
  CHECK(layout.file_name("transformer.wte.weight") == "wte.weight");
  CHECK(layout.file_name("transformer.h.0.attn.c_attn.bias") == "h.0.attn.c_attn.bias");
  CHECK(layout.ignored == std::vector<std::string>{"h.0.attn.bias"});
}

TEST_CASE("key_layout: a tied table stored again is ignored, an own head is not") {
  const std::vector<std::string> names = {"lm_head.weight", "model.embed_tokens.weight"};
  CHECK(key_layout("LlamaForCausalLM", {"model.embed_tokens.weight"}, names).ignored ==
        std::vector<std::string>{"lm_head.weight"});
  const auto untied =
      key_layout("LlamaForCausalLM", {"model.embed_tokens.weight", "lm_head.weight"}, names);
  CHECK(untied.ignored.empty());
  CHECK(untied.file_name("lm_head.weight") == "lm_head.weight");
}

TEST_CASE("key_layout: a tied table stored under the head's name alone is found") {
  const KeyLayout layout =
      key_layout("LlamaForCausalLM", {"model.embed_tokens.weight"}, {"lm_head.weight"});
  CHECK(layout.file_name("model.embed_tokens.weight") == "lm_head.weight");
  CHECK(layout.ignored.empty());
}

TEST_CASE("key_layout: rules combine") {
  const KeyLayout layout =
      key_layout("BertModel", {"embeddings.LayerNorm.weight"}, {"bert.embeddings.LayerNorm.gamma"});
  CHECK(layout.file_name("embeddings.LayerNorm.weight") == "bert.embeddings.LayerNorm.gamma");
}

TEST_CASE("key_layout: LLaVA's names of public files, and those in memory") {
  const std::set<std::string> ours = {"vision_tower.pre_layrnorm.weight",
                                      "language_model.model.norm.weight",
                                      "language_model.lm_head.weight"};
  const KeyLayout hub =
      key_layout("LlavaForConditionalGeneration", ours,
                 {"vision_tower.vision_model.pre_layrnorm.weight",
                  "language_model.model.norm.weight", "language_model.lm_head.weight"});
  CHECK(hub.file_name("vision_tower.pre_layrnorm.weight") ==
        "vision_tower.vision_model.pre_layrnorm.weight");
  const KeyLayout memory = key_layout("LlavaForConditionalGeneration", ours,
                                      {"model.vision_tower.vision_model.pre_layrnorm.weight",
                                       "model.language_model.norm.weight", "lm_head.weight"});
  CHECK(memory.file_name("vision_tower.pre_layrnorm.weight") ==
        "model.vision_tower.vision_model.pre_layrnorm.weight");
  CHECK(memory.file_name("language_model.model.norm.weight") == "model.language_model.norm.weight");
  CHECK(memory.file_name("language_model.lm_head.weight") == "lm_head.weight");
}

TEST_CASE("key_layout: names that no rule explains stay as they are") {
  const KeyLayout layout =
      key_layout("LlamaForCausalLM", {"model.norm.weight"}, {"model.nrom.weight"});
  CHECK(layout.ignored.empty());
  CHECK(layout.file_name("model.norm.weight") == "model.norm.weight");
}
