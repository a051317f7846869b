// Fuzz target: adapter_config.json. Any bytes either are refused with a FormatError, or give a
// config whose written form reads back to itself, and that matches names without crashing.
// needs: nn/lora_config.cpp nn/lora_match.cpp engine/file.cpp engine/json.cpp
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/check.h"
#include "nn/lora_config.h"

using namespace ocellus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    const LoraConfig config =
        parse_lora_config({reinterpret_cast<const char*>(bytes), size}, "adapter_config.json");
    const std::string text = lora_config_json(config);
    if (lora_config_json(parse_lora_config(text, "again")) != text) std::abort();
    const LoraMatcher matcher(config);
    for (const char* name :
         {"model.layers.10.self_attn.q_proj", "lm_head", "a.h.1.mlp.experts.0.fc"}) {
      matcher.targets(name);
      matcher.saves(name);
      if (matcher.rank_of(name) < 1) std::abort();
      matcher.alpha_of(name);
    }
  } catch (const FormatError&) {
  }
  return 0;
}
