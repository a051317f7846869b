// Template text to tokens, with the whitespace rules of trim_blocks and lstrip_blocks as
// `transformers` sets them: a line end after a block tag goes, blanks before one that begins its
// line go, - takes all blanks on its side, + keeps them, and the last line end of the template
// goes.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/jinja/error.h"

namespace ocellus::jinja {

struct Token {
  enum class Type : uint8_t {
    kData,
    kBlockBegin,
    kBlockEnd,
    kVariableBegin,
    kVariableEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Type type;
  std::string text;  // data, name, decoded string, operator
  Place place;
  int64_t integer = 0;
  double real = 0;
};

/// An error while reading, which knows its place.
struct SyntaxError : std::runtime_error {
  SyntaxError(Place at, const std::string& message) : std::runtime_error(message), place(at) {}
  Place place;
};

template <class... A>
[[noreturn]] void syntax_error(Place place, fmt::format_string<A...> format, A&&... arguments) {
  throw SyntaxError(place, fmt::format(format, std::forward<A>(arguments)...));
}

/// tokenize — `source` must be valid UTF-8. The last token is kEnd. Throws SyntaxError.
std::vector<Token> tokenize(std::string_view source);

}  // namespace ocellus::jinja
