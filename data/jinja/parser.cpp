#include "data/jinja/parser.h"

#include <algorithm>
#include <set>

#include "data/jinja/lexer.h"
#include "data/jinja/library.h"

namespace ocellus::jinja {
namespace {

using Type = Token::Type;

constexpr int kMaxNesting = 200, kMaxTreeDepth = 500;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  Body run() {
    Body body = statements({});
    return body;
  }

 private:
  // ---- tokens
  // ---------------------------------------------------------------------------------------
  const Token& current() const { return tokens_[at_]; }
  const Token& following() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool at_name(std::string_view name) const {
    return current().type == Type::kName && current().text == name;
  }
  bool at_operator(std::string_view op) const {
    return current().type == Type::kOperator && current().text == op;
  }
  bool skip_name(std::string_view name) { return at_name(name) && (next(), true); }
  bool skip_operator(std::string_view op) { return at_operator(op) && (next(), true); }

  static std::string described(const Token& t) {
    switch (t.type) {
      case Type::kData:
        return "text";
      case Type::kBlockBegin:
        return "'{%'";
      case Type::kBlockEnd:
        return "'%}'";
      case Type::kVariableBegin:
        return "'{{'";
      case Type::kVariableEnd:
        return "'}}'";
      case Type::kEnd:
        return "the end of the template";
      case Type::kString:
        return repr_string(t.text);
      default:
        return "'" + t.text + "'";
    }
  }
  [[noreturn]] void unexpected(const char* wanted) const {
    syntax_error(current().place, "expected {}, got {}", wanted, described(current()));
  }
  void expect_operator(const char* op) {
    if (!skip_operator(op))
      syntax_error(current().place, "expected '{}', got {}", op, described(current()));
  }
  void expect(Type type, const char* wanted) {
    if (current().type != type) unexpected(wanted);
    next();
  }
  Token expect_name() {
    if (current().type != Type::kName) unexpected("a name");
    return next();
  }

  struct Nesting {
    explicit Nesting(Parser& p) : parser(p) {
      if (++parser.nesting_ > kMaxNesting)
        syntax_error(parser.current().place, "nested deeper than {} levels", kMaxNesting);
    }
    ~Nesting() { --parser.nesting_; }
    Parser& parser;
  };

  static ExpressionPtr node(Expression::Kind kind, Place place) {
    auto e = std::make_unique<Expression>();
    e->kind = kind;
    e->place = place;
    return e;
  }
  template <class... Children>
  static ExpressionPtr node(Expression::Kind kind, Place place, Children... children) {
    ExpressionPtr e = node(kind, place);
    (e->children.push_back(std::move(children)), ...);
    return measured(std::move(e));
  }
  // Long chains lean to the left: the tree may be deep where the text is not nested.
  static ExpressionPtr measured(ExpressionPtr e) {
    auto include = [&](const ExpressionPtr& child) {
      if (child) e->depth = std::max(e->depth, child->depth + 1);
    };
    for (const auto& child : e->children) include(child);
    for (const auto& child : e->arguments.positional) include(child);
    for (const auto& [name, child] : e->arguments.named) include(child);
    include(e->arguments.rest);
    include(e->arguments.named_rest);
    if (e->depth > kMaxTreeDepth)
      syntax_error(e->place, "the expression is nested deeper than {} levels", kMaxTreeDepth);
    return e;
  }

  // ---- statements
  // -----------------------------------------------------------------------------------

  // Statements up to one of the block tags `ends`, whose name is then the current token.
  Body statements(const std::set<std::string>& ends) {
    const Nesting nesting(*this);
    Body body;
    for (;;) {
      const Token& t = current();
      if (t.type == Type::kEnd) {
        if (!ends.empty())
          syntax_error(t.place, "the template ends where {} is missing", *ends.begin());
        return body;
      }
      if (t.type == Type::kData) {
        auto s = statement(Statement::Kind::kData, t.place);
        s->text = t.text;
        body.push_back(std::move(s));
        next();
      } else if (t.type == Type::kVariableBegin) {
        auto s = statement(Statement::Kind::kOutput, t.place);
        next();
        s->expressions.push_back(tuple());
        expect(Type::kVariableEnd, "'}}'");
        body.push_back(std::move(s));
      } else {
        const Place place = t.place;
        next();  // {%
        if (current().type == Type::kName && ends.count(current().text)) return body;
        body.push_back(tag(place));
        expect(Type::kBlockEnd, "'%}'");
      }
    }
  }

  // The body behind a tag, up to `ends`; the end's name is taken.
  Body body_until(const std::set<std::string>& ends, std::string* which = nullptr) {
    skip_operator(":");
    expect(Type::kBlockEnd, "'%}'");
    Body body = statements(ends);
    const Token end = next();
    if (which) *which = end.text;
    return body;
  }

  static std::unique_ptr<Statement> statement(Statement::Kind kind, Place place) {
    auto s = std::make_unique<Statement>();
    s->kind = kind;
    s->place = place;
    return s;
  }

  std::unique_ptr<Statement> tag(Place place) {
    const Token name = expect_name();
    const std::string& tag = name.text;
    if (tag == "for") return for_loop(place);
    if (tag == "if") return if_chain(place);
    if (tag == "set") return set(place);
    if (tag == "macro") return macro(place);
    if (tag == "call") return call_block(place);
    if (tag == "filter") return filter_block(place);
    if (tag == "with") return with(place);
    if (tag == "print") return print(place);
    if (tag == "generation") {
      auto s = statement(Statement::Kind::kGeneration, place);
      s->body = function_body("endgeneration");
      return s;
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) syntax_error(place, "{} stands outside of a loop", tag);
      return statement(tag == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue,
                       place);
    }
    static const std::set<std::string> kKnown = {
        "block", "extends", "include", "import", "from", "autoescape", "do", "trans", "debug"};
    if (kKnown.count(tag))
      syntax_error(place, "the tag {} is not supported in chat templates", tag);
    syntax_error(name.place, "unknown or misplaced tag '{}'", tag);
  }

  Body function_body(const char* end) {
    const int loops = std::exchange(loops_, 0);
    Body body = body_until({end});
    loops_ = loops;
    return body;
  }

  std::unique_ptr<Statement> for_loop(Place place) {
    auto s = statement(Statement::Kind::kFor, place);
    s->target = target(false, "in");
    if (!skip_name("in")) unexpected("'in'");
    s->expressions.push_back(tuple(false, "recursive"));
    if (skip_name("if")) s->test = expression();
    s->recursive = skip_name("recursive");
    std::string end;
    ++loops_;
    s->body = body_until({"endfor", "else"}, &end);
    --loops_;
    if (end == "else") s->otherwise = body_until({"endfor"});
    return s;
  }

  std::unique_ptr<Statement> if_chain(Place place) {
    auto s = statement(Statement::Kind::kIf, place);
    for (std::string end = "elif"; end != "endif";) {
      ExpressionPtr condition = end == "elif" ? tuple(false) : nullptr;
      const bool last = end == "else";
      Body body = last ? body_until({"endif"}, &end) : body_until({"elif", "else", "endif"}, &end);
      s->branches.emplace_back(std::move(condition), std::move(body));
    }
    return s;
  }

  std::unique_ptr<Statement> set(Place place) {
    auto s = statement(Statement::Kind::kSet, place);
    s->target = target(true);
    if (skip_operator("=")) {
      s->expressions.push_back(tuple());
      return s;
    }
    s->kind = Statement::Kind::kSetBlock;
    s->filter = filters(nullptr);
    s->body = body_until({"endset"});
    return s;
  }

  std::unique_ptr<Statement> with(Place place) {
    auto s = statement(Statement::Kind::kWith, place);
    while (current().type != Type::kBlockEnd && !at_operator(":")) {
      if (!s->targets.empty()) expect_operator(",");
      s->targets.push_back(target(false));
      expect_operator("=");
      s->expressions.push_back(expression());
    }
    s->body = body_until({"endwith"});
    return s;
  }

  std::unique_ptr<Statement> print(Place place) {
    auto s = statement(Statement::Kind::kOutput, place);
    while (current().type != Type::kBlockEnd) {
      if (!s->expressions.empty()) expect_operator(",");
      s->expressions.push_back(expression());
    }
    return s;
  }

  std::unique_ptr<Statement> filter_block(Place place) {
    auto s = statement(Statement::Kind::kFilterBlock, place);
    s->filter = filters(nullptr, true);
    s->body = body_until({"endfilter"});
    return s;
  }

  void signature(MacroDefinition& macro) {
    expect_operator("(");
    while (!at_operator(")")) {
      if (!macro.parameters.empty()) expect_operator(",");
      const Token name = expect_name();
      assignable(name);
      if (skip_operator("="))
        macro.defaults.push_back(expression());
      else if (!macro.defaults.empty())
        syntax_error(name.place,
                     "the parameter {} without a default follows one that has a default",
                     name.text);
      macro.parameters.push_back(name.text);
    }
    expect_operator(")");
  }

  std::unique_ptr<Statement> macro(Place place) {
    auto s = statement(Statement::Kind::kMacro, place);
    const Token name = expect_name();
    assignable(name);
    s->macro.name = name.text;
    signature(s->macro);
    s->body = function_body("endmacro");
    return s;
  }

  std::unique_ptr<Statement> call_block(Place place) {
    auto s = statement(Statement::Kind::kCallBlock, place);
    if (at_operator("(")) signature(s->macro);
    s->expressions.push_back(expression());
    if (s->expressions[0]->kind != Expression::Kind::kCall)
      syntax_error(place, "a call block needs a call");
    s->macro.name = "caller";
    s->body = function_body("endcall");
    return s;
  }

  // ---- targets of assignments
  // -----------------------------------------------------------------------

  static void assignable(const Token& name) {
    static const std::set<std::string> kConstants = {"true", "false", "none",
                                                     "True", "False", "None"};
    if (kConstants.count(name.text)) syntax_error(name.place, "cannot assign to {}", name.text);
  }

  ExpressionPtr target(bool with_namespace, std::string_view end = "") {
    const Place place = current().place;
    std::vector<ExpressionPtr> parts;
    bool is_tuple = false;
    for (;;) {
      if (!parts.empty()) expect_operator(",");
      if (tuple_ends(end)) break;
      parts.push_back(one_target(with_namespace));
      if (!at_operator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (parts.empty()) unexpected("a name");
      return std::move(parts[0]);
    }
    ExpressionPtr all = node(Expression::Kind::kTuple, place);
    all->children = std::move(parts);
    return measured(std::move(all));
  }

  ExpressionPtr one_target(bool with_namespace) {
    const Nesting nesting(*this);
    if (skip_operator("(")) {
      ExpressionPtr inner = target(with_namespace, ")");
      expect_operator(")");
      return inner;
    }
    const Token name = expect_name();
    assignable(name);
    if (with_namespace && skip_operator(".")) {
      ExpressionPtr e = node(Expression::Kind::kNamespaceReference, name.place);
      e->name = name.text;
      e->attribute = expect_name().text;
      return e;
    }
    ExpressionPtr e = node(Expression::Kind::kName, name.place);
    e->name = name.text;
    return e;
  }

  // ---- expressions
  // ----------------------------------------------------------------------------------

  bool tuple_ends(std::string_view extra = "") const {
    const Type t = current().type;
    return t == Type::kVariableEnd || t == Type::kBlockEnd || at_operator(")") ||
           (!extra.empty() && at_name(extra));
  }

  ExpressionPtr tuple(bool with_condition = true, std::string_view end = "",
                      bool in_parentheses = false) {
    const Place place = current().place;
    std::vector<ExpressionPtr> parts;
    bool is_tuple = false;
    for (;;) {
      if (!parts.empty()) expect_operator(",");
      if (tuple_ends(end)) break;
      parts.push_back(expression(with_condition));
      if (!at_operator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!parts.empty()) return std::move(parts[0]);
      if (!in_parentheses) unexpected("an expression");
    }
    ExpressionPtr all = node(Expression::Kind::kTuple, place);
    all->children = std::move(parts);
    return measured(std::move(all));
  }

  ExpressionPtr expression(bool with_condition = true) {
    const Nesting nesting(*this);
    ExpressionPtr value = disjunction();
    if (!with_condition) return value;
    while (at_name("if")) {
      const Place place = next().place;
      ExpressionPtr condition = disjunction();
      ExpressionPtr otherwise = skip_name("else") ? expression() : nullptr;
      value = node(Expression::Kind::kConditional, place, std::move(value), std::move(condition),
                   std::move(otherwise));
    }
    return value;
  }

  ExpressionPtr disjunction() {
    ExpressionPtr left = conjunction();
    while (at_name("or")) {
      const Place place = next().place;
      left = node(Expression::Kind::kOr, place, std::move(left), conjunction());
    }
    return left;
  }

  ExpressionPtr conjunction() {
    ExpressionPtr left = negation();
    while (at_name("and")) {
      const Place place = next().place;
      left = node(Expression::Kind::kAnd, place, std::move(left), negation());
    }
    return left;
  }

  ExpressionPtr negation() {
    const Nesting nesting(*this);
    if (!at_name("not")) return comparison();
    const Place place = next().place;
    return node(Expression::Kind::kNot, place, negation());
  }

  std::optional<Comparison> comparison_sign() {
    static constexpr std::pair<std::string_view, Comparison> kSigns[] = {
        {"==", Comparison::kEqual},  {"!=", Comparison::kNotEqual},
        {"<", Comparison::kLess},    {"<=", Comparison::kLessEqual},
        {">", Comparison::kGreater}, {">=", Comparison::kGreaterEqual}};
    for (const auto& [sign, which] : kSigns)
      if (skip_operator(sign)) return which;
    if (skip_name("in")) return Comparison::kIn;
    if (at_name("not") && following().type == Type::kName && following().text == "in") {
      next();
      next();
      return Comparison::kNotIn;
    }
    return std::nullopt;
  }

  ExpressionPtr comparison() {
    ExpressionPtr first = sum();
    const Place place = current().place;
    auto sign = comparison_sign();
    if (!sign) return first;
    ExpressionPtr all = node(Expression::Kind::kCompare, place, std::move(first));
    for (; sign; sign = comparison_sign()) {
      all->comparisons.push_back(*sign);
      all->children.push_back(sum());
    }
    return measured(std::move(all));
  }

  ExpressionPtr arithmetic_node(Operator op, Place place, ExpressionPtr left, ExpressionPtr right) {
    ExpressionPtr e = node(Expression::Kind::kArithmetic, place, std::move(left), std::move(right));
    e->operation = op;
    return e;
  }

  ExpressionPtr sum() {
    ExpressionPtr left = concatenation();
    while (at_operator("+") || at_operator("-")) {
      const Token sign = next();
      left = arithmetic_node(sign.text == "+" ? Operator::kAdd : Operator::kSub, sign.place,
                             std::move(left), concatenation());
    }
    return left;
  }

  ExpressionPtr concatenation() {
    ExpressionPtr first = product();
    if (!at_operator("~")) return first;
    ExpressionPtr all = node(Expression::Kind::kConcatenate, current().place, std::move(first));
    while (skip_operator("~")) all->children.push_back(product());
    return measured(std::move(all));
  }

  ExpressionPtr product() {
    static constexpr std::pair<std::string_view, Operator> kSigns[] = {{"*", Operator::kMul},
                                                                       {"/", Operator::kDiv},
                                                                       {"//", Operator::kFloorDiv},
                                                                       {"%", Operator::kMod}};
    ExpressionPtr left = power();
    for (;;) {
      const auto* sign = std::find_if(std::begin(kSigns), std::end(kSigns),
                                      [&](const auto& s) { return at_operator(s.first); });
      if (sign == std::end(kSigns)) return left;
      const Place place = next().place;
      left = arithmetic_node(sign->second, place, std::move(left), power());
    }
  }

  ExpressionPtr power() {
    ExpressionPtr left = unary();
    while (at_operator("**")) {
      const Place place = next().place;
      left = arithmetic_node(Operator::kPow, place, std::move(left), unary());
    }
    return left;
  }

  ExpressionPtr unary(bool with_filters = true) {
    const Nesting nesting(*this);
    ExpressionPtr e;
    if (at_operator("-") || at_operator("+")) {
      const Token sign = next();
      e = node(sign.text == "-" ? Expression::Kind::kNegative : Expression::Kind::kPositive,
               sign.place, unary(false));
    } else {
      e = primary();
    }
    e = postfix(std::move(e));
    return with_filters ? filters_and_tests(std::move(e)) : std::move(e);
  }

  ExpressionPtr constant(Value value, Place place) {
    ExpressionPtr e = node(Expression::Kind::kConstant, place);
    e->value = std::move(value);
    return e;
  }

  ExpressionPtr primary() {
    const Nesting nesting(*this);
    const Token t = current();
    switch (t.type) {
      case Type::kName: {
        next();
        if (t.text == "true" || t.text == "True") return constant(true, t.place);
        if (t.text == "false" || t.text == "False") return constant(false, t.place);
        if (t.text == "none" || t.text == "None") return constant(Value(), t.place);
        ExpressionPtr e = node(Expression::Kind::kName, t.place);
        e->name = t.text;
        return e;
      }
      case Type::kString: {
        std::string text;
        while (current().type == Type::kString) text += next().text;
        return constant(Value(std::move(text)), t.place);
      }
      case Type::kInteger:
        next();
        return constant(t.integer, t.place);
      case Type::kFloat:
        next();
        return constant(t.real, t.place);
      default:
        break;
    }
    if (skip_operator("(")) {
      ExpressionPtr e = tuple(true, "", true);
      expect_operator(")");
      return e;
    }
    if (skip_operator("[")) return list(t.place);
    if (skip_operator("{")) return dict(t.place);
    unexpected("an expression");
  }

  ExpressionPtr list(Place place) {
    ExpressionPtr e = node(Expression::Kind::kList, place);
    while (!at_operator("]")) {
      if (!e->children.empty()) expect_operator(",");
      if (at_operator("]")) break;
      e->children.push_back(expression());
    }
    expect_operator("]");
    return measured(std::move(e));
  }

  ExpressionPtr dict(Place place) {
    ExpressionPtr e = node(Expression::Kind::kDict, place);
    while (!at_operator("}")) {
      if (!e->children.empty()) expect_operator(",");
      if (at_operator("}")) break;
      e->children.push_back(expression());
      expect_operator(":");
      e->children.push_back(expression());
    }
    expect_operator("}");
    return measured(std::move(e));
  }

  ExpressionPtr postfix(ExpressionPtr e) {
    for (int length = 0;; ++length) {
      if (length > kMaxNesting)
        syntax_error(current().place, "a chain of more than {} attributes and calls", kMaxNesting);
      if (at_operator("."))
        e = attribute(std::move(e));
      else if (at_operator("["))
        e = subscript(std::move(e));
      else if (at_operator("("))
        e = call(std::move(e));
      else
        return e;
    }
  }

  ExpressionPtr filters_and_tests(ExpressionPtr e) {
    for (int length = 0;; ++length) {
      if (length > kMaxNesting)
        syntax_error(current().place, "a chain of more than {} filters and tests", kMaxNesting);
      if (at_operator("|"))
        e = filters(std::move(e));
      else if (at_name("is"))
        e = test(std::move(e));
      else if (at_operator("("))
        e = call(std::move(e));
      else
        return e;
    }
  }

  ExpressionPtr attribute(ExpressionPtr object) {
    const Place place = next().place;
    const Token name = next();
    if (name.type == Type::kInteger)
      return node(Expression::Kind::kItem, place, std::move(object),
                  constant(name.integer, name.place));
    if (name.type != Type::kName)
      syntax_error(name.place, "expected a name or a number behind '.', got {}", described(name));
    ExpressionPtr e = node(Expression::Kind::kAttribute, place, std::move(object));
    e->name = name.text;
    return e;
  }

  ExpressionPtr subscript(ExpressionPtr object) {
    const Place place = next().place;
    std::vector<ExpressionPtr> parts;
    bool sliced = false;
    while (!at_operator("]")) {
      if (!parts.empty()) expect_operator(",");
      parts.push_back(subscribed(sliced));
    }
    expect_operator("]");
    if (parts.size() == 1 && sliced) {
      parts[0]->children[0] = std::move(object);
      return measured(std::move(parts[0]));
    }
    if (sliced) syntax_error(place, "several slices in one subscript are not supported");
    if (parts.size() == 1)
      return node(Expression::Kind::kItem, place, std::move(object), std::move(parts[0]));
    ExpressionPtr key = node(Expression::Kind::kTuple, place);
    key->children = std::move(parts);
    return node(Expression::Kind::kItem, place, std::move(object), std::move(key));
  }

  ExpressionPtr subscribed(bool& sliced) {
    const Place place = current().place;
    ExpressionPtr start, stop, step;
    if (!at_operator(":")) {
      start = expression();
      if (!at_operator(":")) return start;
    }
    expect_operator(":");
    sliced = true;
    auto ends = [&] { return at_operator("]") || at_operator(","); };
    if (!at_operator(":") && !ends()) stop = expression();
    if (skip_operator(":") && !ends()) step = expression();
    return node(Expression::Kind::kSlice, place, ExpressionPtr(), std::move(start), std::move(stop),
                std::move(step));
  }

  CallArguments arguments() {
    CallArguments a;
    const Place place = current().place;
    expect_operator("(");
    auto ensure = [&](bool ok) {
      if (!ok) syntax_error(place, "the arguments of the call stand in a wrong order");
    };
    for (bool first = true; !at_operator(")"); first = false) {
      if (!first) {
        expect_operator(",");
        if (at_operator(")")) break;
      }
      if (skip_operator("*")) {
        ensure(!a.rest && !a.named_rest);
        a.rest = expression();
      } else if (skip_operator("**")) {
        ensure(!a.named_rest);
        a.named_rest = expression();
      } else if (current().type == Type::kName && following().type == Type::kOperator &&
                 following().text == "=") {
        ensure(!a.named_rest);
        std::string name = next().text;
        next();
        a.named.emplace_back(std::move(name), expression());
      } else {
        ensure(!a.rest && !a.named_rest && a.named.empty());
        a.positional.push_back(expression());
      }
    }
    expect_operator(")");
    return a;
  }

  ExpressionPtr call(ExpressionPtr callee) {
    const Place place = current().place;
    ExpressionPtr e = node(Expression::Kind::kCall, place, std::move(callee));
    e->arguments = arguments();
    return measured(std::move(e));
  }

  std::string dotted_name() {
    std::string name = expect_name().text;
    while (skip_operator(".")) name += "." + expect_name().text;
    return name;
  }

  ExpressionPtr filters(ExpressionPtr e, bool inline_first = false) {
    while (at_operator("|") || inline_first) {
      if (!inline_first) next();
      inline_first = false;
      const Place place = current().place;
      ExpressionPtr f = node(Expression::Kind::kFilter, place, std::move(e));
      f->name = dotted_name();
      if (at_operator("(")) f->arguments = arguments();
      e = measured(std::move(f));
    }
    return e;
  }

  ExpressionPtr test(ExpressionPtr e) {
    next();  // is
    const bool negated = skip_name("not");
    const Place place = current().place;
    ExpressionPtr t = node(Expression::Kind::kTest, place, std::move(e));
    t->name = dotted_name();
    const Type type = current().type;
    const bool argument = type == Type::kName || type == Type::kString || type == Type::kInteger ||
                          type == Type::kFloat || at_operator("[") || at_operator("{");
    if (at_operator("(")) {
      t->arguments = arguments();
    } else if (argument && !at_name("else") && !at_name("or") && !at_name("and")) {
      if (at_name("is")) syntax_error(current().place, "tests with 'is' cannot be chained");
      t->arguments.positional.push_back(postfix(primary()));
    }
    t = measured(std::move(t));
    return negated ? node(Expression::Kind::kNot, place, std::move(t)) : std::move(t);
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0, loops_ = 0;
};

/// Walker — visits a tree in the order of the template: finds unknown filters and tests, and which
/// of caller, kwargs and varargs a macro's body reads.
class Walker {
 public:
  void body(const Body& body, bool soft) {
    for (const auto& s : body) statement(*s, soft);
  }

  std::set<std::string> pending, found;

 private:
  void all(const std::vector<ExpressionPtr>& list, bool soft) {
    for (const auto& e : list)
      if (e) expression(*e, soft);
  }

  void macro(Statement& s, bool soft) {
    all(s.macro.defaults, soft);
    Walker inner;
    inner.pending = {"caller", "kwargs", "varargs"};
    inner.body(s.body, soft);
    s.macro.uses_caller = inner.found.count("caller");
    s.macro.uses_kwargs = inner.found.count("kwargs");
    s.macro.uses_varargs = inner.found.count("varargs");
    for (const std::string& p : s.macro.parameters) {
      if (p == "kwargs") s.macro.uses_kwargs = false;
      if (p == "varargs") s.macro.uses_varargs = false;
      pending.erase(p);
    }
    for (const std::string& name : inner.found)
      if (pending.count(name)) found.insert(name);
  }

  void store(const Expression& e) {
    if (e.kind == Expression::Kind::kName) pending.erase(e.name);
    for (const auto& child : e.children) store(*child);
  }

  void statement(Statement& s, bool soft) {
    if (s.kind == Statement::Kind::kFor) store(*s.target);
    if (s.kind == Statement::Kind::kIf) {
      for (auto& [condition, branch] : s.branches) {
        if (condition) expression(*condition, true);
        body(branch, true);
      }
      return;
    }
    all(s.expressions, soft);
    if (s.kind == Statement::Kind::kMacro || s.kind == Statement::Kind::kCallBlock)
      return macro(s, soft);
    if (s.filter) expression(*s.filter, soft);
    if (s.target && s.kind != Statement::Kind::kFor) store(*s.target);
    for (const auto& target : s.targets) store(*target);
    body(s.body, soft);
    body(s.otherwise, soft);
    if (s.test) expression(*s.test, soft);
  }

  void expression(const Expression& e, bool soft) {
    soft = soft || e.kind == Expression::Kind::kConditional;
    if (e.kind == Expression::Kind::kName && pending.count(e.name)) found.insert(e.name);
    if (!soft && e.kind == Expression::Kind::kFilter && !find_filter(e.name)) unknown(e, "filter");
    if (!soft && e.kind == Expression::Kind::kTest && !find_test(e.name)) unknown(e, "test");
    for (const auto& child : e.children)
      if (child) expression(*child, soft);
    all(e.arguments.positional, soft);
    for (const auto& [name, value] : e.arguments.named) expression(*value, soft);
    if (e.arguments.rest) expression(*e.arguments.rest, soft);
    if (e.arguments.named_rest) expression(*e.arguments.named_rest, soft);
  }

  [[noreturn]] static void unknown(const Expression& e, const char* what) {
    syntax_error(e.place, "there is no {} '{}', or it is not supported", what, e.name);
  }
};

}  // namespace

Body parse(std::string_view source) {
  Body body = Parser(source).run();
  Walker walker;
  walker.body(body, false);
  return body;
}

}  // namespace ocellus::jinja
