// Records: lines of JSON that hold a conversation, in messages or LLaVA form, and the paths they
// name.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace ocellus {

/// A line of text that is not blank: `number` counts from 1, blank lines included.
struct TextLine {
  uint64_t begin;
  uint32_t length, number;
};

/// lines_of — where the lines of `text` are; a byte order mark and "\r" before "\n" are left out.
std::vector<TextLine> lines_of(std::string_view text, const std::string& who);

/// trimmed — `text` without white space at its ends.
std::string_view trimmed(std::string_view text);

/// top_level_string — the string value of `key` in the JSON object `text`, found without parsing
/// the rest; empty if it is not there, or if `text` is not JSON.
std::string top_level_string(std::string_view text, std::string_view key);

/// What the surroundings of a record say.
struct RecordContext {
  std::string where;           // begins every message
  std::string id;              // used if the record has none
  std::string default_source;  // used if the record has none
  bool need_answer = true;
};

/// conversation_of — the conversation in a record: {"messages": [{"role", "content"}, …]} or
/// LLaVA's {"conversations": [{"from", "value"}, …]}, optional "id", "source", "image" or "images"
/// (paths for image parts without one, in order). Throws FormatError "WHERE: …" naming the message
/// and the rule. In LLaVA form the marker <image> in a human turn is an image part if the record
/// has images; in messages form text is text.
Conversation conversation_of(const nlohmann::json& record, const RecordContext& context);

/// place_images — if no message has an image part, `count` of them go in front of the first user
/// message. Throws FormatError if the numbers still differ.
void place_images(Conversation& conversation, size_t count);

/// image_parts — the image parts of all messages, in order.
std::vector<const Part*> image_parts(const Conversation& conversation);

/// path_inside — FOLDER/RELATIVE, if `relative` is a relative path that does not leave the folder
/// and no URL.
std::string path_inside(const std::string& folder, const std::string& relative,
                        const std::string& where);

/// read_images — the files that the image parts name, relative to `folder`.
std::vector<EncodedImage> read_images(const Conversation& conversation, const std::string& folder);

/// caption_conversation — user: `images` slots and `prompt`; assistant: `answer`.
Conversation caption_conversation(const RecordContext& context, std::string source, size_t images,
                                  std::string prompt, std::string answer);

}  // namespace ocellus
