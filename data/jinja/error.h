// Errors of templates and the budget that stops those without end.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#include "engine/check.h"

namespace ocellus::jinja {

/// A line and a column of a template, from 1; columns count characters.
struct Place {
  int line = 1, column = 1;
};

/// What goes wrong below the interpreter, which adds the place.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... A>
[[noreturn]] void failure(fmt::format_string<A...> format, A&&... arguments) {
  throw Failure(fmt::format(format, std::forward<A>(arguments)...));
}

/// Budget — what one rendering may cost. Every evaluated node is a step, and so are 16 bytes of
/// text or one element made.
struct Budget {
  int64_t steps = int64_t{1} << 23;  // about 128 MB of text, or a second or two
  size_t string_bytes = size_t{1} << 24;
  int depth = 0;  // nested evaluations
};

/// BudgetScope — makes `budget` the one that charge() draws from on this thread.
class BudgetScope {
 public:
  explicit BudgetScope(Budget& budget);
  ~BudgetScope();
  BudgetScope(const BudgetScope&) = delete;
  BudgetScope& operator=(const BudgetScope&) = delete;

 private:
  Budget* before_;
};

/// Takes `steps` from the budget; Failure when it is used up. charge_text: for `bytes` of new text.
void charge(size_t steps);
void charge_text(size_t bytes);

/// DepthScope — one level of nesting; Failure beyond the limit.
class DepthScope {
 public:
  DepthScope();
  ~DepthScope();
  DepthScope(const DepthScope&) = delete;
  DepthScope& operator=(const DepthScope&) = delete;
};

}  // namespace ocellus::jinja
