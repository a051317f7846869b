// The chat template of a model folder, and what `transformers` gives it to see.
#pragma once
#include "data/jinja/template.h"

namespace ocellus::jinja {

/// ChatTemplateFile — a template and the named special tokens (bos_token, eos_token …) beside it.
struct ChatTemplateFile {
  Template body;
  Dict special_tokens;

  /// The text of `record`: {"messages": […], "add_generation_prompt": …, variables …}. As
  /// `transformers` does, keys of messages whose value is null are left out, reasoning is given
  /// under all its names, and tools and documents are none unless given. FormatError "WHO: …" for a
  /// record that is no conversation.
  String render(const Value& record, const std::string& who,
                const RenderOptions& options = {}) const;
};

/// load_chat_template — chat_template.jinja of the folder, else chat_template of
/// chat_template.json or tokenizer_config.json (a string, or a list of named ones: "default"); the
/// special tokens of tokenizer_config.json and special_tokens_map.json. FormatError if there is
/// none.
ChatTemplateFile load_chat_template(const std::string& folder);

}  // namespace ocellus::jinja
