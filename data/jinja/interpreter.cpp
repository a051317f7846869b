#include "data/jinja/interpreter.h"

#include <algorithm>

namespace ocellus::jinja {

Value* Scope::find(std::string_view name) {
  for (auto& [key, value] : variables)
    if (key == name) return &value;
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  if (Value* old = find(name))
    *old = std::move(value);
  else
    variables.emplace_back(name, std::move(value));
}

/// A new scope on top of `parent` while this object lives.
class Interpreter::Opened {
 public:
  explicit Opened(Interpreter& interpreter) : Opened(interpreter, interpreter.scope_) {}
  Opened(Interpreter& interpreter, std::shared_ptr<Scope> parent)
      : interpreter_(interpreter), before_(std::move(interpreter.scope_)) {
    interpreter.scope_ = std::make_shared<Scope>();
    interpreter.scope_->parent = std::move(parent);
  }
  ~Opened() { interpreter_.scope_ = std::move(before_); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  Interpreter& interpreter_;
  std::shared_ptr<Scope> before_;
};

/// A macro, or the caller of a call block.
class Macro : public Object {
 public:
  Macro(Interpreter& interpreter, const Statement& s, std::shared_ptr<Scope> scope)
      : interpreter_(interpreter), statement_(s), scope_(std::move(scope)) {}
  const char* type_name() const override { return "Macro"; }
  bool callable() const override { return true; }
  Value call(const Args& args) override {
    return interpreter_.call_macro(statement_, scope_, args);
  }
  std::string text() const override { return "<Macro " + repr_string(statement_.macro.name) + ">"; }
  std::optional<Value> attribute(std::string_view name) const override {
    const MacroDefinition& m = statement_.macro;
    if (name == "name") return Value(m.name);
    if (name == "catch_kwargs") return Value(m.uses_kwargs);
    if (name == "catch_varargs") return Value(m.uses_varargs);
    if (name == "caller") return Value(m.uses_caller);
    if (name == "explicit_caller")
      return Value(std::find(m.parameters.begin(), m.parameters.end(), "caller") !=
                   m.parameters.end());
    if (name != "arguments") return std::nullopt;
    std::vector<Value> names(m.parameters.begin(), m.parameters.end());
    return Value::tuple(std::move(names));
  }

 private:
  Interpreter& interpreter_;
  const Statement& statement_;
  std::shared_ptr<Scope> scope_;
};

/// The variable `loop`. It looks one item ahead only when asked about it, as Jinja's does.
class Loop : public Object {
 public:
  Loop(Interpreter& interpreter, const Statement& s, Value iterable, std::shared_ptr<Iterator> from,
       int depth0)
      : interpreter_(interpreter),
        statement_(s),
        iterable_(std::move(iterable)),
        from_(std::move(from)),
        depth0_(depth0) {}
  const char* type_name() const override { return "LoopContext"; }
  bool callable() const override { return true; }

  std::optional<Value> advance() {
    auto item = ahead_ ? std::exchange(ahead_, std::nullopt) : over_ ? std::nullopt : from_->next();
    if (!item) return std::nullopt;
    ++index0_;
    before_ = std::move(current_);
    current_ = item;
    return item;
  }

  Value call(const Args& args) override {
    const Bound a(args, "loop", {"/iterable"}, 1);
    if (!statement_.recursive)
      failure("The loop must have the 'recursive' marker to be called recursively.");
    return interpreter_.captured([&] { interpreter_.loop(statement_, a[0], depth0_ + 1); });
  }

  std::string text() const override {
    return fmt::format("<LoopContext {}/{}>", index0_ + 1, size());
  }

  std::optional<Value> attribute(std::string_view name) const override {
    if (name == "index") return Value(index0_ + 1);
    if (name == "index0") return Value(index0_);
    if (name == "first") return Value(index0_ == 0);
    if (name == "last") return Value(!peek());
    if (name == "length") return Value(size());
    if (name == "revindex") return Value(size() - index0_);
    if (name == "revindex0") return Value(size() - index0_ - 1);
    if (name == "depth") return Value(depth0_ + 1);
    if (name == "depth0") return Value(depth0_);
    if (name == "previtem")
      return index0_ == 0 ? Value::undefined("there is no previous item") : *before_;
    if (name == "nextitem") return peek() ? *ahead_ : Value::undefined("there is no next item");
    if (name == "cycle" || name == "changed") return function(name);
    return std::nullopt;
  }

 private:
  bool peek() const {
    if (!ahead_ && !over_) {
      ahead_ = from_->next();
      over_ = !ahead_;
    }
    return ahead_.has_value();
  }

  int64_t size() const {
    if (size_ >= 0) return size_;
    const auto known = statement_.test ? std::nullopt : jinja::length(iterable_);
    if (known) return size_ = static_cast<int64_t>(*known);
    std::vector<Value> rest;
    while (auto item = over_ ? std::nullopt : from_->next()) rest.push_back(std::move(*item));
    over_ = false;
    size_ = std::ssize(rest) + index0_ + 1 + ahead_.has_value();
    from_ = iterate(Value::list(std::move(rest)));
    return size_;
  }

  Value function(std::string_view name) const {
    if (name == "cycle")
      return Value::function("cycle", [index = index0_](const Args& args) {
        if (args.positional.empty()) failure("no items for cycling given");
        return args.positional[static_cast<size_t>(index) % args.positional.size()];
      });
    return Value::function("changed", [last = last_](const Args& args) {
      const Value now = Value::tuple(args.positional);
      const bool changed = !*last || !equal(**last, now);
      *last = now;
      return Value(changed);
    });
  }

  Interpreter& interpreter_;
  const Statement& statement_;
  Value iterable_;
  mutable std::shared_ptr<Iterator> from_;
  int depth0_;
  int64_t index0_ = -1;
  mutable int64_t size_ = -1;
  mutable std::optional<Value> ahead_;
  mutable bool over_ = false;
  std::optional<Value> before_, current_;
  std::shared_ptr<std::optional<Value>> last_ = std::make_shared<std::optional<Value>>();
};

Interpreter::Interpreter(const Value& context, std::time_t now)
    : context_(context),
      globals_(global_functions(now, namespaces_)),
      scope_(std::make_shared<Scope>()) {
  captured_.push_back(scope_);
}

Interpreter::~Interpreter() {
  // Values may refer to each other in circles; only these can be part of one.
  for (const auto& scope : captured_) scope->variables.clear();
  for (const auto& space : namespaces_) space->values = Dict();
}

String Interpreter::run(const Body& body) {
  return captured([&] { execute(body); });
}

String Interpreter::captured(const std::function<void()>& write) {
  struct Restore {
    String*& slot;
    String* before;
    ~Restore() { slot = before; }
  };
  String text;
  const Restore restore{out_, std::exchange(out_, &text)};
  write();
  return text;
}

// ---- statements
// -------------------------------------------------------------------------------------

Interpreter::Signal Interpreter::execute(const Body& body) {
  for (const auto& s : body) {
    place_ = s->place;
    charge(1);
    const Signal signal = execute(*s);
    if (signal != Signal::kNone) return signal;
  }
  return Signal::kNone;
}

Interpreter::Signal Interpreter::execute(const Statement& s) {
  const DepthScope depth;
  switch (s.kind) {
    case Statement::Kind::kData:
      out_->append(s.text);
      break;
    case Statement::Kind::kOutput:
      execute_output(s);
      break;
    case Statement::Kind::kIf:
      return execute_if(s);
    case Statement::Kind::kFor:
      return loop(s, evaluate(*s.expressions[0]), 0);
    case Statement::Kind::kSet:
      assign(*s.target, evaluate(*s.expressions[0]));
      break;
    case Statement::Kind::kSetBlock:
      return execute_set_block(s);
    case Statement::Kind::kMacro:
      scope_->set(s.macro.name, define(s));
      break;
    case Statement::Kind::kCallBlock:
      execute_call_block(s);
      break;
    case Statement::Kind::kFilterBlock:
      return execute_filter_block(s);
    case Statement::Kind::kWith:
      return execute_with(s);
    case Statement::Kind::kGeneration:
      execute_generation(s);
      break;
    case Statement::Kind::kBreak:
      return Signal::kBreak;
    case Statement::Kind::kContinue:
      return Signal::kContinue;
  }
  return Signal::kNone;
}

void Interpreter::execute_output(const Statement& s) {
  for (const auto& e : s.expressions) {
    const Value v = evaluate(*e);
    place_ = e->place;
    out_->append(str(v));
  }
}

Interpreter::Signal Interpreter::execute_if(const Statement& s) {
  for (const auto& [condition, body] : s.branches)
    if (!condition || truth(evaluate(*condition))) return execute(body);
  return Signal::kNone;
}

Interpreter::Signal Interpreter::execute_set_block(const Statement& s) {
  Signal signal = Signal::kNone;
  Value text;
  {
    const Opened scope(*this);
    text = captured([&] { signal = execute(s.body); });
    if (signal != Signal::kNone) return signal;
    if (s.filter) text = evaluate_filter(*s.filter, &text);
  }
  assign(*s.target, text);
  return Signal::kNone;
}

Interpreter::Signal Interpreter::execute_filter_block(const Statement& s) {
  Signal signal = Signal::kNone;
  const Opened scope(*this);
  const Value text = captured([&] { signal = execute(s.body); });
  if (signal != Signal::kNone) return signal;
  const Value filtered = evaluate_filter(*s.filter, &text);
  out_->append(str(filtered));
  return Signal::kNone;
}

Interpreter::Signal Interpreter::execute_with(const Statement& s) {
  std::vector<Value> values;
  for (const auto& e : s.expressions) values.push_back(evaluate(*e));
  const Opened scope(*this);
  for (size_t i = 0; i < values.size(); ++i) assign(*s.targets[i], values[i]);
  return execute(s.body);
}

void Interpreter::execute_call_block(const Statement& s) {
  const Value caller = define(s);
  const Value result = evaluate_call(*s.expressions[0], &caller);
  out_->append(str(result));
}

void Interpreter::execute_generation(const Statement& s) {
  const Opened scope(*this);
  String text = captured([&] { execute(s.body); });
  text.marks.push_back({0, text.text.size(), kGeneration});
  out_->append(text);
}

std::shared_ptr<Iterator> Interpreter::loop_source(const Statement& s, const Value& iterable) {
  auto from = iterate(iterable);
  if (!s.test) return from;
  return std::make_shared<Iterator>(
      Iterator{[this, &s, from, scope = scope_]() -> std::optional<Value> {
                 while (auto item = from->next()) {
                   const Opened inner(*this, scope);
                   assign(*s.target, *item);
                   if (truth(evaluate(*s.test))) return item;
                 }
                 return std::nullopt;
               },
               1});
}

Interpreter::Signal Interpreter::loop(const Statement& s, const Value& iterable, int depth) {
  const DepthScope nested;
  place_ = s.expressions[0]->place;
  const auto state = std::make_shared<Loop>(*this, s, iterable, loop_source(s, iterable), depth);
  bool ran = false;  // an iteration came to its end; as in Jinja, break and continue leave it
  while (auto item = state->advance()) {
    const Opened scope(*this);
    assign(*s.target, *item);
    scope_->set("loop", Value(std::shared_ptr<Object>(state)));
    const Signal signal = execute(s.body);
    if (signal == Signal::kBreak) break;
    if (signal == Signal::kNone) ran = true;
  }
  if (ran || s.otherwise.empty()) return Signal::kNone;
  const Opened scope(*this);
  return execute(s.otherwise);
}

Value Interpreter::define(const Statement& s) {
  if (captured_.back() != scope_) captured_.push_back(scope_);
  charge(8);
  return Value(std::shared_ptr<Object>(std::make_shared<Macro>(*this, s, scope_)));
}

String Interpreter::call_macro(const Statement& s, const std::shared_ptr<Scope>& scope,
                               const Args& args) {
  const DepthScope depth;
  const MacroDefinition& m = s.macro;
  std::vector<std::optional<Value>> given(m.parameters.size());
  std::vector<Value> more;
  for (size_t i = 0; i < args.positional.size(); ++i) {
    if (i < given.size())
      given[i] = args.positional[i];
    else if (m.uses_varargs)
      more.push_back(args.positional[i]);
    else
      failure("macro '{}' takes not more than {} argument(s)", m.name, given.size());
  }
  Dict named;
  Value caller = Value::undefined("No caller defined");
  for (const auto& [name, value] : args.named) {
    const auto at = static_cast<size_t>(std::find(m.parameters.begin(), m.parameters.end(), name) -
                                        m.parameters.begin());
    if (at < given.size() && !given[at])
      given[at] = value;
    else if (name == "caller" && m.uses_caller && at == given.size())
      caller = value;
    else if (m.uses_kwargs)
      named.set(Value(name), value);
    else
      failure("macro '{}' takes no keyword argument '{}'", m.name, name);
  }
  const Opened inner(*this, scope);
  if (m.uses_caller) scope_->set("caller", caller);
  if (m.uses_kwargs) scope_->set("kwargs", Value::dict(std::move(named)));
  if (m.uses_varargs) scope_->set("varargs", Value::tuple(std::move(more)));
  const size_t first_default = m.parameters.size() - m.defaults.size();
  for (size_t i = 0; i < given.size(); ++i) {
    Value v =
        given[i] ? *given[i]
        : i >= first_default
            ? evaluate(*m.defaults[i - first_default])
            : Value::undefined(fmt::format("parameter '{}' was not provided", m.parameters[i]));
    scope_->set(m.parameters[i], std::move(v));
  }
  return captured([&] { execute(s.body); });
}

void Interpreter::assign(const Expression& target, const Value& value) {
  place_ = target.place;
  if (target.kind == Expression::Kind::kName) {
    scope_->set(target.name, value);
  } else if (target.kind == Expression::Kind::kNamespaceReference) {
    Expression name;
    name.kind = Expression::Kind::kName;
    name.name = target.name;
    const Value space = evaluate_name(name);
    auto* object =
        space.is(Value::Kind::kObject) ? dynamic_cast<Namespace*>(&space.object()) : nullptr;
    if (!object) failure("cannot assign attribute on non-namespace object");
    object->set(target.attribute, value);
  } else {
    const std::vector<Value> parts = to_vector(value);
    if (parts.size() != target.children.size())
      failure("{} values to unpack into {} names", parts.size(), target.children.size());
    for (size_t i = 0; i < parts.size(); ++i) assign(*target.children[i], parts[i]);
  }
}

// ---- expressions
// ------------------------------------------------------------------------------------

Value Interpreter::evaluate(const Expression& e) {
  const DepthScope depth;
  charge(1);
  switch (e.kind) {
    case Expression::Kind::kConstant:
      return e.value;
    case Expression::Kind::kName:
      return evaluate_name(e);
    case Expression::Kind::kList:
    case Expression::Kind::kTuple:
    case Expression::Kind::kDict:
      return evaluate_container(e);
    case Expression::Kind::kItem:
    case Expression::Kind::kAttribute:
    case Expression::Kind::kSlice:
      return evaluate_access(e);
    case Expression::Kind::kCall:
      return evaluate_call(e, nullptr);
    case Expression::Kind::kFilter:
      return evaluate_filter(e, nullptr);
    case Expression::Kind::kTest:
      return evaluate_test(e);
    case Expression::Kind::kCompare:
      return evaluate_compare(e);
    case Expression::Kind::kConcatenate:
      return evaluate_concatenate(e);
    default:
      return evaluate_logic(e);
  }
}

Value Interpreter::evaluate_name(const Expression& e) {
  for (Scope* scope = scope_.get(); scope; scope = scope->parent.get())
    if (const Value* found = scope->find(e.name)) return *found;
  if (const Value* found = context_.entries().find_name(e.name)) return *found;
  const auto global = globals_.find(e.name);
  if (global != globals_.end()) return global->second;
  return Value::undefined(fmt::format("'{}' is undefined", e.name));
}

Value Interpreter::evaluate_container(const Expression& e) {
  if (e.kind == Expression::Kind::kDict) {
    Dict dict;
    for (size_t i = 0; i < e.children.size(); i += 2) {
      const Value key = evaluate(*e.children[i]);
      Value value = evaluate(*e.children[i + 1]);
      place_ = e.children[i]->place;
      dict.set(key, std::move(value));
    }
    return Value::dict(std::move(dict));
  }
  std::vector<Value> items;
  items.reserve(e.children.size());
  for (const auto& child : e.children) items.push_back(evaluate(*child));
  return e.kind == Expression::Kind::kList ? Value::list(std::move(items))
                                           : Value::tuple(std::move(items));
}

Value Interpreter::evaluate_access(const Expression& e) {
  const Value object = evaluate(*e.children[0]);
  if (e.kind == Expression::Kind::kAttribute) {
    place_ = e.place;
    return get_attribute(object, e.name);
  }
  if (e.kind == Expression::Kind::kItem) {
    const Value key = evaluate(*e.children[1]);
    place_ = e.place;
    return get_item(object, key);
  }
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i)
    if (e.children[i + 1]) bounds[i] = evaluate(*e.children[i + 1]);
  place_ = e.place;
  return slice(object, bounds[0], bounds[1], bounds[2]);
}

Args Interpreter::evaluate_arguments(const CallArguments& a) {
  Args args;
  for (const auto& e : a.positional) args.positional.push_back(evaluate(*e));
  if (a.rest)
    for (Value& v : to_vector(evaluate(*a.rest))) args.positional.push_back(std::move(v));
  for (const auto& [name, e] : a.named) args.named.emplace_back(name, evaluate(*e));
  if (a.named_rest) {
    const Value more = evaluate(*a.named_rest);
    if (!more.is(Value::Kind::kDict))
      failure("argument after ** must be a mapping, not {}", more.type_name());
    for (const auto& [name, value] : more.entries().entries) {
      if (!name.is_string()) failure("keywords must be strings");
      args.named.emplace_back(name.string().text, value);
    }
  }
  for (size_t i = 0; i < args.named.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (args.named[i].first == args.named[k].first)
        failure("got multiple values for keyword argument '{}'", args.named[i].first);
  return args;
}

Value Interpreter::evaluate_call(const Expression& e, const Value* caller) {
  const Value callee = evaluate(*e.children[0]);
  Args args = evaluate_arguments(e.arguments);
  if (caller) args.named.emplace_back("caller", *caller);
  place_ = e.place;
  if (callee.is_undefined()) failure("{}", callee.why_undefined());
  if (!callee.is(Value::Kind::kObject)) failure("'{}' object is not callable", callee.type_name());
  return callee.object().call(args);
}

Value Interpreter::evaluate_filter(const Expression& e, const Value* piped) {
  // A null child at the end of the chain is the body of a block.
  const Value value = !e.children[0] ? *piped
                      : e.children[0]->kind == Expression::Kind::kFilter
                          ? evaluate_filter(*e.children[0], piped)
                          : evaluate(*e.children[0]);
  const Args args = evaluate_arguments(e.arguments);
  place_ = e.place;
  const FilterFunction filter = find_filter(e.name);
  if (!filter) failure("there is no filter '{}', or it is not supported", e.name);
  return filter(value, args);
}

Value Interpreter::evaluate_test(const Expression& e) {
  const Value value = evaluate(*e.children[0]);
  const Args args = evaluate_arguments(e.arguments);
  place_ = e.place;
  const TestFunction test = find_test(e.name);
  if (!test) failure("there is no test '{}', or it is not supported", e.name);
  return test(value, args);
}

Value Interpreter::evaluate_logic(const Expression& e) {
  Value left;
  if (e.kind != Expression::Kind::kConditional) left = evaluate(*e.children[0]);
  switch (e.kind) {
    case Expression::Kind::kNot:
      return !truth(left);
    case Expression::Kind::kAnd:
      return truth(left) ? evaluate(*e.children[1]) : left;
    case Expression::Kind::kOr:
      return truth(left) ? left : evaluate(*e.children[1]);
    case Expression::Kind::kNegative:
    case Expression::Kind::kPositive:
      place_ = e.place;
      return negate(left, e.kind == Expression::Kind::kNegative);
    case Expression::Kind::kArithmetic: {
      const Value right = evaluate(*e.children[1]);
      place_ = e.place;
      return arithmetic(e.operation, left, right);
    }
    case Expression::Kind::kConditional:
      if (truth(evaluate(*e.children[1]))) return evaluate(*e.children[0]);
      if (e.children[2]) return evaluate(*e.children[2]);
      return Value::undefined(
          "the inline if-expression evaluated to false and no else section was defined");
    default:
      failure("this cannot be evaluated");
  }
}

Value Interpreter::evaluate_compare(const Expression& e) {
  Value left = evaluate(*e.children[0]);
  for (size_t i = 0; i < e.comparisons.size(); ++i) {
    Value right = evaluate(*e.children[i + 1]);
    place_ = e.place;
    bool holds = false;
    switch (e.comparisons[i]) {
      case Comparison::kEqual:
        holds = equal(left, right);
        break;
      case Comparison::kNotEqual:
        holds = !equal(left, right);
        break;
      case Comparison::kLess:
        holds = less(left, right, "<");
        break;
      case Comparison::kLessEqual:
        holds = less_or_equal(left, right, "<=");
        break;
      case Comparison::kGreater:
        holds = less(right, left, ">");
        break;
      case Comparison::kGreaterEqual:
        holds = less_or_equal(right, left, ">=");
        break;
      case Comparison::kIn:
        holds = contains(right, left);
        break;
      case Comparison::kNotIn:
        holds = !contains(right, left);
        break;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::evaluate_concatenate(const Expression& e) {
  String out;
  for (const auto& child : e.children) {
    const Value v = evaluate(*child);
    place_ = child->place;
    out.append(str(v));
  }
  charge_text(out.text.size());
  out.safe = false;
  return out;
}

}  // namespace ocellus::jinja
