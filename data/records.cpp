#include "data/records.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/unicode.h"
#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {
namespace {

using nlohmann::json;

constexpr uint64_t kLongestImageFile = uint64_t{1} << 28;
constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kMarker = "<image>";

// ---- reading JSON without building it ----

// A cursor over JSON text that knows strings and nesting, no more. It never fails: text that is not
// JSON makes it stop somewhere, and the parser says why when the record is read.
struct Skimmer {
  std::string_view text;
  size_t at = 0;

  void blanks() { at = std::min(text.find_first_not_of(kBlanks, at), text.size()); }
  bool next(char c) {
    blanks();
    if (at >= text.size() || text[at] != c) return false;
    ++at;
    return true;
  }
  // The raw inside of a string whose opening quote was read.
  std::string_view string() {
    const size_t begin = at;
    while (at < text.size() && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
    at = std::min(at, text.size());
    const std::string_view inside = text.substr(begin, at - begin);
    if (at < text.size()) ++at;
    return inside;
  }
  // Passes over one value of any kind.
  void value() {
    for (int depth = 0; at < text.size();) {
      const char c = text[at];
      if (depth == 0 && (c == ',' || c == '}' || c == ']')) return;
      ++at;
      if (c == '"') string();
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
    }
  }
};

// The raw inside of a JSON string as text; empty if it is not one.
std::string unescaped(std::string_view raw) {
  if (raw.find('\\') == std::string_view::npos) return std::string(raw);
  const json value = json::parse('"' + std::string(raw) + '"', nullptr, false);
  return value.is_string() ? value.get<std::string>() : std::string();
}

// ---- messages ----
[[noreturn]] void refuse(const RecordContext& context, const std::string& what) {
  fail<FormatError>("{}: {}", context.where, what);
}

const std::string& text_field(const json& object, const char* key, const RecordContext& context,
                              const std::string& of) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string())
    refuse(context, fmt::format("{} needs \"{}\", a string", of, key));
  return found->get_ref<const std::string&>();
}

Part part_of(const json& part, const RecordContext& context, const std::string& of) {
  if (!part.is_object()) refuse(context, of + " must be an object with a \"type\"");
  const std::string& type = text_field(part, "type", context, of);
  if (type == "text") return {Part::Kind::kText, text_field(part, "text", context, of)};
  if (type != "image" && type != "video")
    refuse(context,
           fmt::format("{} has the type \"{}\"; known are text, image and video", of, type));
  const Part::Kind kind = type == "image" ? Part::Kind::kImage : Part::Kind::kVideo;
  return {kind, part.contains(type) && !part.at(type).is_null()
                    ? text_field(part, type.c_str(), context, of)
                    : std::string()};
}

bool is_role(const std::string& role) {
  return !role.empty() && role.size() <= 64 &&
         std::all_of(role.begin(), role.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

std::vector<Message> messages_of(const json& list, const RecordContext& context) {
  if (!list.is_array() || list.empty())
    refuse(context, "\"messages\" must be a list with at least one message");
  std::vector<Message> messages;
  for (const json& item : list) {
    const std::string of = fmt::format("message {}", messages.size() + 1);
    if (!item.is_object()) refuse(context, of + " must be an object with \"role\" and \"content\"");
    Message message{text_field(item, "role", context, of), {}};
    if (!is_role(message.role))
      refuse(context,
             fmt::format("{} has the role \"{}\"; a role is a word of letters, digits, _ and "
                         "-, at most 64",
                         of, message.role));
    json more = item;
    more.erase("role");
    more.erase("content");
    if (!more.empty()) message.more = more.dump();
    const auto content = item.find("content");
    const bool calls = item.contains("tool_calls") && (content == item.end() || content->is_null());
    if (!calls && (content == item.end() || !(content->is_string() || content->is_array())))
      refuse(context, of + " needs \"content\", a string or a list of parts");
    if (!calls && content->is_string()) {
      message.parts.push_back({Part::Kind::kText, content->get<std::string>()});
    } else if (!calls) {
      for (const json& part : *content)
        message.parts.push_back(
            part_of(part, context, fmt::format("part {} of {}", message.parts.size() + 1, of)));
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

// Text with markers becomes text and image parts; the white space around a marker belongs to it.
std::vector<Part> split_markers(std::string_view text) {
  std::vector<Part> parts;
  for (;;) {
    const size_t at = text.find(kMarker);
    const std::string_view before = at == 0 && parts.empty() ? "" : trimmed(text.substr(0, at));
    if (!before.empty()) parts.push_back({Part::Kind::kText, std::string(before)});
    if (at == std::string_view::npos) return parts;
    parts.push_back({Part::Kind::kImage, ""});
    text.remove_prefix(at + kMarker.size());
  }
}

std::vector<Message> llava_messages_of(const json& list, bool has_images,
                                       const RecordContext& context) {
  if (!list.is_array() || list.empty())
    refuse(context, "\"conversations\" must be a list with at least one turn");
  std::vector<Message> messages;
  for (const json& item : list) {
    const std::string of = fmt::format("turn {}", messages.size() + 1);
    if (!item.is_object()) refuse(context, of + " must be an object with \"from\" and \"value\"");
    const std::string &from = text_field(item, "from", context, of),
                      &value = text_field(item, "value", context, of);
    const char* role = from == "human" || from == "user"      ? "user"
                       : from == "gpt" || from == "assistant" ? "assistant"
                       : from == "system"                     ? "system"
                                                              : nullptr;
    if (!role)
      refuse(context, fmt::format("{} is from \"{}\"; known are human, gpt and system", of, from));
    const bool marked =
        has_images && role == std::string_view("user") && value.find(kMarker) != std::string::npos;
    messages.push_back(
        {role, marked ? split_markers(value) : std::vector<Part>{{Part::Kind::kText, value}}});
  }
  return messages;
}

std::vector<std::string> image_list(const json& record, const RecordContext& context) {
  std::vector<std::string> paths;
  for (const char* key : {"image", "images"}) {
    const auto found = record.find(key);
    if (found == record.end() || found->is_null()) continue;
    const json list = found->is_array() ? *found : json::array({*found});
    for (const json& path : list) {
      if (!path.is_string())
        refuse(context, fmt::format("\"{}\" must be a path or a list of paths", key));
      paths.push_back(path.get<std::string>());
    }
  }
  return paths;
}

// Paths listed beside the messages fill image parts that name none.
void fill_paths(Conversation& conversation, const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  place_images(conversation, paths.size());
  size_t next = 0;
  for (Message& message : conversation.messages)
    for (Part& part : message.parts)
      if (part.kind == Part::Kind::kImage) {
        if (part.text.empty()) part.text = paths[next];
        ++next;
      }
}

void check_answers(const Conversation& conversation, const RecordContext& context) {
  int answers = 0;
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const Message& message = conversation.messages[i];
    if (message.role != "assistant") continue;
    ++answers;
    size_t bytes = 0;
    for (const Part& part : message.parts) {
      if (part.kind != Part::Kind::kText)
        refuse(context,
               fmt::format("message {} is the assistant's and holds an image or a video", i + 1));
      bytes += trimmed(part.text).size();
    }
    if (bytes == 0 && !calls_tools(message) && context.need_answer)
      refuse(context, fmt::format("message {}, the assistant's, is empty", i + 1));
  }
  if (answers == 0 && context.need_answer)
    refuse(context, "there is no message of the assistant, so nothing to learn");
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

std::vector<TextLine> lines_of(std::string_view text, const std::string& who) {
  std::vector<TextLine> lines;
  uint32_t number = 0;
  for (size_t at = text.rfind("\xef\xbb\xbf", 0) == 0 ? 3 : 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    ++number;
    std::string_view line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    check<FormatError>(line.size() < uint64_t{1} << 31,
                       "{} line {}: has {} bytes, at most 2^31 − 1 are read", who, number,
                       line.size());
    if (line.find_first_not_of(kBlanks) != std::string_view::npos)
      lines.push_back({at, static_cast<uint32_t>(line.size()), number});
    at = end + 1;
  }
  return lines;
}

std::string top_level_string(std::string_view text, std::string_view key) {
  Skimmer skim{text};
  if (!skim.next('{')) return {};
  while (skim.next('"')) {
    const bool wanted = unescaped(skim.string()) == key;
    if (!skim.next(':')) return {};
    skim.blanks();
    if (wanted) {
      if (!skim.next('"')) return {};
      return unescaped(skim.string());
    }
    skim.value();
    if (!skim.next(',')) return {};
  }
  return {};
}

Conversation conversation_of(const json& record, const RecordContext& context) {
  if (!record.is_object()) refuse(context, "a record must be a JSON object with \"messages\"");
  Conversation conversation{context.id, context.default_source, context.where, {}};
  if (const auto id = record.find("id"); id != record.end() && !id->is_null()) {
    if (!id->is_string() && !id->is_number_integer())
      refuse(context, "\"id\" must be a string or an integer");
    conversation.id = id->is_string() ? id->get<std::string>() : id->dump();
  }
  if (const auto source = record.find("source"); source != record.end() && !source->is_null())
    conversation.source = text_field(record, "source", context, "the record");

  if (const auto tools = record.find("tools"); tools != record.end() && !tools->is_null()) {
    if (!tools->is_array()) refuse(context, "\"tools\" must be a list");
    conversation.tools = tools->dump();
  }
  const std::vector<std::string> paths = image_list(record, context);
  if (record.contains("messages")) {
    conversation.messages = messages_of(record.at("messages"), context);
  } else if (record.contains("conversations")) {
    conversation.messages = llava_messages_of(record.at("conversations"), !paths.empty(), context);
  } else {
    refuse(context, "the record has neither \"messages\" nor \"conversations\"");
  }
  fill_paths(conversation, paths);
  check_answers(conversation, context);
  return conversation;
}

std::vector<const Part*> image_parts(const Conversation& conversation) {
  std::vector<const Part*> parts;
  for (const Message& message : conversation.messages)
    for (const Part& part : message.parts)
      if (part.kind == Part::Kind::kImage) parts.push_back(&part);
  return parts;
}

void place_images(Conversation& conversation, size_t count) {
  const size_t slots = image_parts(conversation).size();
  if (slots == 0 && count > 0) {
    const auto user = std::find_if(conversation.messages.begin(), conversation.messages.end(),
                                   [](const Message& m) { return m.role == "user"; });
    check<FormatError>(user != conversation.messages.end(),
                       "{}: there is no user message to show the image in", conversation.where);
    user->parts.insert(user->parts.begin(), count, Part{Part::Kind::kImage, ""});
    return;
  }
  check<FormatError>(slots == count, "{}: has {} image slot{} and {} image{}", conversation.where,
                     slots, slots == 1 ? "" : "s", count, count == 1 ? "" : "s");
}

std::string path_inside(const std::string& folder, const std::string& relative,
                        const std::string& where) {
  check<FormatError>(!relative.empty() && relative.find('\0') == std::string::npos,
                     "{}: an image part names no file", where);
  check<FormatError>(relative.find("://") == std::string::npos && relative.rfind("data:", 0) != 0,
                     "{}: the image {} is a URL; only files are read", where,
                     relative.substr(0, 120));
  check<FormatError>(relative[0] != '/',
                     "{}: the image path {} is absolute; it must be relative to {}", where,
                     relative, folder);
  int depth = 0;
  for (size_t begin = 0; begin <= relative.size();) {
    const size_t end = std::min(relative.find('/', begin), relative.size());
    const std::string_view part = std::string_view(relative).substr(begin, end - begin);
    if (part == "..") {
      --depth;
    } else if (!part.empty() && part != ".") {
      ++depth;
    }
    check<FormatError>(depth >= 0, "{}: the image path {} leaves the folder {}", where, relative,
                       folder);
    begin = end + 1;
  }
  return folder + "/" + relative;
}

std::vector<EncodedImage> read_images(const Conversation& conversation, const std::string& folder) {
  std::vector<EncodedImage> images;
  for (const Part* part : image_parts(conversation)) {
    const std::string path = path_inside(folder, part->text, conversation.where);
    try {
      images.push_back({path, read_file(path, kLongestImageFile)});
    } catch (const FormatError& error) {
      fail<FormatError>("{}: {}", conversation.where, error.what());
    }
  }
  return images;
}

Conversation caption_conversation(const RecordContext& context, std::string source, size_t images,
                                  std::string prompt, std::string answer) {
  Conversation conversation{
      context.id, source.empty() ? context.default_source : std::move(source), context.where, {}};
  for (const std::string* text : {&prompt, &answer})
    check<FormatError>(unicode::is_valid_utf8(*text), "{}: the text is not valid UTF-8",
                       context.where);
  conversation.messages.push_back({"user", {{Part::Kind::kText, std::move(prompt)}}});
  conversation.messages.push_back({"assistant", {{Part::Kind::kText, std::move(answer)}}});
  place_images(conversation, images);
  check_answers(conversation, context);
  return conversation;
}

}  // namespace ocellus
