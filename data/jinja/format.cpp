// Python's two ways of formatting: 'text %s' % values, and 'text {}'.format(values).
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "data/jinja/value.h"
#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

constexpr int kMaxWidth = 1 << 20;

/// A format specification, of either way.
struct Spec {
  std::string fill = " ";
  char align = 0;  // < > ^ =
  char sign = '-';
  bool alternate = false, zero = false;
  int width = 0, precision = -1;
  char grouping = 0, type = 0;
};

int number_in(std::string_view text, size_t& at) {
  int64_t n = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    n = n * 10 + (text[at++] - '0');
    if (n > kMaxWidth) failure("a width or precision in a format is larger than {}", kMaxWidth);
  }
  return static_cast<int>(n);
}

void pad(String& out, const String& body, const Spec& spec, char default_align) {
  const auto width = static_cast<int>(character_count(body.text));
  const int missing = std::max(0, spec.width - width);
  const char align = spec.align ? spec.align : default_align;
  const int left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  for (int i = 0; i < left; ++i) out.append(spec.fill);
  out.append(body);
  for (int i = left; i < missing; ++i) out.append(spec.fill);
}

// Sign and digits apart: zeros and "=" fill between them.
void pad_number(String& out, bool minus, std::string prefix, std::string digits, const Spec& spec) {
  std::string sign = minus ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
  sign += prefix;
  const bool inner = spec.align == '=' || (!spec.align && spec.zero);
  if (inner) {
    const std::string fill = spec.zero && !spec.align ? "0" : spec.fill;
    const auto size = static_cast<int>(sign.size() + digits.size());
    std::string filled;
    for (int i = size; i < spec.width; ++i) filled += fill;
    out.append(sign + filled + digits);
    return;
  }
  pad(out, String(sign + digits), spec, '>');
}

std::string grouped(const std::string& digits, char separator, size_t group) {
  size_t whole = 0;
  while (whole < digits.size() && digits[whole] != '.' && digits[whole] != 'e') ++whole;
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

std::string in_base(uint64_t n, unsigned base, bool capital) {
  std::string out;
  do {
    const auto digit = static_cast<unsigned>(n % base);
    out += static_cast<char>(digit < 10 ? '0' + digit : (capital ? 'A' : 'a') + digit - 10);
    n /= base;
  } while (n);
  std::reverse(out.begin(), out.end());
  return out;
}

uint64_t magnitude(int64_t n) {
  return n < 0 ? 0 - static_cast<uint64_t>(n) : static_cast<uint64_t>(n);
}

std::string float_digits(double d, char type, int precision, bool alternate) {
  if (std::isnan(d)) return std::isupper(type) ? "NAN" : "nan";
  if (std::isinf(d)) return std::isupper(type) ? "INF" : "inf";
  const char format[] = {'%',
                         alternate ? '#' : '.',
                         alternate ? '.' : '*',
                         alternate ? '*' : type,
                         alternate ? type : '\0',
                         '\0'};
  precision = precision < 0 ? 6 : precision;
  const int size = std::snprintf(nullptr, 0, format, precision, d);
  std::string out(static_cast<size_t>(size), '\0');
  std::snprintf(out.data(), out.size() + 1, format, precision, d);
  return out;
}

void write_integer(String& out, int64_t n, const Spec& spec) {
  const char type = spec.type;
  const unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  std::string digits = in_base(magnitude(n), base, type == 'X');
  if (spec.grouping) digits = grouped(digits, spec.grouping, base == 10 ? 3 : 4);
  std::string prefix;
  if (spec.alternate && base != 10) prefix = std::string("0") + type;
  pad_number(out, n < 0, prefix, digits, spec);
}

void write_float(String& out, double d, const Spec& spec) {
  const bool minus = std::signbit(d) && !std::isnan(d);
  char type = spec.type;
  std::string digits;
  if (!type && spec.precision < 0) {
    digits = float_text(std::fabs(d));
  } else if (type == '%') {
    digits = float_digits(std::fabs(d) * 100, 'f', spec.precision, spec.alternate) + "%";
  } else if (!type) {
    // As 'g', but with a digit behind the point where there is no exponent.
    digits = float_digits(std::fabs(d), 'g', std::max(1, spec.precision), spec.alternate);
    const bool whole = digits.find_first_of(".enif") == std::string::npos;
    if (whole && static_cast<int>(digits.size()) >= std::max(1, spec.precision))
      digits = float_digits(std::fabs(d), 'e', std::max(0, spec.precision - 1), false);
    else if (whole)
      digits += ".0";
  } else {
    if (type == 'n') type = 'g';
    const int precision = (type == 'g' || type == 'G') && spec.precision == 0 ? 1 : spec.precision;
    digits = float_digits(std::fabs(d), type, precision, spec.alternate);
  }
  if (spec.grouping) digits = grouped(digits, spec.grouping, 3);
  pad_number(out, minus, "", digits, spec);
}

String truncated(const String& s, int precision) {
  return precision < 0 ? s : s.slice(0, byte_offset(s.text, static_cast<size_t>(precision)));
}

// ---- %
// ----------------------------------------------------------------------------------------------

class PercentFormat {
 public:
  PercentFormat(const String& format, const Value& arguments)
      : format_(format), arguments_(arguments) {
    out_.safe = format.safe;
  }

  String run() {
    const std::string& f = format_.text;
    size_t plain = 0;
    for (size_t at = f.find('%'); at != std::string::npos; at = f.find('%', plain)) {
      out_.append(format_.slice(plain, at));
      plain = at + 1;
      conversion(plain);
    }
    out_.append(format_.slice(plain, f.size()));
    const Value::Kind kind = arguments_.kind();
    const bool mapping = kind == Value::Kind::kDict || kind == Value::Kind::kList ||
                         kind == Value::Kind::kRange || kind == Value::Kind::kUndefined;
    const size_t given = arguments_.is(Value::Kind::kTuple) ? arguments_.items().size() : 1;
    // What can be subscribed counts as a mapping to Python, and may stay unused.
    if (!mapping && used_ < given) failure("not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  char here(size_t at) const {
    if (at >= format_.text.size()) failure("incomplete format");
    return format_.text[at];
  }

  Value next() {
    if (keyed_) return *keyed_;
    if (arguments_.is(Value::Kind::kTuple)) {
      if (used_ >= arguments_.items().size()) failure("not enough arguments for format string");
      return arguments_.items()[used_++];
    }
    if (used_++ > 0) failure("not enough arguments for format string");
    return arguments_;
  }

  int star_or_number(size_t& at) {
    if (here(at) != '*') return number_in(format_.text, at);
    ++at;
    const Value v = next();
    if (!v.is_integer() || std::abs(v.integer()) > kMaxWidth)
      failure("* wants an integer of moderate size");
    return static_cast<int>(v.integer());
  }

  void conversion(size_t& at) {
    Spec spec;
    keyed_.reset();
    if (here(at) == '(') {
      const size_t close = format_.text.find(')', at);
      if (close == std::string::npos) failure("incomplete format key");
      if (!arguments_.is(Value::Kind::kDict)) failure("format requires a mapping");
      const std::string key = format_.text.substr(at + 1, close - at - 1);
      const Value* found = arguments_.entries().find_name(key);
      if (!found) failure("the mapping of a format has no key '{}'", key);
      keyed_ = *found;
      at = close + 1;
    }
    for (;; ++at) {
      const char c = here(at);
      if (c == '-')
        spec.align = '<';
      else if (c == '+')
        spec.sign = '+';
      else if (c == ' ' && spec.sign != '+')
        spec.sign = ' ';
      else if (c == '#')
        spec.alternate = true;
      else if (c == '0')
        spec.zero = true;
      else if (c != ' ')
        break;
    }
    spec.width = star_or_number(at);
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (here(at) == '.') spec.precision = std::max(0, star_or_number(++at));
    if (here(at) == 'l' || here(at) == 'h' || here(at) == 'L') ++at;
    spec.type = here(at++);
    write(spec);
  }

  void write(Spec spec) {
    switch (spec.type) {
      case '%':
        return out_.append("%");
      case 's':
      case 'r':
      case 'a': {
        const Value v = next();
        String text = spec.type == 's' ? str(v) : repr(v);
        if (out_.safe) text = escape_html(Value(text));
        return pad(out_, truncated(text, spec.precision), spec, '>');
      }
      case 'c': {
        const Value v = next();
        String one;
        if (v.is_string() && character_count(v.string().text) == 1) {
          one = v.string();
        } else {
          if (!v.is_integer() || v.integer() < 0 || v.integer() > 0x10FFFF ||
              (v.integer() >> 11) == 27)
            failure("%c requires int or char");
          unicode::append_utf8(one.text, static_cast<char32_t>(v.integer()));
        }
        return pad(out_, one, spec, '>');
      }
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        return whole(spec);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        const Value v = next();
        if (!v.is_number()) failure("must be real number, not {}", v.type_name());
        if (spec.align == '<') spec.zero = false;
        return write_float(out_, v.real(), spec);
      }
      default:
        failure("unsupported format character '{}'", spec.type);
    }
  }

  void whole(Spec spec) {
    const Value v = next();
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (!v.is_integer() && !(decimal && v.is(Value::Kind::kFloat)))
      failure("%{} format: {} is required, not {}", spec.type,
              decimal ? "a real number" : "an integer", v.type_name());
    if (!v.is_integer() && !(std::fabs(v.real()) < 9.2e18))
      failure("%d of a float beyond 64 bits is not supported");
    if (decimal) spec.type = 'd';
    if (spec.align == '<') spec.zero = false;
    if (spec.precision > 0) {  // at least so many digits
      const int64_t n = v.is_integer() ? v.integer() : static_cast<int64_t>(v.real());
      std::string digits = in_base(magnitude(n),
                                   decimal            ? 10
                                   : spec.type == 'o' ? 8
                                                      : 16,
                                   spec.type == 'X');
      digits.insert(
          0, static_cast<size_t>(std::max(0, spec.precision - static_cast<int>(digits.size()))),
          '0');
      return pad_number(out_, n < 0, spec.alternate && !decimal ? std::string("0") + spec.type : "",
                        digits, spec);
    }
    write_integer(out_, v.is_integer() ? v.integer() : static_cast<int64_t>(v.real()), spec);
  }

  const String& format_;
  const Value& arguments_;
  String out_;
  size_t used_ = 0;
  std::optional<Value> keyed_;
};

// ---- {}
// ---------------------------------------------------------------------------------------------

Spec read_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) {
    const size_t first = unicode::decode_at(text, 0).size;
    if (first < text.size() && is_align(text[first])) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      at = first + 1;
    } else if (is_align(text[0])) {
      spec.align = text[0];
      at = 1;
    }
  }
  auto take = [&](std::string_view any) {
    return at < text.size() && any.find(text[at]) != std::string_view::npos ? text[at++] : '\0';
  };
  if (const char sign = take("+- ")) spec.sign = sign;
  spec.alternate = take("#");
  spec.zero = take("0");
  if (spec.zero && spec.align && spec.fill == " ") spec.fill = "0";
  spec.width = number_in(text, at);
  spec.grouping = take(",_");
  if (take(".")) {
    const size_t before = at;
    spec.precision = number_in(text, at);
    if (at == before) failure("Format specifier missing precision");
  }
  spec.type = take("bcdeEfFgGnosxX%");
  if (at < text.size()) failure("Invalid format specifier '{}'", text);
  return spec;
}

void write_formatted(String& out, const Value& v, std::string_view spec_text) {
  if (spec_text.empty()) return out.append(str(v));
  Spec spec = read_spec(spec_text);
  auto bad_type = [&] {
    failure("Unknown format code '{}' for object of type '{}'", spec.type, v.type_name());
  };
  if (v.is_string()) {
    if (spec.type && spec.type != 's') bad_type();
    if (spec.sign != '-' || spec.align == '=' || spec.grouping || spec.alternate)
      failure("this format specifier is not allowed for strings");
    if (spec.zero && !spec.align) {
      spec.fill = "0";
      spec.align = '<';
    }
    return pad(out, truncated(v.string(), spec.precision), spec, '<');
  }
  if (v.is(Value::Kind::kBool) && !spec.type) return pad(out, str(v), spec, '>');
  if (v.is_integer() &&
      (!spec.type || std::string_view("bdnoxX").find(spec.type) != std::string_view::npos)) {
    if (spec.precision >= 0) failure("Precision not allowed in integer format specifier");
    return write_integer(out, v.integer(), spec);
  }
  if (v.is_integer() && spec.type == 'c') {
    if (v.integer() < 0 || v.integer() > 0x10FFFF || (v.integer() >> 11) == 27)
      failure("%c arg not in range(0x110000)");
    String one;
    unicode::append_utf8(one.text, static_cast<char32_t>(v.integer()));
    return pad(out, one, spec, '>');
  }
  if (v.is_number()) {
    if (spec.type && std::string_view("eEfFgGn%").find(spec.type) == std::string_view::npos)
      bad_type();
    return write_float(out, v.real(), spec);
  }
  failure("unsupported format string passed to {}.__format__", v.type_name());
}

class BraceFormat {
 public:
  BraceFormat(const String& format, const Args& args) : format_(format), args_(args) {}

  String run() {
    String out = expand(0, format_.text.size(), 2);
    out.safe = format_.safe;
    return out;
  }

 private:
  String expand(size_t at, size_t end, int depth) {
    if (depth < 0) failure("Max string recursion exceeded");
    const std::string& f = format_.text;
    String out;
    while (at < end) {
      const size_t brace = std::min(f.find_first_of("{}", at), end);
      out.append(format_.slice(at, brace));
      if (brace == end) break;
      at = brace + 1;
      if (at < end && f[at] == f[brace]) {
        out.append(f.substr(at++, 1));
        continue;
      }
      if (f[brace] == '}') failure("Single '}}' encountered in format string");
      at = field(at, end, depth, out);
    }
    return out;
  }

  size_t field(size_t at, size_t end, int depth, String& out) {
    const std::string& f = format_.text;
    int open = 1;
    size_t close = at;
    bool bracket = false;
    size_t spec_at = std::string::npos;
    for (; close < end && open > 0; ++close) {
      if (spec_at == std::string::npos && f[close] == '[') bracket = true;
      if (f[close] == ']') bracket = false;
      if (bracket && spec_at == std::string::npos) continue;
      if (f[close] == '{') ++open;
      if (f[close] == '}') --open;
      if (f[close] == ':' && open == 1 && spec_at == std::string::npos) spec_at = close;
    }
    if (open > 0) failure("expected '}}' before end of string");
    const size_t stop = close - 1;
    std::string name = f.substr(at, std::min(spec_at, stop) - at);
    char conversion = 0;
    if (const size_t mark = name.find('!'); mark != std::string::npos) {
      if (mark + 2 != name.size()) failure("expected ':' after conversion specifier");
      conversion = name[mark + 1];
      name.resize(mark);
    }
    Value v = lookup(name);
    if (conversion == 'r' || conversion == 'a')
      v = repr(v);
    else if (conversion == 's')
      v = str(v);
    else if (conversion)
      failure("Unknown conversion specifier {}", conversion);
    const String spec =
        spec_at == std::string::npos ? String() : expand(spec_at + 1, stop, depth - 1);
    if (format_.safe) v = Value(escape_html(v));
    write_formatted(out, v, spec.text);
    return close;
  }

  Value lookup(const std::string& name) {
    size_t at = std::min(name.find_first_of(".["), name.size());
    const std::string first = name.substr(0, at);
    Value v;
    const bool number = !first.empty() && std::all_of(first.begin(), first.end(),
                                                      [](char c) { return c >= '0' && c <= '9'; });
    if (first.empty() || number) {
      size_t unused = 0;
      if ((first.empty() ? manual_ : automatic_ > 0))
        failure("cannot switch between manual field specification and automatic field numbering");
      manual_ = manual_ || number;
      const auto index = number ? static_cast<size_t>(number_in(first, unused)) : automatic_++;
      if (index >= args_.positional.size())
        failure("Replacement index {} out of range for positional args tuple", index);
      v = args_.positional[index];
    } else {
      const auto found = std::find_if(args_.named.begin(), args_.named.end(),
                                      [&](const auto& n) { return n.first == first; });
      if (found == args_.named.end()) failure("format has no argument '{}'", first);
      v = found->second;
    }
    while (at < name.size()) {
      if (name[at] == '.') {
        const size_t next = std::min(name.find_first_of(".[", at + 1), name.size());
        if (next == at + 1) failure("Empty attribute in format string");
        v = get_attribute(v, name.substr(at + 1, next - at - 1));
        at = next;
        continue;
      }
      const size_t close = name.find(']', at);
      if (name[at] != '[' || close == std::string::npos || close == at + 1)
        failure("Only '.' or '[' may follow ']' in format field specifier");
      const std::string key = name.substr(at + 1, close - at - 1);
      size_t digits = 0;
      const int index = number_in(key, digits);
      v = get_item(v, digits == key.size() ? Value(index) : Value(key));
      at = close + 1;
    }
    return v;
  }

  const String& format_;
  const Args& args_;
  size_t automatic_ = 0;
  bool manual_ = false;
};

}  // namespace

String percent_format(const String& format, const Value& arguments) {
  return PercentFormat(format, arguments).run();
}

String brace_format(const String& format, const Args& args) {
  return BraceFormat(format, args).run();
}

}  // namespace ocellus::jinja
