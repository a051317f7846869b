// Fuzz target: chat templates. The input is a template and, after a zero byte, the JSON of its
// variables (else a small conversation). It is refused with a FormatError, or gives UTF-8 whose
// marks lie inside.
// needs: data/jinja/*.cpp data/unicode*.cpp engine/file.cpp engine/json.cpp
#include <cstdint>
#include <cstdlib>
#include <string>

#include "data/jinja/template.h"
#include "data/unicode.h"

using namespace ocellus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string context =
      zero != std::string::npos
          ? input.substr(zero + 1)
          : R"({"messages": [{"role": "user", "content": "Hé"}, {"role": "assistant", "content": [{"type": "text", "text": "A b"}]}],
               "tools": [{"name": "f", "p": {"x": 1.5}}], "n": 3, "s": "a,b", "l": [3, 1, 2], "d": {"k": null}})";
  try {
    const jinja::Template source(input.substr(0, zero), "fuzz");
    const jinja::Value variables = jinja::from_json(context, "context");
    if (!variables.is(jinja::Value::Kind::kDict)) return 0;
    jinja::RenderOptions options;
    options.now = 1720526400;
    options.budget.steps = 1 << 18;
    options.budget.string_bytes = 1 << 20;
    const jinja::String text = source.render(variables, options);
    if (!unicode::is_valid_utf8(text.text)) std::abort();
    for (const jinja::Mark& mark : text.marks)
      if (mark.begin > mark.end || mark.end > text.text.size()) std::abort();
  } catch (const FormatError&) {
  }
  return 0;
}
