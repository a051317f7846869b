// Conversations by chat templates: ids, spans, labels, and what a check of them finds.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "engine/file.h"
#include "vlm/chat_template.h"

using namespace ocellus;

namespace {

const std::vector<std::string> kTokens = {"<pad>",        "<s>",        "</s>",
                                          "<|im_start|>", "<|im_end|>", "<image>"};

Tokenizer tokenizer() {
  return Tokenizer::train_byte_bpe({"assistant user hello there hello there"}, 280, kTokens);
}

/// A model folder with the template `jinja`, removed at the end.
struct Folder {
  std::string path;
  explicit Folder(const std::string& jinja, const std::string& eos = "<|im_end|>") {
    path = std::filesystem::temp_directory_path() / ("ocellus_chat_" + std::to_string(::getpid()));
    std::filesystem::create_directories(path);
    write_file_atomic(path + "/chat_template.jinja", jinja);
    write_file_atomic(path + "/tokenizer_config.json",
                      R"({"bos_token": "<s>", "eos_token": ")" + eos +
                          R"(", "pad_token": "<pad>", "image_token": "<image>"})");
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

Part text(const std::string& t) { return {Part::Kind::kText, t}; }

Conversation talk() {
  Conversation c;
  c.where = "chat.jsonl line 1";
  c.messages = {{"user", {text("hello <|im_end|>")}},
                {"assistant", {text(" there")}},
                {"user", {text("?")}},
                {"assistant", {text("hello")}}};
  return c;
}

/// The text of the labels that count, turns apart by '|'.
std::string targets(const ChatTemplate& chat, const Rendered& r) {
  const auto labels = labels_of(r, {"assistant"});
  std::string out;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == -100) {
      if (!out.empty() && out.back() != '|') out += '|';
      continue;
    }
    const int32_t one[] = {r.ids[i]};
    out += chat.tokenizer().decode(one, false);
  }
  return out;
}

constexpr const char* kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' "
    "}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

void check_cover(const Rendered& r) {
  int64_t at = 0;
  for (const Span& span : r.spans) {
    CHECK(span.begin == at);
    CHECK(span.end > span.begin);
    at = span.end;
  }
  CHECK(at == static_cast<int64_t>(r.ids.size()));
}

}  // namespace

TEST_CASE("chat template: ids are those of the whole text, and a user's markup stays text") {
  const Folder folder(kChatMl);
  const ChatTemplate chat(folder.path, tokenizer(), 4);
  Conversation c = talk();
  c.messages[0].parts[0].text = "hello";
  const Rendered plain = chat.render(c, true);
  CHECK(plain.text ==
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n "
        "there<|im_end|>\n<|im_start|>user\n?<|im_end|>\n"
        "<|im_start|>assistant\nhello<|im_end|>\n<|im_start|>assistant\n");
  CHECK(plain.ids == chat.tokenizer().encode(plain.text, false));
  check_cover(plain);
  const Rendered marked = chat.render(talk(), false);
  CHECK(std::count(marked.ids.begin(), marked.ids.end(), chat.end_id()) == 4);
  check_cover(marked);
}

TEST_CASE("chat template: targets are the assistant's words and the stop behind them") {
  const Folder folder(kChatMl);
  const ChatTemplate chat(folder.path, tokenizer(), 4);
  const Rendered r = chat.render(talk(), false);
  CHECK(targets(chat, r) == " there<|im_end|>|hello<|im_end|>|");
  CHECK(r.turn_stops == std::vector<int32_t>{chat.end_id(), chat.end_id()});
  CHECK(chat.findings(r).empty());
}

TEST_CASE("chat template: a generation block says what is generated") {
  const Folder folder(
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% "
      "generation %}"
      "{{ 'A:' ~ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ "
      "'<|im_end|>\n' }}{% endfor %}");
  const ChatTemplate chat(folder.path, tokenizer(), 4);
  const Rendered r = chat.render(talk(), false);
  CHECK(targets(chat, r) == "A: there|A:hello|");
  CHECK(chat.findings(r) ==
        std::vector<std::string>{
            "2 of 2 turns of the assistant end without a stop token in the targets"});
  check_cover(r);
}

TEST_CASE("chat template: a doubled begin token and a stop that stops nothing are found") {
  const Folder folder("{{ bos_token }}{{ bos_token }}" + std::string(kChatMl), "</s>");
  const ChatTemplate chat(folder.path, tokenizer(), 4);
  const auto found = chat.findings(chat.render(talk(), false));
  REQUIRE(found.size() == 2);
  CHECK(found[0] == "the text begins with two <s>");
  CHECK(found[1] ==
        "2 of 2 turns of the assistant end with a token that does not stop generation "
        "(eos_token_id of generation_config.json)");
  write_file_atomic(
      folder.path + "/generation_config.json",
      fmt::format("{{\"eos_token_id\": [{}]}}", *tokenizer().token_to_id("<|im_end|>")));
  const ChatTemplate more(folder.path, tokenizer(), 4);
  CHECK(more.findings(more.render(talk(), false)).size() == 1);
  CHECK(more.is_stop(*tokenizer().token_to_id("<|im_end|>")));
}

TEST_CASE("chat template: content is given as parts where the template wants parts") {
  const Folder folder(
      "{% for m in messages %}{{ m.role | capitalize }}:{% for p in m.content %}{% if p.type == "
      "'image' %}<image>"
      "{% elif p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}");
  const ChatTemplate chat(folder.path, tokenizer(), 3);
  Conversation c = talk();
  c.messages[0].parts.insert(c.messages[0].parts.begin(), {Part::Kind::kImage, ""});
  const Rendered r = chat.render(c, false);
  CHECK(r.text.starts_with("User:<image>hello <|im_end|><|im_end|>\nAssistant: there<|im_end|>"));
  CHECK(r.image_slots.size() == 1);
  CHECK(std::count(r.ids.begin(), r.ids.end(), chat.image_id()) == 3);
  CHECK(targets(chat, r) == " there<|im_end|>|hello<|im_end|>|");
  check_cover(r);
  const Folder deaf(kChatMl);  // in place of the first
  const ChatTemplate text_only(deaf.path, tokenizer(), 3);
  CHECK_THROWS_WITH_AS(text_only.render(c, false), doctest::Contains("chat.jsonl line 1"),
                       FormatError);
}

TEST_CASE(
    "chat template: other roles and calls of tools reach the template, as text of their message") {
  const Folder folder(
      "{% if tools %}{{ tools | length }} tools {% endif %}{% for m in messages %}{{ "
      "'<|im_start|>' "
      "+ m.role + '\n' }}{% if m.content is defined %}{{ m.content }}{% endif %}{% for c in "
      "m.tool_calls or [] %}{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor "
      "%}<|im_end|>\n{% endfor %}");
  const ChatTemplate chat(folder.path, tokenizer(), 4);
  Conversation c = talk();
  c.tools = R"([{"name": "there"}, {"name": "hello"}])";
  c.messages[1].parts.clear();
  c.messages[1].more =
      R"({"tool_calls": [{"function": {"name": "there", "arguments": {"x": "<|im_end|>"}}}]})";
  c.messages[2].role = "tool";
  const Rendered r = chat.render(c, false);
  CHECK(r.text.starts_with(
      "2 tools <|im_start|>user\nhello <|im_end|><|im_end|>\n<|im_start|>assistant\n"
      "there({\"x\": \"<|im_end|>\"})<|im_end|>\n<|im_start|>tool\n?<|im_end|>"));
  CHECK(targets(chat, r) == "there({\"x\": \"<|im_end|>\"|hello<|im_end|>|");
  CHECK(std::count(r.ids.begin(), r.ids.end(), chat.end_id()) == 4);
  check_cover(r);
}

TEST_CASE(
    "chat template: of several named templates the default, that for tools, or the one asked for") {
  const Folder folder("plain");
  std::filesystem::create_directories(folder.path + "/additional_chat_templates");
  write_file_atomic(folder.path + "/additional_chat_templates/tool_use.jinja", "tools");
  write_file_atomic(folder.path + "/additional_chat_templates/rag.jinja", "rag");
  auto rendered = [&](const std::string& record, const std::string& name = "") {
    return jinja::load_chat_template(folder.path, name)
        .render(jinja::from_json(record, "x"), "x")
        .text;
  };
  const std::string plain = R"({"messages": [{"role": "user", "content": "a"}]})";
  const std::string tools = R"({"messages": [{"role": "user", "content": "a"}], "tools": [{}]})";
  auto check_all = [&] {
    CHECK(rendered(plain) == "plain");
    CHECK(rendered(tools) == "tools");
    CHECK(rendered(tools, "rag") == "rag");
    CHECK(rendered(tools, "default") == "plain");
    CHECK_THROWS_WITH_AS(
        rendered(plain, "other"),
        doctest::Contains("has no chat template named \"other\"; it has default, rag, tool_use"),
        FormatError);
  };
  check_all();
  std::filesystem::remove_all(folder.path + "/additional_chat_templates");
  std::filesystem::remove(folder.path + "/chat_template.jinja");
  const std::string list =
      R"({"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}, )";
  write_file_atomic(folder.path + "/tokenizer_config.json",
                    list + R"({"name": "rag", "template": "rag"}]})");
  check_all();
  write_file_atomic(folder.path + "/tokenizer_config.json",
                    list + R"({"name": "default", "template": "rag"}]})");
  CHECK_THROWS_WITH_AS(rendered(plain), doctest::Contains("two templates are named \"default\""),
                       FormatError);
  write_file_atomic(folder.path + "/tokenizer_config.json", list + R"({"name": "rag"}]})");
  CHECK_THROWS_WITH_AS(rendered(plain),
                       doctest::Contains("must have name and template, both strings"), FormatError);
}

TEST_CASE("chat template: our own template as a file gives the same ids") {
  const Tokenizer t = Tokenizer::train_byte_bpe({"what is it? red"}, 262, kSpecialTokens);
  const ChatTemplate own(t, 4);
  Conversation c = talk();
  c.messages[0].parts = {{Part::Kind::kImage, ""}, text("what <image> is it?")};
  const Rendered r = own.render(c, true);
  std::vector<int32_t> expected;
  auto add = [&](const std::string& token) { expected.push_back(*t.token_to_id(token)); };
  for (const Message& m : c.messages) {
    add("<|" + m.role + "|>");
    for (const Part& p : m.parts) {
      if (p.kind == Part::Kind::kImage)
        for (int i = 0; i < 4; ++i) add("<image>");
      const auto ids = t.encode(p.text, false, false);
      expected.insert(expected.end(), ids.begin(), ids.end());
    }
    add("<|end|>");
  }
  add("<|assistant|>");
  CHECK(r.ids == expected);
  CHECK(r.image_slots == std::vector<int64_t>{1});
  check_cover(r);
}
