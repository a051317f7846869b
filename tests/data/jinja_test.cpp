// The template engine against what Jinja made of the same templates (make_jinja_golden.py), and
// what is ours alone: places of errors, limits, and where text came from.
#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

#include "data/jinja/template.h"
#include "engine/file.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::jinja;

namespace {

std::string golden_path() {
  const char* other = std::getenv("OCELLUS_JINJA_GOLDEN");
  return other ? other : OCELLUS_SOURCE_DIR "/tests/data/jinja_golden.jsonl";
}

const Value& field(const Value& line, const char* name) {
  static const Value kNone;
  const Value* found = line.entries().find_name(name);
  return found ? *found : kNone;
}

// Empty if the line holds, else what differs.
std::string difference(const Value& line, const std::string& source, const Value& context) {
  const Value &rendered = field(line, "rendered"), &error = field(line, "error");
  std::string text;
  try {
    RenderOptions options;
    options.now = 1720526400;
    text = Template(source, "t").render(context, options).text;
  } catch (const TemplateError& e) {
    if (error.is_string()) {
      const std::string& stored = error.string().text;
      const bool raised = stored.starts_with("TemplateError: ");
      return raised && e.message != stored.substr(15) ? "message " + e.message : "";
    }
    return std::string("fails: ") + e.what();
  }
  if (error.is_string()) return "gives " + repr_string(text);
  return text == rendered.string().text ? "" : "gives " + repr_string(text);
}

std::string error_of(const std::string& source, const std::string& context = "{}") {
  try {
    Template(source, "t").render(from_json(context, "context"));
  } catch (const TemplateError& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("jinja: agrees with Jinja as transformers sets it up") {
  std::istringstream lines(read_file(golden_path()));
  int good = 0, bad = 0;
  std::string text;
  std::getline(lines, text);
  const Value lists = from_json(text, "golden line 1");
  const auto &contexts = field(lists, "contexts").items(),
             &templates = field(lists, "templates").items();
  for (int number = 2; std::getline(lines, text); ++number) {
    const Value line = from_json(text, "golden line " + std::to_string(number));
    const Value& which = field(line, "template");
    const std::string source =
        (which.is_string() ? which : templates.at(which.integer())).string().text;
    const std::string wrong =
        difference(line, source, contexts.at(field(line, "context").integer()));
    ++(wrong.empty() ? good : bad);
    if (wrong.empty()) continue;
    const Value& expected = field(line, field(line, "error").is_string() ? "error" : "rendered");
    const std::string report = fmt::format("line {}: {}\n  ours {}\n  jinja {}", number, source,
                                           wrong, repr_string(expected.string().text));
    FAIL_CHECK(report);
  }
  MESSAGE(good, " templates agree");
  CHECK(good > 0);
  CHECK(bad == 0);
}

TEST_CASE("jinja: an error says line, column and what is wrong") {
  CHECK(error_of("{% if a %}\n  {{ b c }}{% endif %}") ==
        "t: line 2, column 8: expected '}}', got 'c'");
  CHECK(error_of("é\n{{ 1 +\n   'x' }}") ==
        "t: line 2, column 6: unsupported operand type(s) for +: 'int' and 'str'");
  CHECK(error_of("{% include 'x' %}") ==
        "t: line 1, column 1: the tag include is not supported in chat templates");
  CHECK(error_of("{{ 1 | pprint }}") ==
        "t: line 1, column 8: there is no filter 'pprint', or it is not supported");
  CHECK(error_of("a {{ 'b'.encode() }}") ==
        "t: line 1, column 9: the string method encode is not supported");
  CHECK(error_of("{{ raise_exception('no ' ~ 1) }}") == "t: line 1, column 19: no 1");
  CHECK(error_of("{{ x.y }}") == "t: line 1, column 5: 'x' is undefined");
  CHECK(error_of("{{ x }}{{ d.x.y }}", R"({"d": {}})") ==
        "t: line 1, column 14: 'dict object' has no attribute 'x'");
  CHECK(error_of("{% for i in [1] %}") ==
        "t: line 1, column 19: the template ends where else is missing");
  CHECK(error_of("{{ 9999999999 * 9999999999 }}") ==
        "t: line 1, column 15: integers beyond 64 bits are not supported");
  CHECK(error_of("{{ 'a' | map('upper') }}").find("a generator has no text") != std::string::npos);
}

TEST_CASE("jinja: templates without end are stopped") {
  const char* steps = "takes too many steps or makes too much text";
  CHECK(error_of("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
            .find(steps) != std::string::npos);
  CHECK(error_of("{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s "
                 "%}{% endfor %}")
            .find("bytes") != std::string::npos);
  CHECK(error_of("{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l "
                 "%}{% endfor %}")
            .find(steps) != std::string::npos);
  CHECK(error_of("{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] "
                 "%}{% endfor %}{{ n.l }}")
            .find("bytes") != std::string::npos);
  CHECK(error_of("{% set n = namespace(l=[1]) %}{% for i in range(999) %}{% set n.l = [n.l] %}{% "
                 "endfor %}")
            .find("nested deeper") != std::string::npos);
  CHECK(error_of("{% set n = namespace(l=[1]) %}{% for i in range(999) %}{% set n.l = "
                 "n.l|map('string') %}{% endfor %}")
            .find("nested deeper") != std::string::npos);
  CHECK(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("recurses too deeply") !=
        std::string::npos);
  CHECK(error_of("{{ 'x' * 99999999999 }}").find("bytes") != std::string::npos);
  CHECK(error_of("{{ '%99999999d' % 1 }}").find("larger than") != std::string::npos);
  CHECK(error_of("{{ 'x'.center(99999999999) }}").find("bytes") != std::string::npos);
  CHECK(error_of("{% set n = namespace() %}{% set n.n = n %}{{ n }}").find("deeply") !=
        std::string::npos);
  CHECK(error_of("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}")
            .find("nested deeper") != std::string::npos);
  std::string chain = "{{ 1";
  for (int i = 0; i < 5000; ++i) chain += " + 1";
  CHECK(error_of(chain + " }}").find("nested deeper") != std::string::npos);
  std::string blocks;
  for (int i = 0; i < 5000; ++i) blocks += "{% if 1 %}";
  CHECK(error_of(blocks).find("nested deeper") != std::string::npos);
}

namespace {

// "[origin:text]" for every mark.
std::string marks_of(const std::string& source, const std::string& context) {
  const String s = Template(source, "t").render(from_json(context, "context"));
  std::string out;
  for (const Mark& m : s.marks)
    out += fmt::format("[{}:{}]", m.origin, s.text.substr(m.begin, m.end - m.begin));
  return out;
}

}  // namespace

TEST_CASE("jinja: text keeps the number of the message it came from") {
  const char* chat =
      R"({"messages": [{"role": "user", "content": " Hi there "}, {"role": "assistant", "content": "a<|x|>b"}], "v": "V"})";
  CHECK(marks_of("{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}", chat) ==
        "[0: Hi there ][1:a<|x|>b]");
  CHECK(marks_of("{{ messages[0].content | trim }}{{ v }}{{ 'w' }}", chat) == "[0:Hi there][-2:V]");
  CHECK(marks_of("{{ messages[1].content.replace('<|x|>', '-') ~ '!' }}", chat) == "[1:a][1:b]");
  CHECK(marks_of("{{ messages[0].content.split()[1].upper()[:3] }}", chat) == "[0:THE]");
  CHECK(marks_of("{{ '%s/%s' % (messages[0].content|trim, messages[1].content) }}", chat) ==
        "[0:Hi there][1:a<|x|>b]");
  CHECK(marks_of("{{ messages[1] | tojson }}", chat) == "[1:\"a<|x|>b\"]");
  CHECK(marks_of("{% macro f(x) %}<{{ x }}>{% endmacro %}{% set y %}{{ f(messages[1].content) }}{% "
                 "endset %}{{ y }}",
                 chat) == "[1:a<|x|>b]");
  CHECK(marks_of("{{ messages | map(attribute='content') | join('|') }}", chat) ==
        "[0: Hi there ][1:a<|x|>b]");
  CHECK(marks_of("{% for c in messages[0].content %}{{ c }}{% endfor %}", chat) ==
        "[0: Hi there ]");
  CHECK(marks_of("a{% generation %}b{{ v }}{% endgeneration %}", chat) == "[-2:V][-3:bV]");
  CHECK(marks_of("{{ messages[0].content }}",
                 R"({"messages": [{"role": "user", "content": ""}]})") == "[0:]");
}

TEST_CASE("jinja: a template and a context must be UTF-8 and of moderate size") {
  CHECK_THROWS_WITH_AS(Template("a\xFF", "t"), "t: the chat template is not UTF-8", FormatError);
  CHECK_THROWS_WITH_AS(Template(std::string((1 << 20) + 1, 'x'), "t"),
                       "t: a chat template of 1048577 bytes; at most 1048576 are allowed",
                       FormatError);
  CHECK_THROWS_WITH_AS(from_json(R"({"a": 1, "a": 2})", "c"),
                       "c: the key \"a\" occurs twice in one JSON object", FormatError);
  CHECK_THROWS_WITH_AS(from_json("[99999999999999999999]", "c"),
                       "c: the integer 99999999999999999999 needs more than 64 bits", FormatError);
  CHECK_THROWS_WITH_AS(from_json(std::string(200, '['), "c"),
                       "c: JSON is nested deeper than 90 levels", FormatError);
}
