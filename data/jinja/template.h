// Chat templates: the Jinja that published models use, as `transformers` runs it (Jinja 3.1,
// immutable sandbox, trim_blocks, lstrip_blocks, loop controls, {% generation %}).
#pragma once
#include <ctime>
#include <memory>
#include <string>

#include "data/jinja/ast.h"
#include "data/jinja/value.h"

namespace ocellus::jinja {

/// TemplateError — what() is "WHO: line L, column C: sentence".
struct TemplateError : FormatError {
  TemplateError(const std::string& who, Place at, const std::string& message, bool by_template);
  Place place;
  std::string message;
  bool raised;  // by raise_exception: `message` is the template's own
};

struct RenderOptions {
  std::time_t now = 0;  // what strftime_now tells; 0: the clock
  Budget budget;
};

/// Template — parsed once, rendered often; copies share the tree. Safe to use in many threads.
class Template {
 public:
  /// Throws TemplateError for what is not Jinja or not supported; `who` begins the messages.
  Template(std::string_view source, std::string who);

  /// The text for the variables `context` (a dict), with marks of where it came from: what
  /// {% generation %} encloses is marked kGeneration, strings of the context as they are marked
  /// there.
  String render(const Value& context, const RenderOptions& options = {}) const;

  const std::string& source() const { return source_; }
  /// Whether it has {% generation %} blocks.
  bool has_generation() const { return has_generation_; }

 private:
  std::string who_, source_;
  std::shared_ptr<const Body> body_;
  bool has_generation_ = false;
};

}  // namespace ocellus::jinja
