// Jinja's tests: what may stand behind "is", and what select takes.
#include "data/jinja/library.h"

namespace ocellus::jinja {
namespace {

const Value& one(const Args& args, const char* name) {
  if (args.positional.size() != 1 || !args.named.empty())
    failure("the test {} takes one argument", name);
  return args.positional[0];
}

void none(const Args& args, const char* name) {
  if (!args.positional.empty() || !args.named.empty())
    failure("the test {} takes no argument", name);
}

bool divisible(const Value& v, int64_t by, int64_t rest) {
  return equal(arithmetic(Operator::kMod, v, Value(by)), Value(rest));
}

// True, False and None are single; other equal values may or may not be one object in Python.
bool same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Value::Kind::kNone:
      return true;
    case Value::Kind::kBool:
      return a.integer() == b.integer();
    case Value::Kind::kInt:
      if (a.integer() == b.integer() && (a.integer() < -5 || a.integer() > 256))
        failure("sameas of integers is not supported");
      return a.integer() == b.integer();
    case Value::Kind::kFloat:
      failure("sameas of floats is not supported");
    case Value::Kind::kString:
      if (a.identity() != b.identity() && a.string().text == b.string().text)
        failure("sameas of strings is not supported");
      return a.identity() == b.identity();
    default:
      return a.identity() == b.identity();
  }
}

bool is_known_filter(std::string_view name) {
  for (const char* other : {"pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"})
    if (name == other) return true;
  return find_filter(name) != nullptr;
}

bool is_case(const Value& v, const char* method_name) {
  return truth(method(Value(str(v)), method_name)->object().call({}));
}

using V = const Value&;
using A = const Args&;
using Kind = Value::Kind;

const std::map<std::string_view, TestFunction>& tests() {
  static const TestFunction kEqual = [](V v, A a) { return equal(v, one(a, "eq")); };
  static const TestFunction kNotEqual = [](V v, A a) { return !equal(v, one(a, "ne")); };
  static const TestFunction kLess = [](V v, A a) { return less(v, one(a, "lt")); };
  static const TestFunction kGreater = [](V v, A a) { return less(one(a, "gt"), v, ">"); };
  static const TestFunction kLessEqual = [](V v, A a) {
    return less_or_equal(v, one(a, "le"), "<=");
  };
  static const TestFunction kGreaterEqual = [](V v, A a) {
    return less_or_equal(one(a, "ge"), v, ">=");
  };
  static const std::map<std::string_view, TestFunction> table = {
      {"odd", [](V v, A a) { return none(a, "odd"), divisible(v, 2, 1); }},
      {"even", [](V v, A a) { return none(a, "even"), divisible(v, 2, 0); }},
      {"divisibleby",
       [](V v, A a) {
         return equal(arithmetic(Operator::kMod, v, one(a, "divisibleby")), Value(0));
       }},
      {"defined", [](V v, A a) { return none(a, "defined"), !v.is_undefined(); }},
      {"undefined", [](V v, A a) { return none(a, "undefined"), v.is_undefined(); }},
      {"filter",
       [](V v, A a) {
         return none(a, "filter"), hash(v), v.is_string() && is_known_filter(v.string().text);
       }},
      {"test",
       [](V v, A a) {
         return none(a, "test"), hash(v), v.is_string() && find_test(v.string().text);
       }},
      {"none", [](V v, A a) { return none(a, "none"), v.is(Kind::kNone); }},
      {"boolean", [](V v, A a) { return none(a, "boolean"), v.is(Kind::kBool); }},
      {"false", [](V v, A a) { return none(a, "false"), v.is(Kind::kBool) && v.integer() == 0; }},
      {"true", [](V v, A a) { return none(a, "true"), v.is(Kind::kBool) && v.integer() == 1; }},
      {"integer", [](V v, A a) { return none(a, "integer"), v.is(Kind::kInt); }},
      {"float", [](V v, A a) { return none(a, "float"), v.is(Kind::kFloat); }},
      {"lower", [](V v, A a) { return none(a, "lower"), is_case(v, "islower"); }},
      {"upper", [](V v, A a) { return none(a, "upper"), is_case(v, "isupper"); }},
      {"string", [](V v, A a) { return none(a, "string"), v.is_string(); }},
      {"mapping", [](V v, A a) { return none(a, "mapping"), v.is(Kind::kDict); }},
      {"number", [](V v, A a) { return none(a, "number"), v.is_number(); }},
      {"sequence",
       [](V v, A a) { return none(a, "sequence"), length(v).has_value() && !v.is(Kind::kView); }},
      {"iterable",
       [](V v, A a) {
         none(a, "iterable");
         return !v.is_number() && !v.is(Kind::kNone) && !v.is(Kind::kObject);
       }},
      {"callable",
       [](V v, A a) {
         none(a, "callable");
         return v.is_undefined() || (v.is(Kind::kObject) && v.object().callable());
       }},
      {"sameas", [](V v, A a) { return same(v, one(a, "sameas")); }},
      {"escaped", [](V v, A a) { return none(a, "escaped"), v.is_string() && v.string().safe; }},
      {"in", [](V v, A a) { return contains(one(a, "in"), v); }},
      {"==", kEqual},
      {"eq", kEqual},
      {"equalto", kEqual},
      {"!=", kNotEqual},
      {"ne", kNotEqual},
      {">", kGreater},
      {"gt", kGreater},
      {"greaterthan", kGreater},
      {"ge", kGreaterEqual},
      {">=", kGreaterEqual},
      {"<", kLess},
      {"lt", kLess},
      {"lessthan", kLess},
      {"<=", kLessEqual},
      {"le", kLessEqual},
  };
  return table;
}

}  // namespace

TestFunction find_test(std::string_view name) {
  const auto found = tests().find(name);
  return found == tests().end() ? nullptr : found->second;
}

}  // namespace ocellus::jinja
