// Oniguruma's notation to PCRE2's. A character class is read into a small tree, because classes may
// stand inside classes and be intersected, and written with lookaheads where PCRE2 has no such
// thing.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "data/tokenizer_regex.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

// Members of a class, without the brackets.
constexpr std::string_view kSpaceSet = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view kWordSet =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";
// Outside of a class \w and \b take these superscripts and fractions for parts of words as well.
constexpr std::string_view kMoreWords = R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
constexpr std::string_view kHexSet = "0-9A-Fa-f";

struct Name {
  std::string_view name;  // lower case, without blanks, '_' and '-'
  std::string_view set;
};
constexpr Name kNames[] = {
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"alpha", R"(\p{Alphabetic})"},
    {"blank", R"(\t\p{Zs})"},
    {"cntrl", R"(\p{Cc})"},
    {"digit", R"(\p{Nd})"},
    {"graph", R"([^\t-\r\x{85}\p{Z}\p{Cc}\p{Cs}\p{Cn}])"},
    {"lower", R"(\p{Lowercase})"},
    {"print", R"([^\p{Cc}\p{Cs}\p{Cn}\x{2028}\x{2029}])"},
    {"punct", R"(\p{P})"},
    {"space", kSpaceSet},
    {"upper", R"(\p{Uppercase})"},
    {"xdigit", kHexSet},
    {"word", kWordSet},
    {"any", R"(\x{0}-\x{10FFFF})"},
    {"assigned", R"(\P{Cn})"},
    {"letter", R"(\p{L})"},
    {"uppercaseletter", R"(\p{Lu})"},
    {"lowercaseletter", R"(\p{Ll})"},
    {"titlecaseletter", R"(\p{Lt})"},
    {"modifierletter", R"(\p{Lm})"},
    {"otherletter", R"(\p{Lo})"},
    {"mark", R"(\p{M})"},
    {"nonspacingmark", R"(\p{Mn})"},
    {"spacingmark", R"(\p{Mc})"},
    {"enclosingmark", R"(\p{Me})"},
    {"number", R"(\p{N})"},
    {"decimalnumber", R"(\p{Nd})"},
    {"letternumber", R"(\p{Nl})"},
    {"othernumber", R"(\p{No})"},
    {"punctuation", R"(\p{P})"},
    {"symbol", R"(\p{S})"},
    {"separator", R"(\p{Z})"},
    {"spaceseparator", R"(\p{Zs})"},
    {"other", R"(\p{C})"},
    {"control", R"(\p{Cc})"},
    {"format", R"(\p{Cf})"},
};

/// One operand of a union: a set of members, possibly negated, or a nested class.
struct Class {
  bool negated = false;
  std::string members;             // what PCRE2 can write inside [ ]
  std::vector<Class> nested;       // united with the members
  std::vector<Class> intersected;  // further operands of &&
  bool simple() const { return nested.empty() && intersected.empty(); }
};

bool is_script(std::string_view name) {
  const std::string pattern = fmt::format("\\p{{sc:{}}}", name);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

class Translator {
 public:
  Translator(std::string_view text, const Where& where) : text_(text), where_(where) {}

  std::string run() {
    std::string out;
    std::vector<size_t> open;  // where the open groups begin in `out`
    size_t atom = SIZE_MAX;    // where what a repetition would repeat begins
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '{' && interval()) {
        const std::string times = repetition();
        if (peek() == '+' && atom != SIZE_MAX) out.insert(atom, "(?:");
        out += peek() == '+' && atom != SIZE_MAX ? times + ")" : times;
        continue;
      }
      if (std::string_view("*+?|").find(c) != std::string_view::npos) {
        out += c;
        ++at_;
        if (c == '|') atom = SIZE_MAX;
        continue;
      }
      if (c == ')') {
        atom = open.empty() ? SIZE_MAX : open.back();
        if (!open.empty()) open.pop_back();
        out += c;
        ++at_;
        continue;
      }
      atom = out.size();
      if (c == '(') {
        const std::string opening = group();
        if (!opening.ends_with(')')) open.push_back(out.size());
        out += opening;
        atom = SIZE_MAX;
      } else if (c == '\\') {
        out += escape();
      } else if (c == '[') {
        ++at_;
        out += written(read_class(0));
      } else if (c == '^' || c == '$' || c == '.') {
        out += c;
        ++at_;
      } else if (c == '{') {
        out += "\\{";
        ++at_;
      } else {
        const size_t size = unicode::decode_at(text_, at_).size;
        out += text_.substr(at_, size);
        at_ += size;
      }
    }
    return out;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail<FormatError>("{}: the regular expression \"{}\" is not supported: {} at byte {}",
                      where_.text(), text_, what, at_);
  }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  /// Whether {n}, {n,}, {,m} or {n,m} stands here.
  size_t interval() const {
    size_t i = at_ + 1;
    bool digits = false;
    const auto number = [&] {
      while (i < text_.size() && text_[i] >= '0' && text_[i] <= '9') ++i, digits = true;
    };
    number();
    if (i < text_.size() && text_[i] == ',') ++i, number();
    return digits && i < text_.size() && text_[i] == '}' ? i + 1 - at_ : 0;
  }

  /// {n,m}; a + after it repeats the repetition, where PCRE2 would make it possessive.
  std::string repetition() {
    std::string out(text_.substr(at_, interval()));
    at_ += out.size();
    if (out.starts_with("{,")) out.insert(1, "0");
    return out;
  }

  /// (?…) groups: only the kinds that mean the same in both.
  std::string group() {
    size_t end = at_ + 1;
    if (peek(1) == '?') {
      const char kind = peek(2);
      if (kind == ':' || kind == '=' || kind == '!' || kind == '>') {
        end = at_ + 3;
      } else if (kind == '<' && (peek(3) == '=' || peek(3) == '!')) {
        end = at_ + 4;
      } else if (kind == '#') {
        refuse("a comment");
      } else if (kind == '<' || kind == '\'') {
        end = at_ + 3;  // a named group
      } else {
        // Options: i and x are the same, m is "dot matches newline".
        std::string options = "(?";
        for (end = at_ + 2; end < text_.size() && text_[end] != ')' && text_[end] != ':'; ++end) {
          const char o = text_[end];
          if (o == 'm' || o == 's')
            options += 's';
          else if (o == 'i' || o == 'x' || o == '-')
            options += o;
          else
            refuse(fmt::format("option {}", o));
        }
        if (end == text_.size()) refuse("an open group");
        options += text_[end];
        at_ = end + 1;
        return options;
      }
    } else if (peek(1) == '*') {
      refuse("a verb");
    }
    std::string out(text_.substr(at_, end - at_));
    at_ = end;
    return out;
  }

  /// An escape outside of classes.
  std::string escape() {
    if (at_ + 1 >= text_.size()) refuse("a backslash at the end");
    const char c = peek(1);
    static const std::string words = std::string(kWordSet) + std::string(kMoreWords);
    static const std::string boundary =
        fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", words);
    static const std::string no_boundary =
        fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", words);
    switch (c) {
      case 'b':
        at_ += 2;
        return boundary;
      case 'B':
        at_ += 2;
        return no_boundary;
      case 'A':
      case 'z':
      case 'Z':
      case 'G':
      case 'R':
      case 'K':
        at_ += 2;
        return std::string("\\") + c;
      case 'O':
        at_ += 2;
        return R"([\x{0}-\x{10FFFF}])";
      case 'N':
        at_ += 2;
        return "[^\\n]";
      case 'X':  // PCRE2 10.42 takes neighbouring emoji for one cluster
      case 'k':
      case 'g':
        refuse(fmt::format("\\{}", c));
      default:
        if (c >= '1' && c <= '9') {
          at_ += 2;
          return std::string("\\") + c;
        }
    }
    bool negated = false;
    std::string set = class_escape(negated);
    if (c == 'w' || c == 'W') set = words;
    if (!negated && is_single(set)) return set;
    return (negated ? "[^" : "[") + set + "]";
  }

  static bool is_single(std::string_view set) {
    return set.starts_with("\\x{") && set.find('}') == set.size() - 1;
  }

  /// An escape that stands for characters: its members, and whether they are to be negated.
  std::string class_escape(bool& negated) {
    const char c = peek(1);
    negated = false;
    const auto take = [&](std::string_view set, bool negate = false) {
      at_ += 2;
      negated = negate;
      return std::string(set);
    };
    switch (c) {
      case 's':
        return take(kSpaceSet);
      case 'S':
        return take(kSpaceSet, true);
      case 'w':
        return take(kWordSet);
      case 'W':
        return take(kWordSet, true);
      case 'd':
        return take(R"(\p{Nd})");
      case 'D':
        return take(R"(\p{Nd})", true);
      case 'h':
        return take(kHexSet);
      case 'H':
        return take(kHexSet, true);
      case 'n':
        return take(R"(\x{A})");
      case 'r':
        return take(R"(\x{D})");
      case 't':
        return take(R"(\x{9})");
      case 'f':
        return take(R"(\x{C})");
      case 'v':
        return take(R"(\x{B})");
      case 'a':
        return take(R"(\x{7})");
      case 'e':
        return take(R"(\x{1B})");
      case 'p':
      case 'P':
        return property(negated);
      case 'x':
        return code_point(peek(2) == '{' ? 0 : 2);
      case 'u':
        return code_point(peek(2) == '{' ? 0 : 4);
      case '0':
        return take(R"(\x{0})");
      default:
        break;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
      refuse(fmt::format("\\{}", c));
    // An escaped sign, of any length.
    ++at_;
    return literal();
  }

  /// \x{…}, \xHH, \uHHHH.
  std::string code_point(size_t digits) {
    size_t i = at_ + 2;
    const bool braced = digits == 0;
    if (braced) ++i;
    uint32_t value = 0;
    size_t count = 0;
    for (; i < text_.size() && count < (braced ? 8 : digits); ++i, ++count) {
      const char c = text_[i];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) break;
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    if (count == 0 || (braced && (i >= text_.size() || text_[i] != '}')) ||
        (digits == 4 && count != 4) || value > 0x10FFFF)
      refuse("a bad character number");
    at_ = i + braced;
    return fmt::format("\\x{{{:X}}}", value);
  }

  /// \p{Name}, \P{Name}, \p{^Name}.
  std::string property(bool& negated) {
    negated = peek(1) == 'P';
    if (peek(2) != '{') {
      // \pL
      const char c = peek(2);
      if (std::string_view("LMNPSZC").find(c) == std::string_view::npos || c == '\0')
        refuse("a property without braces");
      at_ += 3;
      return fmt::format("\\p{{{}}}", c);
    }
    const size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) refuse("an open brace");
    std::string_view name = text_.substr(at_ + 3, close - at_ - 3);
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    at_ = close + 1;
    return named(name, negated);
  }

  std::string named(std::string_view name, bool& negated) const {
    std::string key;
    for (char c : name) {
      if (c == ' ' || c == '_' || c == '-') continue;
      const bool sane = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '=' || c == '&';
      if (!sane) refuse("a bad property name");
      key += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    for (const Name& known : kNames) {
      if (known.name != key) continue;
      if (negated && known.set.starts_with("\\p{") && known.set.find('}') == known.set.size() - 1) {
        negated = false;
        return "\\P" + std::string(known.set.substr(2));
      }
      if (!known.set.starts_with("[^")) return std::string(known.set);
      negated = !negated;
      return std::string(known.set.substr(2, known.set.size() - 3));
    }
    const char letter = negated ? 'P' : 'p';
    negated = false;
    // A bare script name means Script_Extensions to PCRE2.
    return fmt::format("\\{}{{{}{}}}", letter, is_script(name) ? "sc:" : "", name);
  }

  /// The character at `at_`, written so that PCRE2 takes it literally anywhere.
  std::string literal() {
    const unicode::Char c = unicode::decode_at(text_, at_);
    at_ += c.size;
    return fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(c.code));
  }

  /// A class after its '['.
  Class read_class(int depth) {
    if (depth > 20) refuse("classes nested too deeply");
    Class result, *part = &result;
    bool negated = false;
    if (peek() == '^') {
      negated = true;
      ++at_;
    }
    std::vector<Class> operands(1);
    part = &operands.back();
    bool first = true;
    for (;; first = false) {
      if (at_ >= text_.size()) refuse("an open class");
      const char c = peek();
      if (c == ']' && !first) {
        ++at_;
        break;
      }
      if (c == '&' && peek(1) == '&') {
        at_ += 2;
        operands.emplace_back();
        part = &operands.back();
      } else if (c == '[' && peek(1) == ':' && posix(*part)) {
      } else if (c == '[') {
        ++at_;
        unite(*part, read_class(depth + 1));
      } else {
        read_member(*part);
      }
    }
    result = std::move(operands.front());
    for (size_t i = 1; i < operands.size(); ++i)
      result.intersected.push_back(std::move(operands[i]));
    result.negated = negated;
    return result;
  }

  static void unite(Class& into, Class from) {
    if (from.simple() && !from.negated)
      into.members += from.members;
    else
      into.nested.push_back(std::move(from));
  }

  /// [:name:]; false if it is not one.
  bool posix(Class& into) {
    const size_t close = text_.find(":]", at_ + 2);
    if (close == std::string_view::npos || close - at_ > 20) return false;
    std::string_view name = text_.substr(at_ + 2, close - at_ - 2);
    for (char c : name)
      if (!((c >= 'a' && c <= 'z') || c == '^')) return false;
    bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    std::string set = name == "punct" ? R"(\p{P}\p{S})" : named(name, negated);
    at_ = close + 2;
    unite(into, {negated, std::move(set), {}, {}});
    return true;
  }

  /// One character, a range of two, or an escape that stands for several.
  void read_member(Class& into) {
    bool negated = false;
    const bool escaped = peek() == '\\';
    if (escaped && at_ + 1 >= text_.size()) refuse("a backslash at the end");
    std::string low = escaped && peek(1) == 'b' ? backspace()
                      : escaped                 ? class_escape(negated)
                                                : literal();
    if (is_single(low) && peek() == '-' && peek(1) != ']' && peek(1) != '\0' && peek(1) != '[') {
      ++at_;
      const bool high_escaped = peek() == '\\';
      if (high_escaped && at_ + 1 >= text_.size()) refuse("a backslash at the end");
      bool high_negated = false;
      const std::string high = high_escaped ? class_escape(high_negated) : literal();
      if (high_negated || !is_single(high)) refuse("a range that ends in a class");
      into.members += low + "-" + high;
      return;
    }
    unite(into, {negated, std::move(low), {}, {}});
  }
  std::string backspace() {
    at_ += 2;
    return R"(\x{8})";
  }

  /// A class as PCRE2 writes it: one character is matched.
  std::string written(const Class& c) const {
    if (c.simple())
      return c.members.empty() ? (c.negated ? R"([\x{0}-\x{10FFFF}])" : "(?!)")
                               : (c.negated ? "[^" : "[") + c.members + "]";
    std::string positive = united(c);
    for (const Class& other : c.intersected)
      positive = fmt::format("(?={}){}", written(other), positive);
    return c.negated ? fmt::format("(?:(?!{})[\\x{{0}}-\\x{{10FFFF}}])", positive)
                     : fmt::format("(?:{})", positive);
  }
  std::string united(const Class& c) const {
    std::string out = c.members.empty() ? "" : "[" + c.members + "]";
    for (const Class& n : c.nested) out += (out.empty() ? "" : "|") + written(n);
    return out.empty() ? "(?!)" : c.nested.empty() ? out : "(?:" + out + ")";
  }

  std::string_view text_;
  const Where& where_;
  size_t at_ = 0;
};

}  // namespace

std::string pcre2_pattern(std::string_view pattern, const Where& where) {
  return Translator(pattern, where).run();
}

}  // namespace ocellus::tokenizer
