// Goldens of kind "template": conversations as transformers renders them, byte for byte.
#include <sstream>

#include "data/jinja/chat.h"
#include "engine/file.h"
#include "engine/json.h"
#include "vlm/golden.h"

namespace ocellus {
namespace {

// The line without what is expected of it.
jinja::Value record_of(const jinja::Value& line) {
  jinja::Dict record;
  for (const auto& [key, value] : line.entries().entries)
    if (jinja::str(key).text != "rendered" && jinja::str(key).text != "error")
      record.set(key, value);
  return jinja::Value::dict(std::move(record));
}

// "TemplateError: TEXT" is what raise_exception(TEXT) gives; other errors have their own words
// there.
std::string raised_text(const std::string& error) {
  const std::string prefix = "TemplateError: ";
  return error.starts_with(prefix) ? error.substr(prefix.size()) : "";
}

ParityRow compare_line(const jinja::ChatTemplateFile& chat, const jinja::Value& line,
                       const std::string& who) {
  ParityRow row;
  row.name = who.substr(who.rfind('/') + 1);
  const jinja::Value* rendered = line.entries().find_name("rendered");
  const jinja::Value* error = line.entries().find_name("error");
  check<FormatError>((rendered && rendered->is_string()) != (error && error->is_string()),
                     "{}: needs either \"rendered\" or \"error\"", who);
  try {
    const std::string text = chat.render(record_of(line), who).text;
    if (error) {
      row.note = "should fail: " + error->string().text;
    } else if (text != rendered->string().text) {
      const std::string& stored = rendered->string().text;
      const auto at = std::mismatch(text.begin(), text.end(), stored.begin(), stored.end()).first -
                      text.begin();
      row.note = fmt::format("differs from byte {} on: got {}", at,
                             jinja::repr_string(text));
    }
  } catch (const FormatError& thrown) {
    const std::string what = thrown.what();
    if (!error)
      row.note = what;
    else if (what.find(raised_text(error->string().text)) == std::string::npos)
      row.note = fmt::format("fails with \"{}\", stored \"{}\"", what, error->string().text);
  }
  row.ok = row.note.empty();
  return row;
}

std::vector<ParityRow> template_parity(const std::string& folder, DType) {
  const jinja::ChatTemplateFile chat = jinja::load_chat_template(folder);
  const nlohmann::json meta = load_json(folder + "/golden.json");
  const std::string file = meta.value("file", "golden.jsonl");
  check<FormatError>(file.find('/') == std::string::npos,
                     "{}/golden.json: \"file\" must be a name without folders", folder);
  std::istringstream lines(read_file(folder + "/" + file));
  std::vector<ParityRow> rows;
  std::string text;
  for (int number = 1; std::getline(lines, text); ++number) {
    if (text.empty()) continue;
    const std::string who = fmt::format("{}/{} line {}", folder, file, number);
    const jinja::Value line = jinja::from_json(text, who);
    check<FormatError>(line.is(jinja::Value::Kind::kDict), "{}: must be an object", who);
    rows.push_back(compare_line(chat, line, who));
  }
  check<FormatError>(!rows.empty(), "{}/{}: has no lines", folder, file);
  return rows;
}

const RegisterParity kTemplate("template", template_parity);

}  // namespace
}  // namespace ocellus
