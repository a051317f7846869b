#include "data/jinja/chat.h"

#include <filesystem>
#include <map>
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

struct NamedTemplate {
  std::string text, who;
};
using NamedTemplates = std::map<std::string, NamedTemplate>;

/// "chat_template": a string, or [{"name": "default", "template": …}, …].
NamedTemplates templates_in(const json& config, const std::string& path) {
  NamedTemplates found;
  const auto value = config.find("chat_template");
  if (value == config.end() || value->is_null()) return found;
  if (value->is_string()) return {{"default", {value->get<std::string>(), path}}};
  check<FormatError>(value->is_array(), "{}: must be a string, or a list of named templates", path);
  for (const json& named : *value) {
    check<FormatError>(named.is_object() && named.value("name", json()).is_string() &&
                           named.value("template", json()).is_string(),
                       "{}: an entry of the list must have name and template, both strings", path);
    const auto name = named["name"].get<std::string>();
    const bool first = found
                           .emplace(name, NamedTemplate{named["template"].get<std::string>(),
                                                        path + " \"" + name + "\""})
                           .second;
    check<FormatError>(first, "{}: two templates are named \"{}\"", path, name);
  }
  return found;
}

NamedTemplates find_templates(const std::string& folder, const json& tokenizer_config) {
  namespace fs = std::filesystem;
  NamedTemplates found;
  auto add = [&](const std::string& name, const std::string& path) {
    found[name] = {read_file(path, kMaxTemplateBytes), path};
  };
  if (const std::string path = folder + "/chat_template.jinja"; fs::is_regular_file(path))
    add("default", path);
  if (const std::string more = folder + "/additional_chat_templates"; fs::is_directory(more))
    for (const auto& entry : fs::directory_iterator(more))
      if (entry.path().extension() == ".jinja" && entry.is_regular_file())
        add(entry.path().stem().string(), entry.path().string());
  if (!found.empty()) return found;
  const std::string legacy = folder + "/chat_template.json";
  if (fs::is_regular_file(legacy)) {
    found = templates_in(load_json(legacy, kMaxTemplateBytes * 2), legacy + ": chat_template");
    if (!found.empty()) return found;
  }
  return templates_in(tokenizer_config, folder + "/tokenizer_config.json: chat_template");
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
  const Value* tools = context.find_name("tools");
  const bool tool_use = with_tools && tools && !tools->is(Value::Kind::kNone);
  return (tool_use ? *with_tools : body).render(Value::dict(std::move(context)), options);
}

ChatTemplateFile load_chat_template(const std::string& folder, const std::string& name) {
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
  const NamedTemplates found = find_templates(folder, config);
  check<FormatError>(
      !found.empty(),
      "{}: has no chat template (chat_template.jinja, chat_template.json, or chat_template in "
      "tokenizer_config.json)",
      folder);
  const auto wanted = found.find(name.empty() ? "default" : name);
  if (wanted == found.end()) {
    std::string known;
    for (const auto& [other, text] : found) known += (known.empty() ? "" : ", ") + other;
    fail<FormatError>("{}: has no chat template named \"{}\"; it has {}", folder,
                      name.empty() ? "default" : name, known);
  }
  ChatTemplateFile file{Template(wanted->second.text, wanted->second.who), std::move(tokens)};
  if (const auto tools = found.find("tool_use"); name.empty() && tools != found.end())
    file.with_tools = Template(tools->second.text, tools->second.who);
  return file;
}

}  // namespace ocellus::jinja
