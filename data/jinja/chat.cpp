#include "data/jinja/chat.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "engine/json.h"

namespace ocellus::jinja {
namespace {

using nlohmann::json;

constexpr size_t kMaxTemplateBytes = size_t{1} << 20;
constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
constexpr const char* kReasoning[] = {"reasoning_content", "thinking", "reasoning"};

/// A token is a string, or an object with its text as "content".
void add_tokens(const json& config, Dict& tokens) {
  for (const char* name : kNamedTokens) {
    const auto found = config.find(name);
    if (found == config.end()) continue;
    const json* text = &*found;
    if (text->is_object() && text->contains("content")) text = &(*text)["content"];
    if (text->is_string()) tokens.set(Value(name), Value(text->get<std::string>()));
  }
}

/// "chat_template": a string, or [{"name": "default", "template": …}, …].
std::optional<std::string> template_in(const json& config, const std::string& path) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array())
    for (const json& named : *found)
      if (named.is_object() && named.value("name", json()) == "default" &&
          named.contains("template") && named["template"].is_string())
        return named["template"].get<std::string>();
  fail<FormatError>(
      "{}: chat_template must be a string, or a list with a template named \"default\"", path);
}

std::optional<Template> find_template(const std::string& folder, const json& tokenizer_config) {
  const std::string path = folder + "/chat_template.jinja";
  if (std::filesystem::is_regular_file(path))
    return Template(read_file(path, kMaxTemplateBytes), path);
  const std::string legacy = folder + "/chat_template.json";
  if (std::filesystem::is_regular_file(legacy))
    if (auto text = template_in(load_json(legacy, kMaxTemplateBytes * 2), legacy))
      return Template(*text, legacy);
  const std::string config = folder + "/tokenizer_config.json";
  if (auto text = template_in(tokenizer_config, config))
    return Template(*text, config + ": chat_template");
  return std::nullopt;
}

/// As transformers hands a message to a template.
Value seen_message(const Value& message, const std::string& who) {
  check<FormatError>(message.is(Value::Kind::kDict), "{}: a message must be an object, got {}", who,
                     message.type_name());
  Dict kept;
  for (const auto& [key, value] : message.entries().entries)
    if (!value.is(Value::Kind::kNone)) kept.set(key, value);
  for (const char* name : kReasoning) {
    const Value* reasoning = kept.find_name(name);
    if (!reasoning) continue;
    const Value value = *reasoning;
    Dict aliased;
    aliased.set(Value("thinking"), value);
    for (const auto& [key, other] : kept.entries) aliased.set(key, other);
    aliased.set(Value("reasoning_content"), value);
    return Value::dict(std::move(aliased));
  }
  return Value::dict(std::move(kept));
}

}  // namespace

String ChatTemplateFile::render(const Value& record, const std::string& who,
                                const RenderOptions& options) const {
  const Value* messages =
      record.is(Value::Kind::kDict) ? record.entries().find_name("messages") : nullptr;
  check<FormatError>(messages && messages->is(Value::Kind::kList) && !messages->items().empty(),
                     "{}: needs an object with a list \"messages\" that is not empty", who);
  std::vector<Value> seen;
  for (const Value& message : messages->items()) seen.push_back(seen_message(message, who));
  Dict context = special_tokens;
  for (const char* name : {"tools", "documents"}) context.set(Value(name), Value());
  context.set(Value("add_generation_prompt"), Value(false));
  for (const auto& [name, value] : record.entries().entries) context.set(name, value);
  context.set(Value("messages"), Value::list(std::move(seen)));
  return body.render(Value::dict(std::move(context)), options);
}

ChatTemplateFile load_chat_template(const std::string& folder) {
  const std::string config_path = folder + "/tokenizer_config.json",
                    map_path = folder + "/special_tokens_map.json";
  json config = json::object();
  Dict tokens;
  if (std::filesystem::is_regular_file(map_path)) add_tokens(load_json(map_path), tokens);
  if (std::filesystem::is_regular_file(config_path)) {
    config = load_json(config_path);
    check<FormatError>(config.is_object(), "{}: must be an object", config_path);
    add_tokens(config, tokens);
  }
  auto found = find_template(folder, config);
  check<FormatError>(
      found.has_value(),
      "{}: has no chat template (chat_template.jinja, chat_template.json, or chat_template in "
      "tokenizer_config.json)",
      folder);
  return {std::move(*found), std::move(tokens)};
}

}  // namespace ocellus::jinja
