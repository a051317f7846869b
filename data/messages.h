// A conversation as data: roles, and typed parts. An image slot is a part, never a piece of text, so
// that a literal "<image>" typed by a user stays text.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace ocellus {

struct Part {
  enum class Kind : uint8_t { kText, kImage, kVideo };
  Kind kind = Kind::kText;
  std::string text;  // the text; of an image or video the path as written (may be empty inside a shard)
};

struct Message {
  std::string role;  // "system", "user", "assistant"; others ("tool") as the chat template knows them
  std::vector<Part> parts;
  std::string more = {};  // other keys (tool_calls, name …) as a JSON object for the template; empty: none
};

/// The message has calls of tools among its other keys.
inline bool calls_tools(const Message& message) {
  return message.more.find("\"tool_calls\":") != std::string::npos;
}

/// Conversation — one training or evaluation sample before any pixel is read.
struct Conversation {
  std::string id;      // unique inside its source, e.g. "000123/4"
  std::string source;  // what evaluation groups by: the record's "source", else the source's name
  std::string where;   // for messages: "train-000.tar: 000123.jsonl line 5"
  std::vector<Message> messages;
  std::string tools = {};  // "tools" of the record, JSON for the template; empty: none
};

}  // namespace ocellus
