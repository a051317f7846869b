// Jinja's filters. Those over iterables are lazy, as there: what is not asked for is not evaluated.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "data/jinja/library.h"
#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

// soft_str: strings as they are, everything else by str().
String soft(const Value& v) { return str(v); }

Value no_arguments(const Args& args, const char* name, Value result) {
  const Bound none(args, name, {});
  return result;
}

// ---- attributes by path
// -----------------------------------------------------------------------------

using Key = std::function<Value(const Value&)>;

std::vector<Value> path_of(const Value& attribute) {
  if (attribute.is(Value::Kind::kNone)) return {};
  if (!attribute.is_string()) return {attribute};
  std::vector<Value> parts;
  std::string_view text = attribute.string().text;
  for (;;) {
    const size_t dot = text.find('.');
    const std::string part(text.substr(0, dot));
    int64_t number = 0;
    const bool digits = !part.empty() && std::all_of(part.begin(), part.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    if (digits && std::from_chars(part.data(), part.data() + part.size(), number).ec == std::errc())
      parts.emplace_back(number);
    else
      parts.emplace_back(part);
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

Value folded(const Value& v, bool case_sensitive) {
  return v.is_string() && !case_sensitive ? Value(v.string().derived(lower(v.string().text))) : v;
}

Key key_of(const Value& attribute, bool case_sensitive, Value fallback = {}) {
  return [path = path_of(attribute), case_sensitive,
          fallback = std::move(fallback)](const Value& item) {
    Value v = item;
    for (const Value& part : path) {
      v = get_item(v, part);
      if (v.is_undefined() && !fallback.is(Value::Kind::kNone)) v = fallback;
    }
    return folded(v, case_sensitive);
  };
}

std::vector<Value> sorted(std::vector<Value> items, const Key& key, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  keyed.reserve(items.size());
  for (Value& item : items) {
    Value k = key(item);
    keyed.emplace_back(std::move(k), std::move(item));
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
  for (size_t i = 0; i < keyed.size(); ++i) items[i] = std::move(keyed[i].second);
  return items;
}

Value sort(const Value& v, const Args& args) {
  const Bound a(args, "sort", {"reverse", "case_sensitive", "attribute"});
  const Value attribute = a.get(2, Value());
  const bool case_sensitive = a.truth(1, false);
  std::vector<Key> keys;
  if (attribute.is_string()) {
    std::string_view text = attribute.string().text;
    for (size_t comma; (comma = text.find(',')) != std::string_view::npos;
         text.remove_prefix(comma + 1))
      keys.push_back(key_of(Value(std::string(text.substr(0, comma))), case_sensitive));
    keys.push_back(key_of(Value(std::string(text)), case_sensitive));
  } else {
    keys.push_back(key_of(attribute, case_sensitive));
  }
  auto key = [&](const Value& item) {
    std::vector<Value> parts;
    for (const Key& k : keys) parts.push_back(k(item));
    return Value::list(std::move(parts));
  };
  return Value::list(sorted(to_vector(v), key, a.truth(0, false)));
}

Value unique(const Value& v, const Args& args) {
  const Bound a(args, "unique", {"case_sensitive", "attribute"});
  auto seen = std::make_shared<Dict>();
  return Value::iterator(v,
                         [from = iterate(v), key = key_of(a.get(1, Value()), a.truth(0, false)),
                          seen]() -> std::optional<Value> {
                           while (auto item = from->next()) {
                             const Value k = key(*item);
                             if (seen->find(k)) continue;
                             seen->set(k, Value());
                             return item;
                           }
                           return std::nullopt;
                         });
}

Value extreme(const Value& v, const Args& args, const char* name, bool smallest) {
  const Bound a(args, name, {"case_sensitive", "attribute"});
  const Key key = key_of(a.get(1, Value()), a.truth(0, false));
  const auto from = iterate(v);
  auto best = from->next();
  if (!best) return Value::undefined("No aggregated item, sequence was empty.");
  Value best_key = key(*best);
  while (auto item = from->next()) {
    Value k = key(*item);
    if (smallest ? !less(k, best_key) : !less(best_key, k, ">")) continue;
    best = std::move(item);
    best_key = std::move(k);
  }
  return *best;
}

Value groupby(const Value& v, const Args& args) {
  const Bound a(args, "groupby", {"attribute", "default", "case_sensitive"}, 1);
  const Key key = key_of(a[0], a.truth(2, false), a.get(1, Value())),
            shown = key_of(a[0], true, a.get(1, Value()));
  std::vector<Value> groups, members;
  auto close = [&] {
    if (members.empty()) return;
    Value group = Value::tuple({shown(members[0]), Value::list(members)});
    group.shared<List>()->group = true;
    groups.push_back(std::move(group));
    members.clear();
  };
  Value open;
  for (const Value& item : sorted(to_vector(v), key, false)) {
    const Value k = key(item);
    if (!members.empty() && !equal(k, open)) close();
    open = k;
    members.push_back(item);
  }
  close();
  return Value::list(std::move(groups));
}

Value dictsort(const Value& v, const Args& args) {
  const Bound a(args, "dictsort", {"case_sensitive", "by", "reverse"});
  if (v.is_undefined()) failure("{}", v.why_undefined());
  if (!v.is(Value::Kind::kDict)) failure("dictsort needs a dict, got {}", v.type_name());
  const std::string by = a.has(1) ? a.string(1).text : "key";
  if (by != "key" && by != "value") failure("You can only sort by either \"key\" or \"value\"");
  const size_t at = by == "value";
  const bool case_sensitive = a.truth(0, false);
  std::vector<Value> items;
  for (const auto& [key, value] : v.entries().entries) items.push_back(Value::tuple({key, value}));
  return Value::list(sorted(
      std::move(items), [&](const Value& item) { return folded(item.items()[at], case_sensitive); },
      a.truth(2, false)));
}

// ---- one after another
// ------------------------------------------------------------------------------

Value map(const Value& v, const Args& args) {
  if (!truth(v)) return Value::iterator(Value(), [] { return std::nullopt; });
  Key apply;
  if (args.positional.empty()) {
    const Bound a(args, "map", {"attribute", "default"});
    if (!a.has(0)) failure("map requires a filter argument");
    apply = key_of(a[0], true, a.get(1, Value()));
  } else {
    if (!args.positional[0].is_string()) failure("map: the name of the filter must be a string");
    const std::string name = args.positional[0].string().text;
    const FilterFunction filter = find_filter(name);
    if (!filter) failure("there is no filter '{}', or it is not supported", name);
    Args rest{{args.positional.begin() + 1, args.positional.end()}, args.named};
    apply = [filter, rest = std::move(rest)](const Value& item) { return filter(item, rest); };
  }
  return Value::iterator(v,
                         [from = iterate(v), apply = std::move(apply)]() -> std::optional<Value> {
                           auto item = from->next();
                           if (!item) return std::nullopt;
                           return apply(*item);
                         });
}

Value select(const Value& v, const Args& args, bool by_attribute, bool wanted) {
  if (!truth(v)) return Value::iterator(Value(), [] { return std::nullopt; });
  const size_t first = by_attribute;
  if (args.positional.size() < first) failure("Missing parameter for attribute name");
  const Key key =
      by_attribute ? key_of(args.positional[0], true) : [](const Value& item) { return item; };
  std::function<bool(const Value&)> holds = truth;
  if (args.positional.size() > first) {
    if (!args.positional[first].is_string())
      failure("select: the name of the test must be a string");
    const std::string name = args.positional[first].string().text;
    const TestFunction test = find_test(name);
    if (!test) failure("there is no test '{}', or it is not supported", name);
    Args rest{{args.positional.begin() + static_cast<ptrdiff_t>(first) + 1, args.positional.end()},
              args.named};
    holds = [test, rest = std::move(rest)](const Value& item) { return test(item, rest); };
  }
  return Value::iterator(v, [from = iterate(v), key, holds, wanted]() -> std::optional<Value> {
    while (auto item = from->next())
      if (holds(key(*item)) == wanted) return item;
    return std::nullopt;
  });
}

Value batch(const Value& v, const Args& args) {
  const Bound a(args, "batch", {"linecount", "fill_with"}, 1);
  const int64_t count = a.integer(0, 0);
  const Value fill = a.get(1, Value());
  return Value::iterator(v,
                         [from = iterate(v), count, fill, held = std::optional<Value>(),
                          over = false]() mutable -> std::optional<Value> {
                           if (over) return std::nullopt;
                           std::vector<Value> row;
                           if (held) row.push_back(std::move(*held));
                           held.reset();
                           for (;;) {
                             auto item = from->next();
                             if (!item) break;
                             if (std::ssize(row) == count) {
                               held = std::move(item);
                               return Value::list(std::move(row));
                             }
                             row.push_back(std::move(*item));
                           }
                           over = true;
                           if (row.empty()) return std::nullopt;
                           if (!fill.is(Value::Kind::kNone))
                             for (; std::ssize(row) < count; charge(1)) row.push_back(fill);
                           return Value::list(std::move(row));
                         });
}

Value slices(const Value& v, const Args& args) {
  const Bound a(args, "slice", {"slices", "fill_with"}, 1);
  const std::vector<Value> all = to_vector(v);
  const int64_t count = a.integer(0, 0);
  if (count == 0) failure("integer division or modulo by zero");
  std::vector<Value> rows;
  const auto size = std::ssize(all);
  if (count > 0) {
    charge(static_cast<size_t>(count));
    int64_t at = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t take = size / count + (i < size % count);
      std::vector<Value> row(all.begin() + at, all.begin() + at + take);
      at += take;
      if (a.has(1) && !a[1].is(Value::Kind::kNone) && i >= size % count) row.push_back(a[1]);
      rows.push_back(Value::list(std::move(row)));
    }
  }
  return Value::iterator(v,
                         [from = iterate(Value::list(std::move(rows)))] { return from->next(); });
}

Value first(const Value& v, const Args& args) {
  const Bound none(args, "first", {});
  auto item = iterate(v)->next();
  return item ? *item : Value::undefined("No first item, sequence was empty.");
}

Value last(const Value& v, const Args& args) {
  const Bound none(args, "last", {});
  if (v.is(Value::Kind::kIterator) || !length(v))
    failure("'{}' object is not reversible", v.type_name());
  const std::vector<Value> all = to_vector(v);
  return all.empty() ? Value::undefined("No last item, sequence was empty.") : all.back();
}

Value reverse(const Value& v, const Args& args) {
  const Bound none(args, "reverse", {});
  if (v.is_string()) return slice(v, Value(), Value(), Value(-1));
  std::vector<Value> all = to_vector(v);
  std::reverse(all.begin(), all.end());
  Value list = Value::list(std::move(all));
  if (v.is(Value::Kind::kIterator)) return list;
  return Value::iterator(v, [from = iterate(list)] { return from->next(); });
}

Value items(const Value& v, const Args& args) {
  const Bound none(args, "items", {});
  if (v.is_undefined()) return Value::iterator(Value(), [] { return std::nullopt; });
  if (!v.is(Value::Kind::kDict)) failure("Can only get item pairs from a mapping.");
  return Value::iterator(
      v, [from = iterate(Value::view({View::What::kItems, v}))] { return from->next(); });
}

Value join(const Value& v, const Args& args) {
  const Bound a(args, "join", {"d", "attribute"});
  const String separator = a.has(0) ? str(a[0]) : String();
  const bool by_attribute = a.has(1) && !a[1].is(Value::Kind::kNone);
  const Key key = by_attribute ? key_of(a[1], true) : [](const Value& item) { return item; };
  String out;
  bool begun = false;
  const auto from = iterate(v);
  while (auto item = from->next()) {
    if (begun) out.append(separator);
    begun = true;
    out.append(str(key(*item)));
  }
  out.safe = false;
  return out;
}

Value sum(const Value& v, const Args& args) {
  const Bound a(args, "sum", {"attribute", "start"});
  const Key key = key_of(a.get(0, Value()), true);
  Value total = a.get(1, Value(0));
  if (total.is_string()) failure("sum() can't sum strings");
  const auto from = iterate(v);
  while (auto item = from->next()) total = arithmetic(Operator::kAdd, total, key(*item));
  return total;
}

// ---- numbers
// ----------------------------------------------------------------------------------------

std::string_view trimmed(std::string_view text, std::string& storage) {
  storage = strip(String(std::string(text)), Value(), true, true).text;
  return storage;
}

// A number as Python's float() reads it; nothing for ValueError.
std::optional<double> read_float(std::string_view text) {
  std::string storage;
  text = trimmed(text, storage);
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    auto digit = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '9'; };
    if (static_cast<unsigned char>(text[i]) >= 0x80)
      failure("numbers with digits beyond ASCII are not supported");
    if (text[i] == '_') {
      if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
      continue;
    }
    plain += text[i];
  }
  const bool hexadecimal = plain.find_first_of("xXpP") != std::string::npos;
  const bool parenthesis = plain.find('(') != std::string::npos;
  if (plain.empty() || hexadecimal || parenthesis || plain.find('\0') != std::string::npos)
    return std::nullopt;
  char* end = nullptr;
  const double d = std::strtod(plain.c_str(), &end);
  if (end != plain.c_str() + plain.size()) return std::nullopt;
  return d;
}

// int(text, base); nothing for ValueError.
std::optional<int64_t> read_integer(std::string_view text, int64_t base) {
  std::string storage;
  text = trimmed(text, storage);
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() > 1 && text[0] == '0') {
    const char kind = static_cast<char>(text[1] | 0x20);
    const int64_t named = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (named && (base == 0 || base == named)) {
      base = named;
      text.remove_prefix(2);
      if (text.starts_with('_')) text.remove_prefix(1);
    } else if (base == 0 && text.find_first_not_of("0_") != std::string_view::npos) {
      return std::nullopt;
    }
  }
  if (base == 0) base = 10;
  if (text.empty() || text.front() == '_' || text.back() == '_') return std::nullopt;
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (static_cast<unsigned char>(text[i]) >= 0x80)
      failure("numbers with digits beyond ASCII are not supported");
    if (text[i] == '_' && text[i - 1] == '_') return std::nullopt;
    if (text[i] != '_') digits += text[i];
  }
  if (minus) digits.insert(0, 1, '-');
  if (digits.find_first_of("-+", 1) != std::string::npos) return std::nullopt;
  int64_t n = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), n, static_cast<int>(base));
  if (end != digits.data() + digits.size()) return std::nullopt;
  if (error != std::errc()) failure("integers beyond 64 bits are not supported");
  return n;
}

int64_t whole(double d) {
  if (std::fabs(d) >= 9223372036854775808.0) failure("integers beyond 64 bits are not supported");
  return static_cast<int64_t>(d);
}

Value to_integer(const Value& v, const Args& args) {
  const Bound a(args, "int", {"default", "base"});
  const Value fallback = a.get(0, Value(0));
  if (v.is_undefined()) failure("{}", v.why_undefined());
  if (v.is_integer()) return v.integer();
  if (v.is(Value::Kind::kFloat)) {
    if (std::isinf(v.real())) failure("cannot convert float infinity to integer");
    return std::isnan(v.real()) ? fallback : Value(whole(v.real()));
  }
  if (!v.is_string()) return fallback;
  if (const auto n = read_integer(v.string().text, a.integer(1, 10))) return *n;
  const auto d = read_float(v.string().text);
  return d && std::isfinite(*d) ? Value(whole(*d)) : fallback;
}

Value to_float(const Value& v, const Args& args) {
  const Bound a(args, "float", {"default"});
  if (v.is_undefined()) failure("{}", v.why_undefined());
  if (v.is_number()) return v.real();
  const auto d = v.is_string() ? read_float(v.string().text) : std::nullopt;
  return d ? Value(*d) : a.get(0, Value(0.0));
}

Value absolute(const Value& v, const Args& args) {
  const Bound none(args, "abs", {});
  if (!v.is_number()) failure("bad operand type for abs(): '{}'", v.type_name());
  if (v.is(Value::Kind::kFloat)) return std::fabs(v.real());
  return v.integer() < 0 ? negate(v, true) : Value(v.integer());
}

// Half goes to the even neighbour, judged by the exact binary value.
Value round_common(const Value& v, int64_t digits) {
  if (v.is_integer()) {
    if (digits >= 0) return v.integer();
    if (digits < -18) return 0;
    const int64_t unit = arithmetic(Operator::kPow, Value(10), Value(-digits)).integer(),
                  n = v.integer();
    int64_t quotient = n / unit;
    const int64_t rest = std::abs(n % unit), twice = rest > unit / 2          ? 1
                                                     : rest < unit - unit / 2 ? -1
                                                                              : 0;
    if (twice > 0 || (twice == 0 && quotient % 2 != 0)) quotient += n < 0 ? -1 : 1;
    return checked_multiply(quotient, unit);
  }
  const double d = v.real();
  if (!std::isfinite(d) || digits > 330) return d;
  if (digits < -310) return std::copysign(0.0, d);
  if (digits < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(d / unit) * unit;
  }
  const int size = std::snprintf(nullptr, 0, "%.*f", static_cast<int>(digits), d);
  std::string text(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(digits), d);
  return std::strtod(text.c_str(), nullptr);
}

Value round(const Value& v, const Args& args) {
  const Bound a(args, "round", {"precision", "method"});
  const std::string method = a.has(1) ? a.string(1).text : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    failure("method must be common, ceil or floor");
  if (!v.is_number()) failure("round: needs a number, got {}", v.type_name());
  const int64_t digits = a.integer(0, 0);
  if (method == "common") return round_common(v, digits);
  const Value unit = arithmetic(Operator::kPow, Value(10), Value(digits));
  const Value scaled = arithmetic(Operator::kMul, v, unit);
  if (scaled.is(Value::Kind::kFloat) && !std::isfinite(scaled.real()))
    failure("cannot convert float to integer");
  const Value rounded = scaled.is_integer() ? scaled
                        : method == "ceil"  ? Value(whole(std::ceil(scaled.real())))
                                            : Value(whole(std::floor(scaled.real())));
  return arithmetic(Operator::kDiv, rounded, unit);
}

Value filesizeformat(const Value& v, const Args& args) {
  const Bound a(args, "filesizeformat", {"binary"});
  const bool binary = a.truth(0, false);
  const auto read = v.is_string() ? read_float(v.string().text) : std::optional<double>();
  if (!read && !v.is_number()) failure("filesizeformat: needs a number, got {}", v.type_name());
  const double bytes = read ? *read : v.real(), base = binary ? 1024 : 1000;
  if (bytes == 1) return "1 Byte";
  if (bytes < base) return fmt::format("{} Bytes", whole(bytes));
  static constexpr const char* kPrefixes = "kMGTPEZY";
  double unit = base;
  for (int i = 0;; ++i) {
    unit *= base;
    if (bytes < unit || i == 7)
      return fmt::format("{:.1f} {}{}B", base * bytes / unit, binary && i == 0 ? 'K' : kPrefixes[i],
                         binary ? "i" : "");
  }
}

// ---- text
// -------------------------------------------------------------------------------------------

Value trim(const Value& v, const Args& args) {
  const Bound a(args, "trim", {"chars"});
  const Value characters = a.get(0, Value());
  if (!characters.is(Value::Kind::kNone)) a.string(0);
  return strip(soft(v), characters, true, true);
}

Value replace(const Value& v, const Args& args) {
  const Bound a(args, "replace", {"old", "new", "count"}, 2);
  String s = str(v), old = str(a[0]), with = str(a[1]);
  s.safe = old.safe = with.safe = false;
  return replaced(s, old, with, a.has(2) && !a[2].is(Value::Kind::kNone) ? a.integer(2, -1) : -1);
}

Value title_words(const Value& v, const Args& args) {
  const Bound none(args, "title", {});
  const String s = soft(v);
  std::string out;
  auto breaks = [](char32_t c) {
    return is_python_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  for (size_t at = 0; at < s.text.size();) {
    const bool is_break = breaks(unicode::decode_at(s.text, at).code);
    size_t end = at;
    while (end < s.text.size() && breaks(unicode::decode_at(s.text, end).code) == is_break)
      end += unicode::decode_at(s.text, end).size;
    const size_t one = at + unicode::decode_at(s.text, at).size;
    out += upper(std::string_view(s.text).substr(at, one - at)) +
           lower(std::string_view(s.text).substr(one, end - one));
    at = end;
  }
  return s.derived(std::move(out));
}

Value indent(const Value& v, const Args& args) {
  const Bound a(args, "indent", {"width", "first", "blank"});
  if (!v.is_string()) failure("indent: needs a string, got {}", v.type_name());
  String s = v.string();
  const String by =
      a.has(0) && a[0].is_string()
          ? a[0].string()
          : String(std::string(static_cast<size_t>(std::clamp<int64_t>(a.integer(0, 4), 0, 4096)),
                               ' '));
  s.append("\n");  // so that an empty last line counts
  const std::vector<String> lines = split_lines(s, false);
  const bool blank = a.truth(2, false);
  String out;
  out.safe = s.safe;
  if (a.truth(1, false)) out.append(by);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      out.append("\n");
      if (blank || !lines[i].text.empty()) out.append(by);
    }
    out.append(lines[i]);
  }
  return out;
}

Value truncate(const Value& v, const Args& args) {
  const Bound a(args, "truncate", {"length", "killwords", "end", "leeway"});
  if (v.is_undefined()) return v;
  const auto size = length(v);
  if (!v.is_string() && size && static_cast<int64_t>(*size) <= a.integer(0, 255)) return v;
  if (!v.is_string()) failure("truncate: needs a string, got {}", v.type_name());
  const String& s = v.string();
  const int64_t length = a.integer(0, 255);
  const int64_t leeway = a.has(3) && !a[3].is(Value::Kind::kNone) ? a.integer(3, 5) : 5;
  const String end = a.has(2) ? a.string(2) : String("...");
  const auto end_size = static_cast<int64_t>(character_count(end.text));
  if (length < end_size) failure("expected length >= {}, got {}", end_size, length);
  if (leeway < 0) failure("expected leeway >= 0, got {}", leeway);
  if (static_cast<int64_t>(character_count(s.text)) <= length + leeway) return v;
  size_t cut = byte_offset(s.text, static_cast<size_t>(length - end_size));
  if (!a.truth(1, false))
    if (const size_t blank = s.text.substr(0, cut).rfind(' '); blank != std::string::npos)
      cut = blank;
  String out = s.slice(0, cut);
  out.append(end);
  return out;
}

Value wordcount(const Value& v, const Args& args) {
  const Bound none(args, "wordcount", {});
  const String s = soft(v);
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < s.text.size();) {
    const auto [code, size] = unicode::decode_at(s.text, at);
    // \w of Python: alphanumeric or underscore
    const bool word =
        code == '_' || (unicode::class_of(code) & (unicode::kLetter | unicode::kNumber));
    words += word && !inside;
    inside = word;
    at += size;
  }
  return words;
}

Value urlencode(const Value& v, const Args& args) {
  const Bound none(args, "urlencode", {});
  auto quoted = [](const Value& part, bool query) {
    std::string out;
    for (const char c : str(part).text) {
      const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-' || c == '~' ||
                         (c == '/' && !query);
      if (plain)
        out += c;
      else if (c == ' ' && query)
        out += '+';
      else
        out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
  };
  if (v.is_string() || v.is_number() || v.is(Value::Kind::kNone))
    return str(v).derived(quoted(v, false));
  std::string out;
  const auto from = iterate(v.is(Value::Kind::kDict) ? Value::view({View::What::kItems, v}) : v);
  while (auto pair = from->next()) {
    const std::vector<Value> both = to_vector(*pair);
    if (both.size() != 2) failure("urlencode: needs pairs");
    out += (out.empty() ? "" : "&") + quoted(both[0], true) + "=" + quoted(both[1], true);
  }
  return out;
}

Value format(const Value& v, const Args& args) {
  if (!args.positional.empty() && !args.named.empty())
    failure("can't handle positional and keyword arguments at the same time");
  Dict named;
  for (const auto& [name, value] : args.named) named.set(Value(name), value);
  return percent_format(
      soft(v), args.named.empty() ? Value::tuple(args.positional) : Value::dict(std::move(named)));
}

Value tojson(const Value& v, const Args& args) {
  const Bound a(args, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = a.truth(0, false);
  style.sort_keys = a.truth(3, false);
  if (a.has(1) && !a[1].is(Value::Kind::kNone)) {
    style.indent =
        a[1].is_string()
            ? a[1].string().text
            : std::string(static_cast<size_t>(std::clamp<int64_t>(a.integer(1, 0), 0, 4096)), ' ');
    style.item_separator = ",";
  }
  if (a.has(2) && !a[2].is(Value::Kind::kNone)) {
    const std::vector<Value> two = to_vector(a[2]);
    if (two.size() != 2 || !two[0].is_string() || !two[1].is_string())
      failure("tojson: separators must be two strings");
    style.item_separator = two[0].string().text;
    style.key_separator = two[1].string().text;
  }
  return to_json(v, style);
}

Value fallback(const Value& v, const Args& args) {
  const Bound a(args, "default", {"default_value", "boolean"});
  if (v.is_undefined() || (a.truth(1, false) && !truth(v))) return a.get(0, Value(""));
  return v;
}

Value attribute(const Value& v, const Args& args) {
  const Bound a(args, "attr", {"name"}, 1);
  if (v.is_undefined()) failure("{}", v.why_undefined());
  // Only attributes, never items.
  const std::string& name = a.string(0).text;
  const auto found = v.is(Value::Kind::kObject) ? v.object().attribute(name) : method(v, name);
  return found ? *found
               : Value::undefined(
                     fmt::format("'{} object' has no attribute '{}'", v.type_name(), name));
}

Value count(const Value& v, const Args& args) {
  const Bound none(args, "length", {});
  const auto n = length(v);
  if (!n) failure("object of type '{}' has no len()", v.type_name());
  return static_cast<int64_t>(*n);
}

Value marked_safe(const Value& v, const Args& args) {
  const Bound none(args, "safe", {});
  String s = str(v);
  s.safe = true;
  return s;
}

Value center(const Value& v, const Args& args) {
  const Bound a(args, "center", {"width"});
  return method(Value(soft(v)), "center")->object().call({{Value(a.integer(0, 80))}, {}});
}

const std::map<std::string_view, FilterFunction>& filters() {
  using V = const Value&;
  using A = const Args&;
  static const std::map<std::string_view, FilterFunction> table = {
      {"abs", absolute},
      {"attr", attribute},
      {"batch", batch},
      {"capitalize",
       [](V v, A a) {
         const String s = soft(v);
         return no_arguments(a, "capitalize", s.derived(capitalize(s.text)));
       }},
      {"center", center},
      {"count", count},
      {"d", fallback},
      {"default", fallback},
      {"dictsort", dictsort},
      {"e", [](V v, A a) { return no_arguments(a, "e", escape_html(v)); }},
      {"escape", [](V v, A a) { return no_arguments(a, "escape", escape_html(v)); }},
      {"filesizeformat", filesizeformat},
      {"first", first},
      {"float", to_float},
      {"forceescape",
       [](V v, A a) {
         String s = str(v);
         s.safe = false;
         return no_arguments(a, "forceescape", escape_html(Value(s)));
       }},
      {"format", format},
      {"groupby", groupby},
      {"indent", indent},
      {"int", to_integer},
      {"items", items},
      {"join", join},
      {"last", last},
      {"length", count},
      {"list", [](V v, A a) { return no_arguments(a, "list", Value::list(to_vector(v))); }},
      {"lower",
       [](V v, A a) {
         const String s = soft(v);
         return no_arguments(a, "lower", s.derived(lower(s.text)));
       }},
      {"map", map},
      {"max", [](V v, A a) { return extreme(v, a, "max", false); }},
      {"min", [](V v, A a) { return extreme(v, a, "min", true); }},
      {"reject", [](V v, A a) { return select(v, a, false, false); }},
      {"rejectattr", [](V v, A a) { return select(v, a, true, false); }},
      {"replace", replace},
      {"reverse", reverse},
      {"round", round},
      {"safe", marked_safe},
      {"select", [](V v, A a) { return select(v, a, false, true); }},
      {"selectattr", [](V v, A a) { return select(v, a, true, true); }},
      {"slice", slices},
      {"sort", sort},
      {"string", [](V v, A a) { return no_arguments(a, "string", soft(v)); }},
      {"sum", sum},
      {"title", title_words},
      {"tojson", tojson},
      {"trim", trim},
      {"truncate", truncate},
      {"unique", unique},
      {"upper",
       [](V v, A a) {
         const String s = soft(v);
         return no_arguments(a, "upper", s.derived(upper(s.text)));
       }},
      {"urlencode", urlencode},
      {"wordcount", wordcount},
  };
  return table;
}

}  // namespace

FilterFunction find_filter(std::string_view name) {
  const auto found = filters().find(name);
  return found == filters().end() ? nullptr : found->second;
}

}  // namespace ocellus::jinja
