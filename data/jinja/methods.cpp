// The methods of Python's strings, lists and dicts that templates may call. Those that would change
// their object give an undefined value, as in the sandbox; those that are known to Python and not
// written here are errors.
#include <utf8proc.h>

#include <algorithm>
#include <map>

#include "data/jinja/value.h"
#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

using StringMethod = Value (*)(const String& self, const Args& args);

Value none() { return {}; }

// The arguments of a Markup's methods are escaped, so that the result is Markup.
String argument(const String& self, const String& given) {
  return self.safe ? escape_html(Value(given)) : given;
}

Value list_of(std::vector<String> parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (String& part : parts) items.emplace_back(std::move(part));
  return Value::list(std::move(items));
}

// ---- cutting
// ----------------------------------------------------------------------------------------

std::vector<String> split_blanks(const String& s, int64_t limit, bool from_right) {
  const std::string_view text = s.text;
  std::vector<std::pair<size_t, size_t>> words;
  for (size_t at = 0; at < text.size();) {
    const auto [code, size] = unicode::decode_at(text, at);
    const bool blank = is_python_space(code);
    if (!blank) {
      if (!words.empty() && words.back().second == at)
        words.back().second = at + size;
      else
        words.emplace_back(at, at + size);
    }
    at += size;
  }
  std::vector<String> parts;
  const size_t count = words.size(), cuts = limit < 0 ? count : static_cast<size_t>(limit);
  if (count <= cuts) {
    for (const auto& [begin, end] : words) parts.push_back(s.slice(begin, end));
  } else if (!from_right) {
    for (size_t i = 0; i < cuts; ++i) parts.push_back(s.slice(words[i].first, words[i].second));
    parts.push_back(s.slice(words[cuts].first, text.size()));  // the rest keeps its blanks
  } else {
    const size_t rest = count - cuts;
    parts.push_back(s.slice(0, words[rest - 1].second));
    for (size_t i = rest; i < count; ++i) parts.push_back(s.slice(words[i].first, words[i].second));
  }
  return parts;
}

std::vector<String> split_at(const String& s, const std::string& separator, int64_t limit,
                             bool from_right) {
  if (separator.empty()) failure("empty separator");
  std::vector<std::pair<size_t, size_t>> cuts;
  if (!from_right) {
    for (size_t at = s.text.find(separator);
         at != std::string::npos && (limit < 0 || std::ssize(cuts) < limit);
         at = s.text.find(separator, at + separator.size()))
      cuts.emplace_back(at, at + separator.size());
  } else {
    size_t end = s.text.size();
    while ((limit < 0 || std::ssize(cuts) < limit) && end >= separator.size()) {
      const size_t at = s.text.rfind(separator, end - separator.size());
      if (at == std::string::npos) break;
      cuts.emplace_back(at, at + separator.size());
      end = at;
    }
    std::reverse(cuts.begin(), cuts.end());
  }
  std::vector<String> parts;
  size_t begin = 0;
  for (const auto& [from, to] : cuts) {
    parts.push_back(s.slice(begin, from));
    begin = to;
  }
  parts.push_back(s.slice(begin, s.text.size()));
  return parts;
}

Value split(const String& self, const Args& args, bool from_right) {
  const Bound a(args, from_right ? "rsplit" : "split", {"sep", "maxsplit"});
  const int64_t limit = a.integer(1, -1);
  if (!a.has(0) || a[0].is(Value::Kind::kNone))
    return list_of(split_blanks(self, limit, from_right));
  return list_of(split_at(self, argument(self, a.string(0)).text, limit, from_right));
}

Value partition(const String& self, const Args& args, bool from_right) {
  const Bound a(args, from_right ? "rpartition" : "partition", {"/sep"}, 1);
  const std::string& separator = a.string(0).text;
  if (separator.empty()) failure("empty separator");
  const size_t at = from_right ? self.text.rfind(separator) : self.text.find(separator);
  if (at == std::string::npos)
    return from_right ? Value::tuple({"", "", Value(self)}) : Value::tuple({Value(self), "", ""});
  const size_t after = at + separator.size();
  return Value::tuple({Value(self.slice(0, at)), Value(self.slice(at, after)),
                       Value(self.slice(after, self.text.size()))});
}

Value stripped(const String& self, const Args& args, const char* name, bool left, bool right) {
  const Bound a(args, name, {"/chars"});
  const Value characters = a.get(0, none());
  if (!characters.is(Value::Kind::kNone)) a.string(0);
  return strip(self, characters, left, right);
}

// ---- finding
// ----------------------------------------------------------------------------------------

// The byte range of characters [start, end) as find, count and startswith take them; false if start
// lies beyond the text.
bool window(const String& self, const Bound& a, size_t first, size_t& begin, size_t& end) {
  const auto count = static_cast<int64_t>(character_count(self.text));
  auto place = [&](size_t i, int64_t fallback) {
    int64_t at = a.has(i) && !a[i].is(Value::Kind::kNone) ? a.integer(i, 0) : fallback;
    if (at < 0) at = std::max<int64_t>(0, at + count);
    return at;
  };
  const int64_t from = place(first, 0), to = std::min(place(first + 1, count), count);
  if (from > to) return false;
  begin = byte_offset(self.text, static_cast<size_t>(from));
  end = byte_offset(self.text, static_cast<size_t>(to));
  return true;
}

int64_t find(const String& self, const Args& args, const char* name, bool last) {
  const Bound a(args, name, {"/sub", "/start", "/end"}, 1);
  size_t begin, end;
  if (!window(self, a, 1, begin, end)) return -1;
  charge(self.text.size() / 64);
  const std::string_view in = std::string_view(self.text).substr(begin, end - begin);
  const size_t at = last ? in.rfind(a.string(0).text) : in.find(a.string(0).text);
  if (at == std::string_view::npos) return -1;
  return static_cast<int64_t>(character_count(std::string_view(self.text).substr(0, begin + at)));
}

int64_t index(const String& self, const Args& args, const char* name, bool last) {
  const int64_t at = find(self, args, name, last);
  if (at < 0) failure("substring not found");
  return at;
}

Value string_count(const String& self, const Args& args) {
  const Bound a(args, "count", {"/sub", "/start", "/end"}, 1);
  size_t begin, end;
  if (!window(self, a, 1, begin, end)) return 0;
  const std::string_view in = std::string_view(self.text).substr(begin, end - begin);
  const std::string& sub = a.string(0).text;
  charge(in.size() / 64);
  if (sub.empty()) return static_cast<int64_t>(character_count(in)) + 1;
  int64_t n = 0;
  for (size_t at = in.find(sub); at != std::string_view::npos; at = in.find(sub, at + sub.size()))
    ++n;
  return n;
}

Value begins_or_ends(const String& self, const Args& args, const char* name, bool ends) {
  const Bound a(args, name, {"/prefix", "/start", "/end"}, 1);
  std::vector<Value> choices{a[0]};
  if (a[0].is(Value::Kind::kTuple)) choices = a[0].items();
  size_t begin = 0, end = 0;
  const bool inside = window(self, a, 1, begin, end);
  for (const Value& choice : choices) {
    if (!choice.is_string())
      failure("{}: its argument must be a string or a tuple of strings, not {}", name,
              choice.type_name());
    const std::string_view in = std::string_view(self.text).substr(begin, end - begin);
    if (inside &&
        (ends ? in.ends_with(choice.string().text) : in.starts_with(choice.string().text)))
      return true;
  }
  return false;
}

// ---- making
// -----------------------------------------------------------------------------------------

Value string_replace(const String& self, const Args& args) {
  const Bound a(args, "replace", {"/old", "/new", "/count"}, 2);
  return replaced(self, argument(self, a.string(0)), argument(self, a.string(1)), a.integer(2, -1));
}

Value string_join(const String& self, const Args& args) {
  const Bound a(args, "join", {"/iterable"}, 1);
  String out;
  out.safe = self.safe;
  bool first = true;
  for (const Value& item : to_vector(a[0])) {
    if (!item.is_string()) failure("join: expected strings, found {}", item.type_name());
    if (!first) out.append(self);
    first = false;
    out.append(argument(self, item.string()));
  }
  return out;
}

Value padded(const String& self, const Args& args, const char* name, double left_share) {
  const Bound a(args, name, {"/width", "/fillchar"}, 1);
  const auto size = static_cast<int64_t>(character_count(self.text));
  const int64_t width = a.integer(0, 0), missing = std::max<int64_t>(0, width - size);
  const std::string fill = a.has(1) ? a.string(1).text : " ";
  if (character_count(fill) != 1) failure("The fill character must be exactly one character long");
  charge_text(static_cast<size_t>(missing));
  // center puts the odd blank left if the width is odd
  const int64_t left = left_share == 0.5 ? missing / 2 + (missing & width & 1)
                       : left_share > 0  ? missing
                                         : 0;
  String out;
  out.safe = self.safe;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(self);
  for (int64_t i = left; i < missing; ++i) out.append(fill);
  return out;
}

Value zfill(const String& self, const Args& args) {
  const Bound a(args, "zfill", {"/width"}, 1);
  const int64_t missing = a.integer(0, 0) - static_cast<int64_t>(character_count(self.text));
  if (missing <= 0) return self;
  charge_text(static_cast<size_t>(missing));
  const size_t sign = self.text.starts_with('-') || self.text.starts_with('+') ? 1 : 0;
  String out = self.slice(0, sign);
  out.append(std::string(static_cast<size_t>(missing), '0'));
  out.append(self.slice(sign, self.text.size()));
  return out;
}

Value expandtabs(const String& self, const Args& args) {
  const int64_t width = Bound(args, "expandtabs", {"tabsize"}).integer(0, 8);
  std::string out;
  int64_t column = 0;
  for (const char c : self.text) {
    if (c == '\t') {
      const int64_t blanks = width > 0 ? width - column % width : 0;
      charge_text(static_cast<size_t>(blanks));
      out.append(static_cast<size_t>(blanks), ' ');
      column += blanks;
      continue;
    }
    out += c;
    if (c == '\n' || c == '\r')
      column = 0;
    else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80)
      ++column;
  }
  return self.derived(std::move(out));
}

Value without(const String& self, const Args& args, const char* name, bool prefix) {
  const Bound a(args, name, {"/affix"}, 1);
  const std::string& affix = a.string(0).text;
  if (prefix ? !self.text.starts_with(affix) : affix.empty() || !self.text.ends_with(affix))
    return self;
  return prefix ? self.slice(affix.size(), self.text.size())
                : self.slice(0, self.text.size() - affix.size());
}

Value swapcase(const String& self, const Args&) {
  std::string out;
  for (size_t at = 0; at < self.text.size();) {
    const auto [code, size] = unicode::decode_at(self.text, at);
    const std::string_view one = std::string_view(self.text).substr(at, size);
    out += case_of(code) == CaseKind::kUpper   ? lower(one)
           : case_of(code) == CaseKind::kLower ? upper(one)
                                               : std::string(one);
    at += size;
  }
  return self.derived(std::move(out));
}

// ---- asking
// -----------------------------------------------------------------------------------------

template <class Each>
bool all_characters(const String& s, Each holds) {
  if (s.text.empty()) return false;
  for (size_t at = 0; at < s.text.size();) {
    const auto [code, size] = unicode::decode_at(s.text, at);
    if (!holds(code)) return false;
    at += size;
  }
  return true;
}

bool is_unicode_digit(char32_t c) {
  if (unicode::category(c) == UTF8PROC_CATEGORY_ND) return true;
  // Numeric_Type=Digit beyond the decimal digits.
  return c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0x1369 && c <= 0x1371) || c == 0x19DA ||
         c == 0x2070 || (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
         (c >= 0x2488 && c <= 0x2490) || c == 0x24EA || (c >= 0x24F5 && c <= 0x24FD) ||
         c == 0x24FF || (c >= 0x2776 && c <= 0x277E) || (c >= 0x2780 && c <= 0x2788) ||
         (c >= 0x278A && c <= 0x2792) || (c >= 0x10A40 && c <= 0x10A43) ||
         (c >= 0x10E60 && c <= 0x10E68) || (c >= 0x11052 && c <= 0x1105A) ||
         (c >= 0x1F100 && c <= 0x1F10A);
}

bool is_letter(char32_t c) { return unicode::class_of(c) & unicode::kLetter; }
bool is_decimal(char32_t c) { return unicode::category(c) == UTF8PROC_CATEGORY_ND; }

// Cased, and all cased characters of the one case.
bool is_case(const String& s, CaseKind kind) {
  bool any = false;
  for (size_t at = 0; at < s.text.size();) {
    const auto [code, size] = unicode::decode_at(s.text, at);
    const CaseKind here = case_of(code);
    if (here != CaseKind::kNone && here != kind) return false;
    any = any || here == kind;
    at += size;
  }
  return any;
}

bool is_title(const String& s) {
  bool any = false, in_word = false;
  for (size_t at = 0; at < s.text.size();) {
    const auto [code, size] = unicode::decode_at(s.text, at);
    const CaseKind here = case_of(code);
    if (here == CaseKind::kLower ? !in_word : here != CaseKind::kNone && in_word) return false;
    in_word = here != CaseKind::kNone;
    any = any || in_word;
    at += size;
  }
  return any;
}

const std::map<std::string_view, StringMethod>& string_methods() {
  using S = const String&;
  using A = const Args&;
  static const std::map<std::string_view, StringMethod> table = {
      {"upper", [](S s, A) { return Value(s.derived(upper(s.text))); }},
      {"lower", [](S s, A) { return Value(s.derived(lower(s.text))); }},
      {"title", [](S s, A) { return Value(s.derived(title(s.text))); }},
      {"capitalize", [](S s, A) { return Value(s.derived(capitalize(s.text))); }},
      {"swapcase", swapcase},
      {"strip", [](S s, A a) { return stripped(s, a, "strip", true, true); }},
      {"lstrip", [](S s, A a) { return stripped(s, a, "lstrip", true, false); }},
      {"rstrip", [](S s, A a) { return stripped(s, a, "rstrip", false, true); }},
      {"split", [](S s, A a) { return split(s, a, false); }},
      {"rsplit", [](S s, A a) { return split(s, a, true); }},
      {"splitlines",
       [](S s, A a) {
         return list_of(split_lines(s, Bound(a, "splitlines", {"keepends"}).truth(0, false)));
       }},
      {"partition", [](S s, A a) { return partition(s, a, false); }},
      {"rpartition", [](S s, A a) { return partition(s, a, true); }},
      {"find", [](S s, A a) { return Value(find(s, a, "find", false)); }},
      {"rfind", [](S s, A a) { return Value(find(s, a, "rfind", true)); }},
      {"index", [](S s, A a) { return Value(index(s, a, "index", false)); }},
      {"rindex", [](S s, A a) { return Value(index(s, a, "rindex", true)); }},
      {"count", string_count},
      {"startswith", [](S s, A a) { return begins_or_ends(s, a, "startswith", false); }},
      {"endswith", [](S s, A a) { return begins_or_ends(s, a, "endswith", true); }},
      {"replace", string_replace},
      {"join", string_join},
      {"format", [](S s, A a) { return Value(brace_format(s, a)); }},
      {"format_map",
       [](S s, A a) {
         const Bound bound(a, "format_map", {"/mapping"}, 1);
         if (!bound[0].is(Value::Kind::kDict))
           failure("format_map needs a dict, got {}", bound[0].type_name());
         Args named;
         for (const auto& [key, value] : bound[0].entries().entries)
           if (key.is_string()) named.named.emplace_back(key.string().text, value);
         return Value(brace_format(s, named));
       }},
      {"center", [](S s, A a) { return padded(s, a, "center", 0.5); }},
      {"ljust", [](S s, A a) { return padded(s, a, "ljust", 0); }},
      {"rjust", [](S s, A a) { return padded(s, a, "rjust", 1); }},
      {"zfill", zfill},
      {"expandtabs", expandtabs},
      {"removeprefix", [](S s, A a) { return without(s, a, "removeprefix", true); }},
      {"removesuffix", [](S s, A a) { return without(s, a, "removesuffix", false); }},
      {"isspace", [](S s, A) { return Value(all_characters(s, is_python_space)); }},
      {"isdecimal", [](S s, A) { return Value(all_characters(s, is_decimal)); }},
      {"isdigit", [](S s, A) { return Value(all_characters(s, is_unicode_digit)); }},
      {"isalpha", [](S s, A) { return Value(all_characters(s, is_letter)); }},
      {"isascii",
       [](S s, A) {
         return Value(s.text.empty() || all_characters(s, [](char32_t c) { return c < 128; }));
       }},
      {"isupper", [](S s, A) { return Value(is_case(s, CaseKind::kUpper)); }},
      {"islower", [](S s, A) { return Value(is_case(s, CaseKind::kLower)); }},
      {"istitle", [](S s, A) { return Value(is_title(s)); }},
      {"isalnum",
       [](S s, A) {
         return Value(all_characters(s, [](char32_t c) {
           return is_letter(c) || is_unicode_digit(c) || (unicode::class_of(c) & unicode::kNumber);
         }));
       }},
      {"isnumeric",
       [](S s, A) {
         // Letters that are numbers (CJK) are left to an error below.
         return Value(all_characters(s, [](char32_t c) {
           if (c >= 0x3000 && is_letter(c)) failure("isnumeric of CJK characters is not supported");
           return is_unicode_digit(c) || (unicode::class_of(c) & unicode::kNumber) != 0;
         }));
       }},
  };
  return table;
}

bool among(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Value unsafe(const Value& self, std::string_view name) {
  return Value::undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe", name, self.type_name()));
}

std::optional<Value> string_method(const Value& self, std::string_view name) {
  const auto found = string_methods().find(name);
  if (found != string_methods().end())
    return Value::function(name, [self, run = found->second](const Args& args) {
      charge(self.string().text.size() / 64);
      return run(self.string(), args);
    });
  if (among(name, {"casefold", "encode", "isidentifier", "isprintable", "maketrans", "translate",
                   "unescape", "striptags"}))
    failure("the string method {} is not supported", name);
  return std::nullopt;
}

std::optional<Value> sequence_method(const Value& self, std::string_view name) {
  const bool is_list = self.is(Value::Kind::kList);
  if (is_list &&
      among(name, {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"}))
    return unsafe(self, name);
  if (!is_list && self.shared<List>()->group && among(name, {"grouper", "list"}))
    return self.items()[name == "list"];
  if (name == "copy" && is_list)
    return Value::function(name, [self](const Args&) { return self; }, {self});
  if (name == "count")
    return Value::function(name,
                           [self](const Args& args) {
                             const Bound a(args, "count", {"/value"}, 1);
                             return Value(static_cast<int64_t>(
                                 std::count_if(self.items().begin(), self.items().end(),
                                               [&](const Value& v) { return equal(v, a[0]); })));
                           },
                           {self});
  if (name == "index")
    return Value::function(name,
                           [self](const Args& args) {
                             const Bound a(args, "index", {"/value", "/start", "/stop"}, 1);
                             const auto size = std::ssize(self.items());
                             auto place = [&](size_t i, int64_t fallback) {
                               const int64_t at = a.integer(i, fallback);
                               return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
                             };
                             for (int64_t i = place(1, 0); i < place(2, size); ++i)
                               if (equal(self.items()[static_cast<size_t>(i)], a[0]))
                                 return Value(i);
                             failure("the value is not in the list");
                           },
                           {self});
  return std::nullopt;
}

std::optional<Value> dict_method(const Value& self, std::string_view name) {
  static constexpr std::string_view kViews[] = {"keys", "values", "items"};
  for (size_t i = 0; i < 3; ++i)
    if (name == kViews[i])
      return Value::function(name,
                             [self, i](const Args& args) {
                               const Bound no_arguments(args, kViews[i], {});
                               return Value::view({static_cast<View::What>(i), self});
                             },
                             {self});
  if (name == "get")
    return Value::function(name,
                           [self](const Args& args) {
                             const Bound a(args, "get", {"/key", "/default"}, 1);
                             const Value* found = self.entries().find(a[0]);
                             return found ? *found : a.get(1, none());
                           },
                           {self});
  if (name == "copy") return Value::function(name, [self](const Args&) { return self; }, {self});
  if (among(name, {"clear", "pop", "popitem", "setdefault", "update"})) return unsafe(self, name);
  if (name == "fromkeys") failure("fromkeys of a dict value is not supported; dict.fromkeys is");
  return std::nullopt;
}

std::optional<Value> range_attribute(const Value& self, std::string_view name) {
  const Range& r = self.range();
  if (name == "start") return Value(r.start);
  if (name == "stop") return Value(r.stop);
  if (name == "step") return Value(r.step);
  if (among(name, {"count", "index"})) failure("the range method {} is not supported", name);
  return std::nullopt;
}

}  // namespace

String replaced(const String& self, const String& old, const String& with, int64_t limit) {
  String out;
  out.safe = self.safe;
  charge(self.text.size() / 64);
  int64_t done = 0;
  size_t begin = 0;
  if (old.text.empty()) {  // before every character and at the end
    for (size_t at = 0;;) {
      if (limit >= 0 && done >= limit) break;
      out.append(with);
      ++done;
      if (at >= self.text.size()) break;
      const size_t next = at + unicode::decode_at(self.text, at).size;
      out.append(self.slice(at, next));
      begin = at = next;
    }
  } else {
    for (size_t at = self.text.find(old.text);
         at != std::string::npos && (limit < 0 || done < limit);
         at = self.text.find(old.text, begin), ++done) {
      out.append(self.slice(begin, at));
      out.append(with);
      begin = at + old.text.size();
    }
  }
  out.append(self.slice(begin, self.text.size()));
  return out;
}

std::optional<Value> method(const Value& self, std::string_view name) {
  if (name.starts_with("__") && name.ends_with("__")) return unsafe(self, name);
  switch (self.kind()) {
    case Value::Kind::kString:
      return string_method(self, name);
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      return sequence_method(self, name);
    case Value::Kind::kDict:
      return dict_method(self, name);
    case Value::Kind::kRange:
      return range_attribute(self, name);
    case Value::Kind::kView:
      if (among(name, {"mapping", "isdisjoint"}))
        failure("the attribute {} of a dict view is not supported", name);
      return std::nullopt;
    case Value::Kind::kInt:
    case Value::Kind::kBool:
    case Value::Kind::kFloat:
      if (among(name,
                {"real", "imag", "numerator", "denominator", "conjugate", "bit_length", "bit_count",
                 "to_bytes", "from_bytes", "as_integer_ratio", "is_integer", "hex", "fromhex"}))
        failure("the attribute {} of numbers is not supported", name);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace ocellus::jinja
