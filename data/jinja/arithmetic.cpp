// Python's arithmetic on the values of templates. Integers have 64 bits; a larger result is an
// error.
#include <cmath>

#include "data/jinja/value.h"

namespace ocellus::jinja {
namespace {

[[noreturn]] void too_large() { failure("integers beyond 64 bits are not supported"); }

[[noreturn]] void unsupported(Operator op, const Value& a, const Value& b) {
  static constexpr const char* kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};
  failure("unsupported operand type(s) for {}: '{}' and '{}'", kSigns[static_cast<size_t>(op)],
          a.type_name(), b.type_name());
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == -1) {
    if (a == INT64_MIN) too_large();
    return -a;
  }
  const int64_t q = a / b;
  return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) failure("0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent & 1) result = checked_multiply(result, base);
    exponent >>= 1;
    if (exponent > 0) base = checked_multiply(base, base);
  }
  return result;
}

Value integer_arithmetic(Operator op, int64_t a, int64_t b) {
  const bool divides = op == Operator::kDiv || op == Operator::kFloorDiv || op == Operator::kMod;
  if (divides && b == 0) failure("division by zero");
  switch (op) {
    case Operator::kAdd:
      return checked_add(a, b);
    case Operator::kSub: {
      int64_t result;
      if (__builtin_sub_overflow(a, b, &result)) too_large();
      return result;
    }
    case Operator::kMul:
      return checked_multiply(a, b);
    case Operator::kDiv:
      return static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b));
    case Operator::kFloorDiv:
      return floor_divide(a, b);
    case Operator::kMod:
      return b == -1 ? int64_t{0} : a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
    case Operator::kPow:
      return integer_power(a, b);
  }
  return {};
}

// divmod of floats as Python defines it: the remainder has the sign of b, the quotient is whole.
std::pair<double, double> float_divmod(double a, double b) {
  double mod = std::fmod(a, b), div = (a - mod) / b;
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) {
      mod += b;
      div -= 1.0;
    }
  } else {
    mod = std::copysign(0.0, b);
  }
  double whole;
  if (div != 0) {
    whole = std::floor(div);
    if (div - whole > 0.5) whole += 1.0;
  } else {
    whole = std::copysign(0.0, a / b);
  }
  return {whole, mod};
}

Value float_arithmetic(Operator op, double a, double b) {
  const bool divides = op == Operator::kDiv || op == Operator::kFloorDiv || op == Operator::kMod;
  if (divides && b == 0) failure("float division by zero");
  switch (op) {
    case Operator::kAdd:
      return a + b;
    case Operator::kSub:
      return a - b;
    case Operator::kMul:
      return a * b;
    case Operator::kDiv:
      return a / b;
    case Operator::kFloorDiv:
      return float_divmod(a, b).first;
    case Operator::kMod:
      return float_divmod(a, b).second;
    case Operator::kPow: {
      if (a == 0 && b < 0) failure("0.0 cannot be raised to a negative power");
      if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b))
        failure("complex numbers are not supported");
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
        failure("numerical result out of range");
      return result;
    }
  }
  return {};
}

Value repeat(const Value& sequence, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (sequence.is_string()) {
    const String& s = sequence.string();
    if (s.text.empty() || count == 0) {
      String empty;
      empty.safe = s.safe;
      return empty;
    }
    charge_text(count > (size_t{1} << 40) / s.text.size() ? size_t{1} << 40
                                                          : count * s.text.size());
    String out;
    out.safe = s.safe;
    for (size_t i = 0; i < count; ++i) out.append(s);
    return out;
  }
  std::vector<Value> items;
  charge(count > (size_t{1} << 40) / (sequence.items().size() + 1)
             ? size_t{1} << 40
             : count * sequence.items().size());
  if (!sequence.items().empty())
    for (size_t i = 0; i < count; ++i)
      items.insert(items.end(), sequence.items().begin(), sequence.items().end());
  return sequence.is(Value::Kind::kList) ? Value::list(std::move(items))
                                         : Value::tuple(std::move(items));
}

Value concatenate(const String& a, const String& b) {
  charge_text(a.text.size() + b.text.size());
  if (a.safe == b.safe) {
    String out = a;
    out.append(b);
    return out;
  }
  // Markup escapes what it is joined with.
  String out = a.safe ? a : escape_html(Value(a));
  out.append(b.safe ? b : escape_html(Value(b)));
  out.safe = true;
  return out;
}

}  // namespace

int64_t checked_add(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_add_overflow(a, b, &result)) too_large();
  return result;
}

int64_t checked_multiply(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result)) too_large();
  return result;
}

Value arithmetic(Operator op, const Value& a, const Value& b) {
  if (op == Operator::kMod && a.is_string()) return percent_format(a.string(), b);
  if (a.is_undefined()) failure("{}", a.why_undefined());
  if (b.is_undefined()) failure("{}", b.why_undefined());
  if (a.is_integer() && b.is_integer()) return integer_arithmetic(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return float_arithmetic(op, a.real(), b.real());
  if (op == Operator::kAdd) {
    if (a.is_string() && b.is_string()) return concatenate(a.string(), b.string());
    if (a.is_sequence() && a.kind() == b.kind()) {
      charge(a.items().size() + b.items().size());
      std::vector<Value> items = a.items();
      items.insert(items.end(), b.items().begin(), b.items().end());
      return a.is(Value::Kind::kList) ? Value::list(std::move(items))
                                      : Value::tuple(std::move(items));
    }
  }
  if (op == Operator::kMul) {
    if ((a.is_string() || a.is_sequence()) && b.is_integer()) return repeat(a, b.integer());
    if ((b.is_string() || b.is_sequence()) && a.is_integer()) return repeat(b, a.integer());
  }
  unsupported(op, a, b);
}

Value negate(const Value& v, bool minus) {
  if (v.is_undefined()) failure("{}", v.why_undefined());
  if (v.is(Value::Kind::kFloat)) return minus ? -v.real() : v.real();
  if (!v.is_integer())
    failure("bad operand type for unary {}: '{}'", minus ? "-" : "+", v.type_name());
  if (minus && v.integer() == INT64_MIN) too_large();
  return minus ? -v.integer() : v.integer();
}

}  // namespace ocellus::jinja
