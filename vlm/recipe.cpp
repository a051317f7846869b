// Reading recipes. toml++ stays inside this file.
#include "vlm/recipe.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>

#include "engine/check.h"
#include "engine/file.h"
#include "vlm/recipe_keys.h"

namespace {
struct TomlAssertion : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void toml_assertion(const char* what) { throw TomlAssertion(what); }
}  // namespace

// toml++ 3.3 meets some invalid input only with assertions and "unreachable" marks: `[@[@`, or an é
// outside a string. Those abort in debug builds and are promises to the optimiser in release
// builds. Here they throw in both, which needs the header-only form and NDEBUG out of the way; in
// the character tables, which are noexcept, they answer "no".
#undef NDEBUG
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_MAX_NESTED_VALUES 32
#define TOML_ASSERT(condition)                    \
  do {                                            \
    if (!(condition)) toml_assertion(#condition); \
  } while (false)
#include <toml++/impl/forward_declarations.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return false
#include <toml++/impl/unicode.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE toml_assertion("unreachable")
#include <toml++/toml.h>

namespace ocellus {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;
// Dots in one line: bounds the depth of tables, whose destructors recurse.
constexpr size_t kMaxDots = 120;
constexpr size_t kMaxShown = 120;  // bytes of the input that an error message repeats

/// Text of the input as it may stand in a message: short, without control characters.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, kMaxShown));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  if (text.size() > kMaxShown) out += "...";
  return out;
}

bool is_bare(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

/// `path` extended by one component, quoted if it must be.
std::string join(const std::string& path, std::string_view name) {
  const std::string part = is_bare(name) ? std::string(name) : fmt::format("\"{}\"", shown(name));
  return path.empty() ? part : fmt::format("{}.{}", path, part);
}

void check_depth(std::string_view text, const std::string& who) {
  size_t dots = 0, line = 1;
  for (const char c : text) {
    if (c == '\n') {
      dots = 0;
      ++line;
    }
    dots += c == '.';
    check<FormatError>(dots <= kMaxDots,
                       "{} line {}: more than {} dots in one line; keys are not that deep", who,
                       line, kMaxDots);
  }
}

// The line that trips an assertion of the parser, which does not say where: the last line of the
// shortest beginning of `text` that trips one. Recipes are short; of a long text only the first
// lines are tried.
size_t line_of_assertion(std::string_view text) {
  constexpr size_t kMostLines = 200;
  size_t line = 1;
  for (size_t end = text.find('\n'); end != std::string_view::npos && line < kMostLines;
       end = text.find('\n', end + 1), ++line) {
    try {
      static_cast<void>(toml::parse(text.substr(0, end)));
    } catch (const toml::parse_error&) {
      // Cut short, it need not be valid.
    } catch (const TomlAssertion&) {
      break;
    }
  }
  return line;
}

toml::table parse_toml(std::string_view text, const std::string& who) {
  check_depth(text, who);
  try {
    return toml::parse(text, who);
  } catch (const toml::parse_error& error) {
    const toml::source_position at = error.source().begin;
    fail<FormatError>("{} line {}, column {}: not valid TOML: {}", who, at.line, at.column,
                      shown(error.description()));
  } catch (const TomlAssertion& error) {
    fail<FormatError>("{} line {}: not valid TOML: the parser stopped where it expects `{}`", who,
                      line_of_assertion(text), shown(error.what()));
  }
}

/// One --set, split at the first '=' outside quotes.
struct Setting {
  std::string text;               // as given
  std::vector<std::string> path;  // its key, component by component
  std::string value;              // its value, unparsed
};

Setting split_setting(const std::string& text) {
  Setting setting{text, {}, {}};
  std::string part;
  bool quoted = false;
  size_t i = 0;
  const auto end_part = [&] {
    check<UsageError>(quoted || !part.empty(),
                      "--set {}: the key has an empty part; write KEY=VALUE, for example "
                      "stage.0.steps=120",
                      shown(text));
    setting.path.push_back(std::move(part));
    part.clear();
    quoted = false;
  };
  for (; i < text.size() && text[i] != '='; ++i) {
    if (text[i] == '.') {
      end_part();
    } else if (text[i] == '"' || text[i] == '\'') {
      const size_t close = text.find(text[i], i + 1);
      check<UsageError>(close != std::string::npos, "--set {}: a quote in the key is not closed",
                        shown(text));
      part += text.substr(i + 1, close - i - 1);
      quoted = true;
      i = close;
    } else if (text[i] != ' ') {
      part += text[i];
    }
  }
  check<UsageError>(i < text.size(),
                    "--set {}: there is no '='; write KEY=VALUE, for example stage.0.steps=120",
                    shown(text));
  end_part();
  setting.value = text.substr(i + 1);
  return setting;
}

/// The TOML document with the settings applied, and where each part of it came from.
class Document {
 public:
  Document(std::string_view text, std::string who, const std::vector<std::string>& settings)
      : who_(std::move(who)), root_(parse_toml(text, who_)) {
    for (const std::string& setting : settings) apply(split_setting(setting));
  }

  const toml::table& root() const { return root_; }
  const std::string& who() const { return who_; }

  /// Begins a message about the node at `path`: the setting that put it there, else file and line.
  std::string where(const std::string& path, const toml::node& node) const {
    if (const Setting* setting = setting_of(path))
      return fmt::format("--set {}", shown(setting->text));
    const auto line = node.source().begin.line;
    return line > 0 ? fmt::format("{} line {}", who_, line) : who_;
  }

  /// The unparsed value if a setting names exactly `path`: a string may be given as 2024 or true.
  const std::string* raw_text(const std::string& path) const {
    const auto at = origin_.find(path);
    return at == origin_.end() ? nullptr : &settings_.at(at->second).value;
  }

 private:
  const Setting* setting_of(std::string path) const {
    while (true) {
      const auto at = origin_.find(path);
      if (at != origin_.end()) return &settings_.at(at->second);
      const size_t dot = path.rfind('.');
      if (dot == std::string::npos) return nullptr;
      path.resize(dot);
    }
  }

  void apply(const Setting& setting) {
    settings_.push_back(setting);
    toml::node* at = &root_;
    std::string path;
    for (size_t i = 0; i + 1 < setting.path.size(); ++i) {
      at = &descend(*at, path, setting.path[i], setting);
      check<UsageError>(at->is_table() || at->is_array(),
                        "--set {}: {} is not a table or array, it has no parts",
                        shown(setting.text), path);
    }
    assign(*at, path, setting);
  }

  /// The child of `parent` that `name` means; tables come into being, array entries do not.
  toml::node& descend(toml::node& parent, std::string& path, const std::string& name,
                      const Setting& setting) {
    if (toml::array* array = parent.as_array()) {
      const size_t index = entry_index(*array, path, name, setting);
      path = join(path, std::to_string(index));
      return (*array)[index];
    }
    toml::table& table = *parent.as_table();
    path = join(path, name);
    if (!table.contains(name)) {
      table.insert(name, toml::table{});
      origin_[path] = settings_.size() - 1;
    }
    return *table.get(name);
  }

  size_t entry_index(const toml::array& array, const std::string& path, const std::string& name,
                     const Setting& setting) const {
    const bool number =
        !name.empty() && name.size() < 10 &&
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (number) {
      const size_t index = std::stoul(name);
      check<UsageError>(
          index < array.size(),
          "--set {}: {} has {} entries, numbered from 0; --set changes entries but adds none",
          shown(setting.text), path, array.size());
      return index;
    }
    for (size_t i = 0; i < array.size(); ++i)
      if (const toml::table* entry = array[i].as_table())
        if ((*entry)["name"].value_or(std::string_view()) == name) return i;
    fail<UsageError>(
        "--set {}: {} has no entry named \"{}\"; give a number from 0 or the entry's name",
        shown(setting.text), path, shown(name));
  }

  void assign(toml::node& parent, std::string path, const Setting& setting) {
    const std::string& name = setting.path.back();
    toml::array* const array = parent.as_array();
    const size_t index = array ? entry_index(*array, path, name, setting) : 0;
    path = join(path, array ? std::to_string(index) : name);
    origin_.erase(path);
    origin_.erase(origin_.lower_bound(path + "."),
                  origin_.lower_bound(path + "/"));  // '/' follows '.'
    origin_[path] = settings_.size() - 1;
    toml::table holder = parse_value(setting);
    toml::node& value = *holder.get("value");
    value.visit([&](auto& concrete) {
      if (array)
        array->replace(array->cbegin() + static_cast<ptrdiff_t>(index), std::move(concrete));
      else
        parent.as_table()->insert_or_assign(name, std::move(concrete));
    });
  }

  /// {value = …}: the setting's value read as TOML, or else taken as a string.
  static toml::table parse_value(const Setting& setting) {
    try {
      // The line break ends a comment; a value with one of its own could smuggle in further keys.
      toml::table holder = parse_toml("value = " + setting.value + "\n", "--set");
      if (holder.size() == 1 && holder.contains("value")) return holder;
    } catch (const FormatError&) {
    }
    check<UsageError>(is_utf8(setting.value), "--set {}: the value is not UTF-8 text",
                      setting.path.back());
    toml::table holder;
    holder.insert("value", setting.value);
    return holder;
  }

  /// Tried with the parser itself: a literal string may hold anything but quotes and controls.
  static bool is_utf8(const std::string& text) {
    std::string probe = "value = '";
    for (const char c : text) probe += static_cast<unsigned char>(c) < 0x80 ? 'x' : c;
    try {
      parse_toml(probe + "'\n", "--set");
      return true;
    } catch (const FormatError&) {
      return false;
    }
  }

  std::string who_;
  toml::table root_;
  std::vector<Setting> settings_;
  std::map<std::string, size_t> origin_;  // path → index of the setting that wrote it
};

/// "the string \"abc\"": a node as an error message shows it.
std::string shown(const toml::node& node) {
  if (const auto* v = node.as_string()) return fmt::format("the string \"{}\"", shown(v->get()));
  if (const auto* v = node.as_integer()) return fmt::format("the integer {}", v->get());
  if (const auto* v = node.as_floating_point()) return fmt::format("the number {}", v->get());
  if (const auto* v = node.as_boolean()) return v->get() ? "true" : "false";
  if (node.is_array()) return "an array";
  if (node.is_table()) return "a table";
  return "a date or time";
}

/// Reads one table of the document into the members that the table of keys names.
class Reader : public KeyVisitor {
 public:
  Reader(const Document& document, const toml::table& table, std::string path)
      : document_(document), table_(table), path_(std::move(path)) {}

  bool reading() const override { return true; }

  void key(const KeyInfo& info, bool& value) override {
    const toml::node* node = find(info);
    if (!node) return;
    if (!node->is_boolean()) wrong(info, *node, "true or false");
    value = node->as_boolean()->get();
  }

  void key(const KeyInfo& info, int64_t& value) override {
    const toml::node* node = find(info);
    if (!node) return;
    if (!node->is_integer()) wrong(info, *node, "an integer");
    check_range(info, static_cast<double>(node->as_integer()->get()), *node, path_of(info));
    value = node->as_integer()->get();
  }

  void key(const KeyInfo& info, double& value) override {
    if (const toml::node* node = find(info)) value = number(info, *node, path_of(info));
  }

  void key(const KeyInfo& info, std::string& value) override {
    const toml::node* node = find(info);
    if (!node) return;
    const std::string* raw = document_.raw_text(path_of(info));
    if (node->is_string())
      value = node->as_string()->get();
    else if (raw && node->is_value())
      value = *raw;
    else
      wrong(info, *node, "a string");
    check_choice(info, value, *node);
  }

  void key(const KeyInfo& info, std::vector<std::string>& value) override {
    const toml::node* node = find(info);
    if (!node) return;
    const toml::array* array = node->as_array();
    if (!array) wrong(info, *node, "an array of strings such as [\"a\", \"b\"]");
    value.clear();
    for (const toml::node& element : *array) {
      if (!element.is_string()) wrong(info, element, "an array of strings such as [\"a\", \"b\"]");
      value.push_back(element.as_string()->get());
    }
  }

  void key(const KeyInfo& info, std::array<double, 2>& value) override {
    const toml::node* node = find(info);
    if (!node) return;
    const toml::array* array = node->as_array();
    if (!array || array->size() != 2) wrong(info, *node, "an array of two numbers");
    for (size_t i = 0; i < 2; ++i)
      value.at(i) = number(info, (*array)[i], join(path_of(info), std::to_string(i)));
  }

  void key(const KeyInfo& info, std::vector<PatternRate>& value) override {
    const toml::node* node = find(info);
    if (!node) return;
    const toml::table* table = node->as_table();
    if (!table && !node->is_number())
      wrong(info, *node, "a number, or a table of pattern = number");
    value.clear();
    if (!table) {
      value.push_back({"*", number(info, *node, path_of(info))});
      return;
    }
    for (const auto& [pattern, rate] : *table)
      value.push_back(
          {std::string(pattern.str()), number(info, rate, join(path_of(info), pattern.str()))});
    std::sort(value.begin(), value.end(), [](const PatternRate& a, const PatternRate& b) {
      return std::make_pair(a.pattern.size(), a.pattern) <
             std::make_pair(b.pattern.size(), b.pattern);
    });
  }

  void table(const KeyInfo& info, const std::function<void(KeyVisitor&)>& visit) override {
    static const toml::table kNothing;
    const toml::node* node = find(info);
    if (node && !node->is_table()) wrong(info, *node, "a table");
    // Visited even if absent: a table may hold required keys.
    Reader inner(document_, node ? *node->as_table() : kNothing, path_of(info));
    visit(inner);
    inner.finish();
  }

  void list(const KeyInfo& info, const List& list) override {
    const toml::node* node = find(info);
    if (!node) return;
    const toml::array* array = node->as_array();
    if (!array) wrong(info, *node, fmt::format("an array of tables, written as [[{}]]", info.name));
    list.resize(array->size());
    for (size_t i = 0; i < array->size(); ++i) {
      const toml::node& entry = (*array)[i];
      if (!entry.is_table())
        wrong(info, entry, fmt::format("an array of tables, written as [[{}]]", info.name));
      Reader inner(document_, *entry.as_table(), join(path_of(info), std::to_string(i)));
      list.visit(inner, i);
      inner.finish();
    }
  }

  /// After all keys were visited: what the document has beside them, then what it lacks.
  void finish() const;

 private:
  std::string path_of(const KeyInfo& info) const { return join(path_, info.name); }

  const toml::node* find(const KeyInfo& info) {
    seen_.push_back(info.name);
    const toml::node* node = table_.get(info.name);
    if (!node && info.required) missing_.push_back(info.name);
    check<UsageError>(!node || info.used, "{}: {} is not used here; it belongs to {}",
                      node ? document_.where(path_of(info), *node) : "", path_of(info),
                      info.used_with);
    return node;
  }

  [[noreturn]] void wrong(const KeyInfo& info, const toml::node& node,
                          const std::string& need) const {
    fail<UsageError>("{}: {} must be {}, got {}", document_.where(path_of(info), node),
                     path_of(info), need, shown(node));
  }

  double number(const KeyInfo& info, const toml::node& node, const std::string& path) const {
    if (!node.is_number())
      fail<UsageError>("{}: {} must be a number, got {}", document_.where(path, node), path,
                       shown(node));
    const double value = *node.value<double>();
    check_range(info, value, node, path);
    return value;
  }

  void check_range(const KeyInfo& info, double value, const toml::node& node,
                   const std::string& path) const {
    if (value >= info.least && value <= info.most) return;  // false for NaN
    fail<UsageError>("{}: {} must be from {} to {}, got {}", document_.where(path, node), path,
                     info.least, info.most, value);
  }

  void check_choice(const KeyInfo& info, const std::string& value, const toml::node& node) const {
    if (info.choices.empty() ||
        std::find(info.choices.begin(), info.choices.end(), value) != info.choices.end())
      return;
    std::string list;
    for (const std::string& choice : info.choices)
      if (!choice.empty()) list += (list.empty() ? "\"" : ", \"") + choice + "\"";
    const std::string near = nearest_name(value, info.choices);
    fail<UsageError>("{}: {} must be one of {}, got \"{}\"{}", document_.where(path_of(info), node),
                     path_of(info), list, shown(value),
                     near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
  }

  const Document& document_;
  const toml::table& table_;
  const std::string path_;
  std::vector<std::string> seen_, missing_;
};

/// The places where a key of this name exists elsewhere in a recipe: for "every" put at the top
/// level.
std::vector<std::string> namesakes(std::string_view name) {
  Recipe recipe;
  recipe.data.resize(1);
  recipe.stage.resize(1);
  std::vector<std::string> found;
  for (const RecipeEntry& entry : recipe_entries(recipe))
    if (entry.key.ends_with(fmt::format(".{}", name)) || entry.key == name)
      found.push_back(entry.key);
  return found;
}

void Reader::finish() const {
  for (const auto& [key, node] : table_) {
    const std::string name(key.str());
    if (std::find(seen_.begin(), seen_.end(), name) != seen_.end()) continue;
    const std::string path = join(path_, name);
    // A key written in the file stands at its own line, its value may begin later.
    const toml::source_index line = key.source().begin.line;
    std::string where = document_.where(path, node);
    if (where.starts_with(document_.who()) && line > 0)
      where = fmt::format("{} line {}", document_.who(), line);
    std::string hint = nearest_name(name, seen_);
    if (!hint.empty())
      hint = join(path_, hint);
    else if (const auto others = namesakes(name); !others.empty())
      hint = others.front();
    fail<UsageError>("{}: unknown key {}{}", where, path,
                     hint.empty() ? "" : fmt::format("; did you mean {}?", hint));
  }
  if (!missing_.empty())
    fail<UsageError>("{}: {} is missing", document_.where(path_, table_),
                     join(path_, missing_.front()));
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance =
      (name.size() + 1) / 3 + 1;  // more edits than this: something else was meant
  for (const std::string& candidate : candidates) {
    if (candidate.empty() || name.size() > 64) continue;
    // Optimal string alignment distance; rows i-2, i-1 and i of its table.
    std::vector<size_t> before(candidate.size() + 1), last(candidate.size() + 1),
        now(candidate.size() + 1);
    for (size_t j = 0; j <= candidate.size(); ++j) last[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      now[0] = i;
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t replace = last[j - 1] + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        now[j] = std::min({last[j] + 1, now[j - 1] + 1, replace});
        if (i > 1 && j > 1 && name[i - 1] == candidate[j - 2] && name[i - 2] == candidate[j - 1])
          now[j] = std::min(now[j], before[j - 2] + 1);
      }
      before.swap(last);
      last.swap(now);
    }
    if (last[candidate.size()] < best_distance) {
      best_distance = last[candidate.size()];
      best = candidate;
    }
  }
  return best;
}

Recipe parse_recipe(std::string_view text, const std::string& who,
                    const std::vector<std::string>& settings) {
  check<FormatError>(text.size() <= kMaxBytes,
                     "{}: the recipe has {} bytes, at most {} are accepted", who, text.size(),
                     kMaxBytes);
  const Document document(text, who, settings);
  Recipe recipe;
  Reader reader(document, document.root(), "");
  describe_recipe(reader, recipe);
  reader.finish();
  check_recipe(recipe, who);
  return recipe;
}

Recipe load_recipe(const std::string& path, const std::vector<std::string>& settings) {
  Recipe recipe = parse_recipe(read_file(path, kMaxBytes), path, settings);
  if (recipe.name.empty()) recipe.name = std::filesystem::path(path).stem().string();
  return recipe;
}

}  // namespace ocellus
