#include "data/jinja/template.h"

#include "data/jinja/interpreter.h"
#include "data/jinja/lexer.h"
#include "data/jinja/parser.h"
#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

constexpr size_t kMaxSource = size_t{1} << 20;

bool any_generation(const Body& body) {
  for (const auto& s : body) {
    if (s->kind == Statement::Kind::kGeneration || any_generation(s->body) ||
        any_generation(s->otherwise))
      return true;
    for (const auto& branch : s->branches)
      if (any_generation(branch.second)) return true;
  }
  return false;
}

}  // namespace

TemplateError::TemplateError(const std::string& who, Place at, const std::string& text,
                             bool by_template)
    : FormatError(fmt::format("{}: line {}, column {}: {}", who, at.line, at.column, text)),
      place(at),
      message(text),
      raised(by_template) {}

Template::Template(std::string_view source, std::string who)
    : who_(std::move(who)), source_(source) {
  check<FormatError>(source.size() <= kMaxSource,
                     "{}: a chat template of {} bytes; at most {} are allowed", who_, source.size(),
                     kMaxSource);
  check<FormatError>(unicode::is_valid_utf8(source), "{}: the chat template is not UTF-8", who_);
  try {
    body_ = std::make_shared<const Body>(parse(source_));
  } catch (const SyntaxError& error) {
    throw TemplateError(who_, error.place, error.what(), false);
  }
  has_generation_ = any_generation(*body_);
}

String Template::render(const Value& context, const RenderOptions& options) const {
  Budget budget = options.budget;
  const BudgetScope scope(budget);
  Interpreter interpreter(context, options.now ? options.now : std::time(nullptr));
  try {
    return interpreter.run(*body_);
  } catch (const Raised& error) {
    throw TemplateError(who_, interpreter.place(), error.what(), true);
  } catch (const Failure& error) {
    throw TemplateError(who_, interpreter.place(), error.what(), false);
  }
}

}  // namespace ocellus::jinja
