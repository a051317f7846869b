// JSON to values in the order of the text, and values to JSON as Python's json.dumps writes it.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/jinja/value.h"
#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

void append_escaped(std::string& out, std::string_view text, bool ascii) {
  out += '"';
  for (size_t at = 0; at < text.size();) {
    const auto [c, size] = unicode::decode_at(text, at);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000 && c != 0x7F)) {
          out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
        } else if (ascii && c >= 0x10000) {
          const uint32_t v = c - 0x10000;
          out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (v >> 10), 0xDC00 + (v & 0x3FF));
        } else {
          out += text.substr(at, size);
        }
    }
    at += size;
  }
  out += '"';
}

std::string number_text(double d) {
  return std::isnan(d) ? "NaN" : std::isinf(d) ? (d < 0 ? "-Infinity" : "Infinity") : float_text(d);
}

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {}

  void write(const Value& v, int level) {
    charge(1);
    switch (v.kind()) {
      case Value::Kind::kNone:
        return out_.append("null");
      case Value::Kind::kBool:
        return out_.append(v.integer() ? "true" : "false");
      case Value::Kind::kInt:
        return out_.append(std::to_string(v.integer()));
      case Value::Kind::kFloat:
        return out_.append(number_text(v.real()));
      case Value::Kind::kString:
        return write_string(v.string());
      case Value::Kind::kList:
      case Value::Kind::kTuple: {
        const auto& items = v.items();
        return container("[", "]", items.size(), level,
                         [&](size_t i) { write(items[i], level + 1); });
      }
      case Value::Kind::kDict:
        return write_dict(v.entries(), level);
      default:
        failure("Object of type {} is not JSON serializable", v.type_name());
    }
  }
  String take() { return std::move(out_); }

 private:
  void write_string(const String& s) {
    std::string escaped;
    append_escaped(escaped, s.text, style_.ascii);
    String made = s.derived(std::move(escaped));
    made.safe = false;
    out_.append(made);
  }

  void write_dict(const Dict& dict, int level) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto* a, const auto* b) { return less(a->first, b->first); });
    container("{", "}", entries.size(), level, [&](size_t i) {
      const Value& key = entries[i]->first;
      switch (key.kind()) {
        case Value::Kind::kString:
          write_string(key.string());
          break;
        case Value::Kind::kNone:
          out_.append("\"null\"");
          break;
        case Value::Kind::kBool:
          out_.append(key.integer() ? "\"true\"" : "\"false\"");
          break;
        case Value::Kind::kInt:
          out_.append(fmt::format("\"{}\"", key.integer()));
          break;
        case Value::Kind::kFloat:
          out_.append(fmt::format("\"{}\"", number_text(key.real())));
          break;
        default:
          failure("keys must be str, int, float, bool or None, not {}", key.type_name());
      }
      out_.append(style_.key_separator);
      write(entries[i]->second, level + 1);
    });
  }

  template <class Each>
  void container(const char* open, const char* close, size_t count, int level, Each each) {
    out_.append(open);
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) out_.append(style_.item_separator);
      new_line(level + 1);
      each(i);
    }
    if (count > 0) new_line(level);
    out_.append(close);
  }

  void new_line(int level) {
    if (!style_.indent) return;
    out_.append("\n");
    for (int i = 0; i < level; ++i) out_.append(*style_.indent);
  }

  const JsonStyle& style_;
  String out_;
};

/// Builds values from the parser's events; the same strictness as engine/json.
class Reader {
 public:
  explicit Reader(const std::string& who) : who_(who) {}
  Value take() { return std::move(root_); }

  bool null() { return put(Value()); }
  bool boolean(bool value) { return put(Value(value)); }
  bool number_integer(int64_t value) { return put(Value(value)); }
  bool number_unsigned(uint64_t value) {
    check<FormatError>(value <= INT64_MAX, "{}: the integer {} needs more than 64 bits", who_,
                       value);
    return put(Value(static_cast<int64_t>(value)));
  }
  bool number_float(double value, const std::string& text) {
    check<FormatError>(text.find_first_of(".eE") != std::string::npos,
                       "{}: the integer {} needs more than 64 bits", who_, text.substr(0, 40));
    return put(Value(value));
  }
  bool string(std::string& value) {
    String s(std::move(value));
    if (origin_ != kFromTemplate) s.marks.push_back({0, s.text.size(), origin_});
    return put(Value(std::move(s)));
  }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_object(size_t) { return open(true); }
  bool start_array(size_t) { return open(false); }
  bool key(std::string& name) {
    Open& top = open_.back();
    check<FormatError>(!top.dict.find_name(name),
                       "{}: the key \"{}\" occurs twice in one JSON object", who_,
                       name.substr(0, 120));
    top.key = std::move(name);
    // What comes from where: [root object].messages[i].…; roles are names of the template's markup.
    if (open_.size() == 1) {
      in_messages_ = top.key == "messages";
      origin_ = kFromVariable;
    }
    if (in_messages_ && open_.size() == 3 && message_ >= 0)
      origin_ = top.key == "role" ? kFromTemplate : message_;
    return true;
  }
  bool end_object() {
    Dict dict = std::move(open_.back().dict);
    open_.pop_back();
    return put(Value::dict(std::move(dict)));
  }
  bool end_array() {
    std::vector<Value> items = std::move(open_.back().items);
    open_.pop_back();
    if (open_.size() == 1) in_messages_ = false;
    return put(Value::list(std::move(items)));
  }
  bool parse_error(size_t byte, const std::string&, const nlohmann::json::exception&) {
    fail<FormatError>("{}: not valid JSON at byte {}", who_, byte);
  }

 private:
  struct Open {
    bool is_object;
    Dict dict;
    std::vector<Value> items;
    std::string key;
  };
  bool put(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().dict.set(Value(open_.back().key), std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }
  bool open(bool is_object) {
    check<FormatError>(open_.size() < 90, "{}: JSON is nested deeper than 90 levels", who_);
    if (open_.size() == 2 && in_messages_)
      message_ = static_cast<int32_t>(open_.back().items.size());
    open_.push_back({is_object, {}, {}, {}});
    return true;
  }

  const std::string& who_;
  Value root_;
  std::vector<Open> open_;
  int32_t origin_ = kFromTemplate, message_ = -1;
  bool in_messages_ = false;
};

}  // namespace

String to_json(const Value& v, const JsonStyle& style) {
  Writer writer(style);
  writer.write(v, 0);
  return writer.take();
}

Value from_json(std::string_view text, const std::string& who) {
  Reader reader(who);
  const bool done = nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  check<FormatError>(done, "{}: not valid JSON", who);
  return reader.take();
}

}  // namespace ocellus::jinja
