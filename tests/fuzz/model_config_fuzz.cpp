// Fuzz target: config.json. Any bytes either are refused with a FormatError or give configs,
// whichever part of a model they are read for.
// needs: vlm/config.cpp vlm/decoder_config.cpp engine/file.cpp engine/json.cpp
#include <cstdint>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/json.h"
#include "vlm/config.h"

using namespace ocellus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  nlohmann::json config;
  try {
    config = parse_json({reinterpret_cast<const char*>(bytes), size}, "config.json");
  } catch (const FormatError&) {
    return 0;
  }
  const auto attempt = [&](auto&& read) {
    try {
      read(config, "config.json");
    } catch (const FormatError&) {
    }
  };
  attempt(read_decoder_config);
  attempt(read_vision_config);
  attempt(read_text_encoder_config);
  for (const char* part : {"text_config", "vision_config"})
    if (config.is_object() && config.contains(part)) {
      config = nlohmann::json(config[part]);
      attempt(read_decoder_config);
      attempt(read_vision_config);
      attempt(read_text_encoder_config);
      break;
    }
  return 0;
}
