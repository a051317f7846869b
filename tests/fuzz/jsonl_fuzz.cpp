// Fuzz target: lines of JSONL and rows of CSV. Any line either is refused with a FormatError or is
// a conversation whose image slots and images agree; the quick look at "source" equals the
// parser's.
// needs: data/records.cpp data/csv.cpp engine/file.cpp engine/json.cpp data/unicode.cpp
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "data/csv.h"
#include "data/records.h"
#include "engine/check.h"
#include "engine/json.h"

using namespace ocellus;

namespace {

void read_line(std::string_view line) {
  const nlohmann::json record = parse_json(line, "fuzz.jsonl");
  std::string source;
  if (record.is_object() && record.contains("source") && record["source"].is_string())
    source = record["source"];
  if (top_level_string(line, "source") != source) std::abort();
  Conversation conversation = conversation_of(
      record, {.where = "fuzz.jsonl line 1", .id = "1", .default_source = "", .need_answer = true});
  if (conversation.source != source) std::abort();
  place_images(conversation, 1);
  if (image_parts(conversation).size() != 1) std::abort();
  path_inside("folder", image_parts(conversation)[0]->text, "fuzz");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const TextLine& line : lines_of(text, "fuzz.jsonl")) {
    const std::string_view content = text.substr(line.begin, line.length);
    top_level_string(content, "source");  // must hold for text that is not JSON, too
    try {
      read_line(content);
    } catch (const FormatError&) {
    }
  }
  try {
    parse_csv(text, "fuzz.csv");
  } catch (const FormatError&) {
  }
  return 0;
}
