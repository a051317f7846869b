// The chat template of a model folder, and what `transformers` gives it to see.
#pragma once
#include <optional>
#include <string>

#include "data/jinja/template.h"

namespace ocellus::jinja {

/// ChatTemplateFile — a template and the named special tokens (bos_token, eos_token …) beside it.
struct ChatTemplateFile {
  Template body;
  Dict special_tokens;
  std::optional<Template> with_tools = {};  // the one named "tool_use": where tools are given

  /// The text of `record`: {"messages": […], "add_generation_prompt": …, variables …}. As
  /// `transformers` does, keys of messages whose value is null are left out, reasoning is given
  /// under all its names, and tools and documents are none unless given. FormatError "WHO: …" for a
  /// record that is no conversation.
  String render(const Value& record, const std::string& who,
                const RenderOptions& options = {}) const;
};

/// load_chat_template — chat_template.jinja of the folder with the NAME.jinja of
/// additional_chat_templates/, else chat_template of chat_template.json or tokenizer_config.json (a
/// string, or a list of named ones); the special tokens of tokenizer_config.json and
/// special_tokens_map.json. Used is the one called `name`; without a name "default", and "tool_use"
/// where tools are given and there is one. FormatError if there is none, naming those that are.
ChatTemplateFile load_chat_template(const std::string& folder, const std::string& name = "");

}  // namespace ocellus::jinja
