// ocellus template: conversations to text by a model's chat template.
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/jinja/chat.h"
#include "tools/ocellus/command.h"

namespace ocellus {
namespace {

int run(const std::string& model, const std::string& name) {
  const jinja::ChatTemplateFile chat = jinja::load_chat_template(model, name);
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const jinja::Value record = jinja::from_json(line, fmt::format("stdin: line {}", number));
    nlohmann::json answer;
    try {
      answer["rendered"] = chat.render(record, fmt::format("stdin: line {}", number)).text;
    } catch (const FormatError& error) {
      answer["error"] = error.what();
    }
    fmt::print("{}\n", answer.dump());
  }
  return 0;
}

const RegisterCommand kTemplate(
    {"template",
     "JSONL {\"messages\"} on stdin to {\"rendered\"} or {\"error\"} by a model's chat template",
     "echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": "
     "true}' | ocellus "
     "template --model DIR",
     [](Options& options) -> std::function<int()> {
       auto model = std::make_shared<std::string>();
       options.option("--model", *model, "folder with chat_template.jinja or tokenizer_config.json",
                      true);
       auto name = std::make_shared<std::string>();
       options.option("--template", *name,
                      "which of several named templates; else default, or tool_use where tools are "
                      "given");
       return [model, name] { return run(*model, *name); };
     }});

}  // namespace
}  // namespace ocellus
