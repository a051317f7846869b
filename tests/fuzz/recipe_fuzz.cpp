// Fuzz target: recipes. Any text either is refused with a FormatError or UsageError, or resolves to a
// recipe whose written form reads back to itself. The bytes after a line "%%" are --set arguments, one
// a line.
// needs: vlm/recipe.cpp vlm/recipe_keys.cpp vlm/recipe_text.cpp engine/file.cpp engine/json.cpp
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/check.h"
#include "vlm/recipe.h"

using namespace ocellus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string text(reinterpret_cast<const char*>(bytes), size);
  std::vector<std::string> settings;
  if (const size_t mark = text.find("%%\n"); mark != std::string::npos) {
    std::string line;
    for (const char c : text.substr(mark + 3)) {
      if (c != '\n') {
        line += c;
        continue;
      }
      settings.push_back(line);
      line.clear();
    }
    if (!line.empty()) settings.push_back(line);
    text.resize(mark);
  }
  try {
    const Recipe recipe = parse_recipe(text, "recipe.toml", settings);
    if (!(parse_recipe(to_toml(recipe), "resolved.toml") == recipe)) std::abort();
  } catch (const FormatError&) {
  } catch (const UsageError&) {
  }
  return 0;
}
