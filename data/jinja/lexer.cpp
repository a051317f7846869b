#include "data/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "data/jinja/value.h"
#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string with_plain_line_ends(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_line_ends(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) root();
    push(Token::Type::kEnd, "", place(source_.size()));
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool here(std::string_view text) const { return rest().starts_with(text); }

  // Line and column of a byte; called with growing offsets.
  Place place(size_t at) {
    for (; counted_ < at; ++counted_) {
      if (source_[counted_] == '\n') {
        ++place_.line;
        place_.column = 1;
      } else if ((static_cast<unsigned char>(source_[counted_]) & 0xC0) != 0x80) {
        ++place_.column;
      }
    }
    return place_;
  }

  void push(Token::Type type, std::string text, Place where) {
    tokens_.push_back({type, std::move(text), where});
  }

  size_t skip_blanks(size_t at) const {
    while (at < source_.size()) {
      const auto [code, size] = unicode::decode_at(source_, at);
      if (!is_python_space(code)) break;
      at += size;
    }
    return at;
  }

  // Data up to the next tag, then the tag.
  void root() {
    size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '%' || next == '{' || next == '#') break;
      ++tag;
    }
    const Place start = place(at_);
    if (tag == std::string::npos) {
      push(Token::Type::kData, source_.substr(at_), start);
      at_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1];
    const size_t text_begin = at_;
    at_ = tag + 2;
    char sign = 0;
    if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) sign = source_[at_++];
    data(text_begin, tag, sign, kind == '{', start);
    const Place where = place(tag);
    if (kind == '#') return comment(where);
    if (kind == '%' && raw(where)) return;
    code(kind == '%', where);
  }

  void data(size_t begin, size_t end, char sign, bool is_variable, Place where) {
    std::string_view text = std::string_view(source_).substr(begin, end - begin);
    if (sign == '-') {
      const String all{std::string(text)};
      text = text.substr(0, strip(all, Value(), false, true).text.size());
    } else if (sign != '+' && !is_variable) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 = 0
      const bool begins_line = line > 0 || line_starting_;
      if (begins_line && line < text.size() && skip_blanks(begin + line) >= end)
        text = text.substr(0, line);
    }
    if (!text.empty()) push(Token::Type::kData, std::string(text), where);
  }

  // Behind "%}" or "#}" at `at`: - takes blanks, + nothing, else one line end.
  void end_tag(size_t at, char sign) {
    at_ = at;
    if (sign == '-')
      at_ = skip_blanks(at_);
    else if (sign != '+' && here("\n"))
      ++at_;
    line_starting_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  void comment(Place where) {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) syntax_error(where, "the comment has no end");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    end_tag(end + 2, sign == '-' || sign == '+' ? sign : '\0');
  }

  // {% raw %} … {% endraw %}; false if this is another tag.
  bool raw(Place where) {
    size_t at = skip_blanks(at_);
    if (source_.compare(at, 3, "raw") != 0) return false;
    at = skip_blanks(at + 3);
    bool trims = false;
    if (source_.compare(at, 3, "-%}") == 0) {
      at += 3;
      trims = true;
    } else if (source_.compare(at, 2, "%}") == 0) {
      at += 2;
    } else {
      return false;
    }
    const size_t begin = trims ? skip_blanks(at) : at;
    line_starting_ = source_[begin - 1] == '\n';
    for (size_t end = source_.find("{%", begin); end != std::string::npos;
         end = source_.find("{%", end + 1)) {
      size_t after = end + 2;
      char sign = 0;
      if (after < source_.size() && (source_[after] == '-' || source_[after] == '+'))
        sign = source_[after++];
      after = skip_blanks(after);
      if (source_.compare(after, 6, "endraw") != 0) continue;
      after = skip_blanks(after + 6);
      char end_sign = 0;
      if (after < source_.size() && (source_[after] == '-' || source_[after] == '+'))
        end_sign = source_[after++];
      if (source_.compare(after, 2, "%}") != 0) continue;
      data(begin, end, sign, false, place(begin));
      end_tag(after + 2, end_sign);
      return true;
    }
    syntax_error(where, "the raw block has no end");
  }

  // Tokens of a block or variable tag up to its end.
  void code(bool is_block, Place where) {
    push(is_block ? Token::Type::kBlockBegin : Token::Type::kVariableBegin, "", where);
    std::vector<char> open;
    const std::string_view close = is_block ? "%}" : "}}";
    while (at_ < source_.size()) {
      if (open.empty()) {
        const size_t begin = at_;
        char sign = 0;
        if (here("-") || (is_block && here("+"))) sign = source_[at_++];
        if (here(close)) {
          push(is_block ? Token::Type::kBlockEnd : Token::Type::kVariableEnd, "", place(begin));
          at_ += 2;
          if (is_block) return end_tag(at_, sign);
          if (sign == '-') at_ = skip_blanks(at_);
          line_starting_ = source_[at_ - 1] == '\n';
          return;
        }
        at_ = begin;
      }
      const size_t after = skip_blanks(at_);
      if (after > at_) {
        at_ = after;
        continue;
      }
      token(open);
    }
    syntax_error(where, "the tag has no end");
  }

  void token(std::vector<char>& open) {
    const char c = source_[at_];
    const Place where = place(at_);
    if (is_digit(c)) return number(where);
    if (c == '\'' || c == '"') return string(where, c);
    if (const size_t end = name_end(at_); end > at_) {
      push(Token::Type::kName, source_.substr(at_, end - at_), where);
      at_ = end;
      return;
    }
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!here(op)) continue;
      if (op == "(" || op == "[" || op == "{")
        open.push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
      if (op == ")" || op == "]" || op == "}") {
        if (open.empty()) syntax_error(where, "unexpected '{}'", op);
        if (open.back() != op[0])
          syntax_error(where, "unexpected '{}', expected '{}'", op, open.back());
        open.pop_back();
      }
      push(Token::Type::kOperator, std::string(op), where);
      at_ += op.size();
      return;
    }
    const auto size = unicode::decode_at(source_, at_).size;
    syntax_error(where, "unexpected character {}",
                 repr_string(std::string_view(source_).substr(at_, size)));
  }

  size_t name_end(size_t at) const {
    const size_t begin = at;
    while (at < source_.size()) {
      const auto [code, size] = unicode::decode_at(source_, at);
      const bool ascii = code == '_' || (code >= 'a' && code <= 'z') ||
                         (code >= 'A' && code <= 'Z') || (at > begin && code >= '0' && code <= '9');
      if (!ascii && (code < 0x80 || !unicode::is_word(code))) break;
      at += size;
    }
    return at;
  }

  // Digits with single underscores between them, as Python writes numbers.
  size_t digits_end(size_t at, std::string_view digits) const {
    auto is_one = [&](size_t i) {
      return i < source_.size() && digits.find(source_[i]) != std::string_view::npos;
    };
    while (is_one(at) || (at < source_.size() && source_[at] == '_' && is_one(at + 1))) ++at;
    return at;
  }

  void number(Place where) {
    static constexpr std::string_view kDecimal = "0123456789";
    const size_t whole = digits_end(at_, kDecimal);
    size_t end = whole;
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1]))
      end = digits_end(end + 1, kDecimal);
    if (end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-'))
        ++exponent;
      if (exponent < source_.size() && is_digit(source_[exponent]))
        end = digits_end(exponent, kDecimal);
    }
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (end > whole && !after_dot) return real(where, end);
    integer(where, whole);
  }

  void real(Place where, size_t end) {
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    push(Token::Type::kFloat, text, where);
    tokens_.back().real = std::strtod(text.c_str(), nullptr);
    at_ = end;
  }

  void integer(Place where, size_t end) {
    int base = 10;
    size_t begin = at_;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char kind = static_cast<char>(source_[at_ + 1] | 0x20);
      const int other = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
      if (other != 10) {
        const std::string_view digits = other == 16  ? "0123456789abcdefABCDEF"
                                        : other == 8 ? "01234567"
                                                     : "01";
        const size_t after = digits_end(at_ + 2, digits);
        if (after > at_ + 2) {
          base = other;
          begin = at_ + 2;
          end = after;
        }
      }
      if (base == 10) end = digits_end(at_, "0");  // no other digit may follow a zero
    }
    std::string text = source_.substr(begin, end - begin);
    std::erase(text, '_');
    push(Token::Type::kInteger, text, where);
    const auto [stop, error] =
        std::from_chars(text.data(), text.data() + text.size(), tokens_.back().integer, base);
    if (error != std::errc()) syntax_error(where, "integers beyond 64 bits are not supported");
    at_ = end;
  }

  void string(Place where, char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) syntax_error(where, "the string has no end");
    push(Token::Type::kString, unescaped(at_ + 1, end, where), where);
    at_ = end + 1;
  }

  std::string unescaped(size_t begin, size_t end, Place where) const {
    std::string out;
    for (size_t i = begin; i < end; ++i) {
      if (source_[i] != '\\' || i + 1 >= end) {
        out += source_[i];
        continue;
      }
      const char c = source_[++i];
      static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t at = kFrom.find(c); at != std::string_view::npos) {
        out += kTo[at];
      } else if (c == '\n') {
        continue;
      } else if (c >= '0' && c <= '7') {
        uint32_t code = 0;
        size_t stop = i;
        while (stop < end && stop < i + 3 && source_[stop] >= '0' && source_[stop] <= '7')
          code = code * 8 + static_cast<uint32_t>(source_[stop++] - '0');
        append_code(out, code, where);
        i = stop - 1;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t code = 0;
        const char* from = source_.data() + i + 1;
        const auto parsed = std::from_chars(from, from + std::min(digits, end - i - 1), code, 16);
        if (parsed.ptr != from + digits)
          syntax_error(where, "a \\{} escape needs {} hexadecimal digits", c, digits);
        append_code(out, code, where);
        i += digits;
      } else if (c == 'N') {
        syntax_error(where, "\\N escapes are not supported");
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  static void append_code(std::string& out, uint32_t code, Place where) {
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      syntax_error(where, "U+{:04X} is no character", code);
    unicode::append_utf8(out, code);
  }

  std::string source_;
  size_t at_ = 0, counted_ = 0;
  Place place_;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace ocellus::jinja
