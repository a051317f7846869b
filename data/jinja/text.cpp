// str() and repr() of values, and what strings need: characters, blanks, lines.
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/jinja/value.h"
#include "data/unicode.h"

namespace ocellus::jinja {

size_t character_count(std::string_view text) {
  charge(text.size() / 256);
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

size_t byte_offset(std::string_view text, size_t index) {
  charge(std::min(index, text.size()) / 64);
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += unicode::decode_at(text, at).size;
  return at;
}

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

String strip(const String& s, const Value& characters, bool left, bool right) {
  auto strips = [&](char32_t code, std::string_view bytes) {
    if (characters.is(Value::Kind::kNone)) return is_python_space(code);
    // `bytes` is one whole character, and UTF-8 cannot match in the middle of one.
    return characters.string().text.find(bytes) != std::string::npos;
  };
  const std::string_view text = s.text;
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const auto [code, size] = unicode::decode_at(text, begin);
    if (!strips(code, text.substr(begin, size))) break;
    begin += size;
  }
  while (right && begin < end) {
    const size_t at = unicode::previous_start(text, end);
    if (!strips(unicode::decode_at(text, at).code, text.substr(at, end - at))) break;
    end = at;
  }
  return s.slice(begin, end);
}

std::vector<String> split_lines(const String& s, bool keep_ends) {
  std::vector<String> lines;
  size_t begin = 0;
  for (size_t at = 0; at < s.text.size();) {
    const auto [c, size] = unicode::decode_at(s.text, at);
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                      c == 0x2028 || c == 0x2029;
    const size_t stop = at;
    at += size;
    if (!ends) continue;
    if (c == '\r' && at < s.text.size() && s.text[at] == '\n') ++at;
    lines.push_back(s.slice(begin, keep_ends ? at : stop));
    begin = at;
  }
  if (begin < s.text.size()) lines.push_back(s.slice(begin, s.text.size()));
  return lines;
}

String escape_html(const Value& v) {
  const String from = str(v);
  if (from.safe) return from;
  std::string out;
  for (const char c : from.text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  String escaped = from.derived(std::move(out));
  escaped.safe = true;
  return escaped;
}

std::string float_text(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto made = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific);
  std::string_view shortest(buffer, static_cast<size_t>(made.ptr - buffer));
  const size_t e = shortest.find('e');
  int exponent = 0;
  std::from_chars(shortest.data() + e + 1 + (shortest[e + 1] == '+'),
                  shortest.data() + shortest.size(), exponent);
  const bool minus = shortest[0] == '-';
  std::string digits;
  for (const char c : shortest.substr(0, e))
    if (c != '-' && c != '.') digits += c;
  std::string out = minus ? "-" : "";
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    out += fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  } else if (exponent < 0) {
    out += "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  } else if (exponent + 1 >= count) {
    out += digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  } else {
    out += digits.substr(0, static_cast<size_t>(exponent + 1)) + "." +
           digits.substr(static_cast<size_t>(exponent + 1));
  }
  return out;
}

std::string repr_string(std::string_view text) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const auto [c, size] = unicode::decode_at(text, at);
    const int category = unicode::category(c);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c != ' ' && (category == UTF8PROC_CATEGORY_CN || category >= UTF8PROC_CATEGORY_ZS)) {
      out += c < 0x100     ? fmt::format("\\x{:02x}", static_cast<uint32_t>(c))
             : c < 0x10000 ? fmt::format("\\u{:04x}", static_cast<uint32_t>(c))
                           : fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    } else {
      out += text.substr(at, size);
    }
    at += size;
  }
  return out + quote;
}

namespace {

void write_repr(const Value& v, String& out);

template <class Range, class Each>
void write_list(const Range& items, const char* open, const char* close, String& out, Each each) {
  out.append(open);
  bool first = true;
  for (const auto& item : items) {
    if (!first) out.append(", ");
    first = false;
    each(item);
  }
  out.append(close);
}

void write_entries(const Dict& dict, String& out) {
  write_list(dict.entries, "{", "}", out, [&](const auto& entry) {
    write_repr(entry.first, out);
    out.append(": ");
    write_repr(entry.second, out);
  });
}

void write_view(const View& view, String& out) {
  static constexpr const char* kOpen[] = {"dict_keys([", "dict_values([", "dict_items(["};
  std::vector<Value> items;
  for (size_t i = 0; i < view.dict.entries().entries.size(); ++i) items.push_back(view.at(i));
  write_list(items, kOpen[static_cast<size_t>(view.what)], "])", out,
             [&](const Value& v) { write_repr(v, out); });
}

void write_repr(const Value& v, String& out) {
  charge(1);
  auto element = [&](const Value& item) { write_repr(item, out); };
  switch (v.kind()) {
    case Value::Kind::kUndefined:
      return out.append("Undefined");
    case Value::Kind::kNone:
      return out.append("None");
    case Value::Kind::kBool:
      return out.append(v.integer() ? "True" : "False");
    case Value::Kind::kInt:
      return out.append(std::to_string(v.integer()));
    case Value::Kind::kFloat:
      return out.append(float_text(v.real()));
    case Value::Kind::kString: {
      if (v.string().safe) out.append("Markup(");
      out.append(v.string().derived(repr_string(v.string().text)));
      if (v.string().safe) out.append(")");
      return;
    }
    case Value::Kind::kList:
      return write_list(v.items(), "[", "]", out, element);
    case Value::Kind::kTuple:
      return write_list(v.items(), "(", v.items().size() == 1 ? ",)" : ")", out, element);
    case Value::Kind::kDict:
      return write_entries(v.entries(), out);
    case Value::Kind::kRange:
      out.append(fmt::format("range({}, {}", v.range().start, v.range().stop));
      return out.append(v.range().step == 1 ? ")" : fmt::format(", {})", v.range().step));
    case Value::Kind::kView:
      return write_view(v.view(), out);
    case Value::Kind::kIterator:
      failure("a generator has no text that a template could rely on; use the filter list");
    case Value::Kind::kObject:
      return out.append(v.object().text());
  }
}

}  // namespace

String repr(const Value& v) {
  String out;
  write_repr(v, out);
  return out;
}

String str(const Value& v) {
  if (v.is_string()) return v.string();
  if (v.is_undefined()) return {};
  return repr(v);
}

}  // namespace ocellus::jinja
