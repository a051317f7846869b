// Regular expressions as tokenizer files write them (Oniguruma), run by PCRE2.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

/// Rewrites an Oniguruma pattern so that PCRE2 (UTF, UCP) matches the same: classes inside classes
/// and `&&`, \h, \s and \w by their Unicode definition, \b on that \w, POSIX and long property
/// names, possessive repetition only after ? * +. Throws FormatError for what PCRE2 cannot say.
std::string pcre2_pattern(std::string_view pattern, const Where& where);

class Regex {
 public:
  /// Throws FormatError if the pattern is not understood.
  Regex(std::string_view pattern, const Where& where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  /// Cuts `text` (valid UTF-8) into matches and what lies between, without gaps. No match is empty
  /// where the one before ended; an empty text has none. Throws FormatError if the pattern needs
  /// too many steps.
  struct Found {
    size_t begin, end;
    bool match;
  };
  void find_all(std::string_view text, std::vector<Found>& out) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

/// A literal string or a regular expression: the "pattern" of Split and Replace.
class Pattern {
 public:
  static Pattern read(const nlohmann::json& section, const Where& where);
  void find_all(std::string_view text, std::vector<Regex::Found>& out) const;
  /// The text of the pattern if it is a literal, respectively a regular expression.
  const std::string& literal() const { return literal_; }
  const std::string& regex_text() const { return regex_text_; }

 private:
  std::string literal_, regex_text_;
  std::unique_ptr<Regex> regex_;
};

}  // namespace ocellus::tokenizer
