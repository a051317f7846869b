// Tokens to a tree.
#pragma once
#include <string_view>

#include "data/jinja/ast.h"

namespace ocellus::jinja {

/// parse — the body of a template. Throws SyntaxError, with a place, for what is not Jinja and for
/// what is not supported here (inheritance, imports, autoescape).
Body parse(std::string_view source);

}  // namespace ocellus::jinja
