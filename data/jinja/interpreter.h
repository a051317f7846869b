// Walks a template's tree and writes its text.
#pragma once
#include "data/jinja/ast.h"
#include "data/jinja/library.h"

namespace ocellus::jinja {

/// Names of one block; a loop's iteration, a macro's call and the like each open one.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;
  Value* find(std::string_view name);
  void set(std::string_view name, Value value);
};

class Interpreter {
 public:
  Interpreter(const Value& context, std::time_t now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  String run(const Body& body);
  /// What was being evaluated last.
  Place place() const { return place_; }

  enum class Signal : uint8_t { kNone, kBreak, kContinue };

 private:
  friend class Macro;
  friend class Loop;
  class Opened;

  Signal execute(const Body& body);
  Signal execute(const Statement& s);
  Signal execute_if(const Statement& s);
  void execute_output(const Statement& s);
  Signal execute_set_block(const Statement& s);
  Signal execute_filter_block(const Statement& s);
  Signal execute_with(const Statement& s);
  void execute_call_block(const Statement& s);
  void execute_generation(const Statement& s);
  Signal loop(const Statement& s, const Value& iterable, int depth);
  std::shared_ptr<Iterator> loop_source(const Statement& s, const Value& iterable);
  Value define(const Statement& s);
  String call_macro(const Statement& s, const std::shared_ptr<Scope>& scope, const Args& args);
  /// The text that `write` writes, apart from the output.
  String captured(const std::function<void()>& write);

  void assign(const Expression& target, const Value& value);
  Value evaluate(const Expression& e);
  Value evaluate_name(const Expression& e);
  Value evaluate_container(const Expression& e);
  Value evaluate_access(const Expression& e);
  Value evaluate_call(const Expression& e, const Value* caller);
  Value evaluate_filter(const Expression& e, const Value* piped);
  Value evaluate_test(const Expression& e);
  Value evaluate_logic(const Expression& e);
  Value evaluate_compare(const Expression& e);
  Value evaluate_concatenate(const Expression& e);
  Args evaluate_arguments(const CallArguments& a);

  Value context_;
  NamespaceList namespaces_;
  std::map<std::string, Value, std::less<>> globals_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> captured_;  // scopes that macros refer to: cleared at the end
  String* out_ = nullptr;
  Place place_;
};

}  // namespace ocellus::jinja
