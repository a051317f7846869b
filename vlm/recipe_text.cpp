// Writing recipes: TOML, help, the flat list of entries, and what is derived from it.
#include <map>

#include "engine/check.h"
#include "engine/file.h"
#include "vlm/recipe.h"
#include "vlm/recipe_keys.h"

namespace ocellus {
namespace {

std::string quote(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\u{:04x}", byte);
    else
      out += c;
  }
  return out + "\"";
}

/// The shortest digits that read back to the same double, marked as a float.
std::string number(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

/// Turns every kind of value into TOML text and hands it to entry().
class TextVisitor : public KeyVisitor {
 public:
  void key(const KeyInfo& info, bool& v) override { entry(info, "bool", v ? "true" : "false"); }
  void key(const KeyInfo& info, int64_t& v) override { entry(info, "integer", std::to_string(v)); }
  void key(const KeyInfo& info, double& v) override { entry(info, "number", number(v)); }
  void key(const KeyInfo& info, std::string& v) override { entry(info, "string", quote(v)); }
  void key(const KeyInfo& info, std::vector<std::string>& v) override {
    std::string text;
    for (const std::string& element : v) text += (text.empty() ? "" : ", ") + quote(element);
    entry(info, "strings", "[" + text + "]");
  }
  void key(const KeyInfo& info, std::array<double, 2>& v) override {
    entry(info, "two numbers", fmt::format("[{}, {}]", number(v[0]), number(v[1])));
  }
  void key(const KeyInfo& info, std::vector<PatternRate>& v) override {
    entry(info, "number|table", rates(v));
  }

 protected:
  virtual void entry(const KeyInfo& info, const char* type, const std::string& value) = 0;

 private:
  static std::string rates(const std::vector<PatternRate>& v) {
    if (v.size() == 1 && v[0].pattern == "*") return number(v[0].lr);
    std::string text;
    for (const PatternRate& rate : v)
      text +=
          fmt::format("{}{} = {}", text.empty() ? "" : ", ", quote(rate.pattern), number(rate.lr));
    return "{" + text + "}";
  }
};

class TomlWriter : public TextVisitor {
 public:
  TomlWriter(std::string& out, std::string path) : out_(out), path_(std::move(path)) {}

  void table(const KeyInfo& info, const std::function<void(KeyVisitor&)>& visit) override {
    if (info.used) section(info, "[", "]", visit);
  }
  void list(const KeyInfo& info, const List& list) override {
    for (size_t i = 0; i < list.size(); ++i)
      section(info, "[[", "]]", [&](KeyVisitor& inner) { list.visit(inner, i); });
  }
  /// The tables inside, which TOML wants after the values.
  void finish() { out_ += tables_; }

 protected:
  void entry(const KeyInfo& info, const char*, const std::string& value) override {
    if (info.used) out_ += fmt::format("{} = {}\n", info.name, value);
  }

 private:
  void section(const KeyInfo& info, const char* open, const char* close,
               const std::function<void(KeyVisitor&)>& visit) {
    const std::string path = path_.empty() ? info.name : path_ + "." + info.name;
    tables_ += fmt::format("\n{}{}{}\n", open, path, close);
    TomlWriter inner(tables_, path);
    visit(inner);
    inner.finish();
  }

  std::string& out_;
  std::string path_, tables_;
};

/// Lists keys in full; with `help`, also those out of use, and list numbers as N.
class Lister : public TextVisitor {
 public:
  struct Row {
    KeyInfo info;
    std::string key, type, value;
  };
  Lister(std::vector<Row>& rows, std::string path, bool help)
      : rows_(rows), path_(std::move(path)), help_(help) {}

  void table(const KeyInfo& info, const std::function<void(KeyVisitor&)>& visit) override {
    if (!info.used && !help_) return;
    Lister inner(rows_, path_ + info.name + ".", help_);
    visit(inner);
  }
  void list(const KeyInfo& info, const List& list) override {
    if (help_) list.resize(1);
    for (size_t i = 0; i < list.size(); ++i) {
      Lister inner(
          rows_, fmt::format("{}{}.{}.", path_, info.name, help_ ? "N" : std::to_string(i)), help_);
      list.visit(inner, i);
    }
  }

 protected:
  void entry(const KeyInfo& info, const char* type, const std::string& value) override {
    if (info.used || help_) rows_.push_back({info, path_ + info.name, type, value});
  }

 private:
  std::vector<Row>& rows_;
  std::string path_;
  bool help_;
};

std::vector<Lister::Row> rows_of(Recipe recipe, bool help) {
  std::vector<Lister::Row> rows;
  Lister lister(rows, "", help);
  describe_recipe(lister, recipe);
  return rows;
}

std::string choices_of(const KeyInfo& info) {
  std::string text;
  for (const std::string& choice : info.choices)
    if (!choice.empty()) text += (text.empty() ? ": " : " | ") + choice;
  return text;
}

}  // namespace

std::string to_toml(const Recipe& recipe) {
  Recipe copy = recipe;
  std::string out;
  TomlWriter writer(out, "");
  describe_recipe(writer, copy);
  writer.finish();
  return out;
}

std::string recipe_help() {
  std::string out =
      "Keys of a recipe (TOML): name, type, default, meaning. N numbers the entries of [[data]] "
      "and [[stage]] from 0.\n"
      "On the command line: --set stage.0.steps=120\n";
  std::string table = "-";
  for (const Lister::Row& row : rows_of(Recipe{}, true)) {
    const std::string parent =
        row.key.substr(0, row.key.size() - std::string(row.info.name).size());
    if (parent != table) out += "\n";
    table = parent;
    out += fmt::format("{:<40} {:<12} {:<20} {}{}", row.key, row.type,
                       row.info.required ? "(required)" : row.value, row.info.help,
                       choices_of(row.info));
    if (row.info.used_with[0] != '\0') out += fmt::format(" (with {})", row.info.used_with);
    out += "\n";
  }
  return out;
}

std::vector<RecipeEntry> recipe_entries(const Recipe& recipe) {
  std::vector<RecipeEntry> entries;
  for (const Lister::Row& row : rows_of(recipe, false))
    entries.push_back({row.key, row.value, row.info.changes_result});
  return entries;
}

std::string recipe_hash(const Recipe& recipe) {
  std::string text;
  for (const RecipeEntry& entry : recipe_entries(recipe))
    if (entry.changes_result) text += entry.key + " = " + entry.value + "\n";
  return hash_bytes(text);
}

std::vector<std::string> recipe_differences(const Recipe& saved, const Recipe& now) {
  std::map<std::string, std::pair<std::string, std::string>> values;  // key → saved, now
  for (const RecipeEntry& entry : recipe_entries(saved))
    if (entry.changes_result) values[entry.key].first = entry.value;
  for (const RecipeEntry& entry : recipe_entries(now))
    if (entry.changes_result) values[entry.key].second = entry.value;
  std::vector<std::string> sentences;
  for (const auto& [key, pair] : values)
    if (pair.first != pair.second)
      sentences.push_back(fmt::format("{} is {} in the checkpoint, {} now", key,
                                      pair.first.empty() ? "not used" : pair.first,
                                      pair.second.empty() ? "not used" : pair.second));
  return sentences;
}

}  // namespace ocellus
