// Fuzz target: tokenizer.json, tiktoken files and texts. The input is a file and, after a zero
// byte, texts to encode. A file is refused with a FormatError or UsageError, or gives a tokenizer
// whose ids lie inside its vocabulary, whose decode() of them is UTF-8, and whose stream adds up to
// as much.
// needs: data/tokenizer*.cpp data/bpe*.cpp data/pretokenizer*.cpp data/unicode*.cpp engine/file.cpp
// needs: engine/json.cpp engine/parallel.cpp
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "data/tokenizer.h"
#include "data/unicode.h"
#include "engine/check.h"

using namespace ocellus;

namespace {

void use(const Tokenizer& t, std::string_view text) {
  std::vector<int32_t> ids;
  try {
    ids = t.encode(text);
    t.encode(text, false, false);
  } catch (const FormatError&) {
    return;  // no unknown token, or a pattern that needs too many steps
  }
  try {
    if (!unicode::is_valid_utf8(t.decode(ids, false))) std::abort();
    StreamDecoder stream(t);
    for (int32_t id : ids)
      if (!unicode::is_valid_utf8(stream.push(id))) std::abort();
    stream.finish();
  } catch (const FormatError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const size_t zero = std::min(input.find('\0'), input.size());
  const std::string_view file = input.substr(0, zero);
  std::string_view text = input.substr(std::min(zero + 1, size));
  text = text.substr(0, 2000);
  try {
    const Tokenizer t = Tokenizer::from_json(file, "fuzz");
    use(t, text);
    use(t, "the red  shape\n<s> é中🙂 don't 123 ▁a");
    Tokenizer::from_json(t.to_json(), "fuzz");
  } catch (const FormatError&) {
  }
  if (file.starts_with('{')) return 0;
  try {
    const std::string pattern(text.substr(0, 200));
    const Tokenizer t = Tokenizer::from_tiktoken(file, "fuzz", {pattern, {{"<s>", 70000}}});
    use(t, text);
    use(Tokenizer::from_json(t.to_json(), "fuzz"), text);
  } catch (const FormatError&) {
  }
  return 0;
}
