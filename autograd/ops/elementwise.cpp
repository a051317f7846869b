// Elementwise ops, one definition for all lines of the two .def lists, and cast.
#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/elementwise.h"

namespace ocellus {
namespace {

template <class Functor>
Samples unary_samples(Variable (*op)(const Variable&)) {
  auto make = [op](Rng& r, const Shape& shape) {
    return Sample{.inputs = {r.from_domain(shape, Functor::domain())},
                  .run = [op](const Variables& in) { return Variables{op(in[0])}; }};
  };
  return {{"matrix", [make](Rng& r) { return make(r, {4, 8}); }},
          {"odd vector", [make](Rng& r) { return make(r, {37}); }},
          {"odd three dimensions", [make](Rng& r) { return make(r, {3, 1, 5}); }},
          {"large", [make](Rng& r) { return make(r, {131, 139}); }}};
}

template <class Functor>
Samples binary_samples(Variable (*op)(const Variable&, const Variable&)) {
  auto make = [op](Rng& r, const Shape& a, const Shape& b) {
    return Sample{.inputs = {r.from_domain(a, Functor::domain()), r.from_domain(b, Functor::domain())},
                  .run = [op](const Variables& in) { return Variables{op(in[0], in[1])}; }};
  };
  return {{"equal shapes", [make](Rng& r) { return make(r, {4, 8}, {4, 8}); }},
          {"odd row over rows", [make](Rng& r) { return make(r, {3, 7}, {7}); }},
          {"odd both broadcast", [make](Rng& r) { return make(r, {3, 1, 5}, {2, 1}); }},
          {"number", [make](Rng& r) { return make(r, {}, {2, 3}); }},
          {"large rows", [make](Rng& r) { return make(r, {131, 139}, {139}); }}};
}

template <class Functor>
Variable unary_op(const OpDef& def, UnaryOp op, const Variable& x) {
  Tensor y = unary_forward(op, x.value());
  if constexpr (Functor::saves == Saves::kNothing) {
    return record(def, {x}, y, [op](const Tensor& dy, Needs) {
      return Tensors{unary_backward(op, dy, dy)};
    });
  } else if constexpr (Functor::saves == Saves::kOutput) {
    return record(def, {x}, y, [op, y = save(y)](const Tensor& dy, Needs) {
      return Tensors{unary_backward(op, y(), dy)};
    });
  } else {
    // y can be had again from x, which is kept in any case.
    const SavedTensor saved = save(x);
    return record(
        def, {x}, y,
        [op, saved](const Tensor& dy, Needs) { return Tensors{unary_backward(op, saved(), dy)}; },
        [op, saved] { return unary_forward(op, saved()); });
  }
}

template <class Functor>
Variable binary_op(const OpDef& def, BinaryOp op, const Variable& a_in, const Variable& b_in) {
  auto [a, b] = autocast(def, a_in, b_in);
  Tensor y = binary_forward(op, a.value(), b.value());
  SavedTensor sa, sb;
  if constexpr (Functor::saves_inputs) sa = save(a), sb = save(b);
  return record(def, {a, b}, y, [op, sa, sb](const Tensor& dy, Needs needs) {
    Tensors gradients(2);
    if (needs[0])
      gradients[0] = Functor::grad_a_is_dy ? dy : binary_backward(op, true, sa(), sb(), dy);
    if (needs[1])
      gradients[1] = Functor::grad_b_is_dy ? dy : binary_backward(op, false, sa(), sb(), dy);
    return gradients;
  });
}

}  // namespace

#define UNARY(fn, Functor)                                                                  \
  static const OpDef kUnary_##fn{.name = #fn,                                             \
                                   .inputs = {{"x"}},                                         \
                                   .precision = Precision::kFollow,                           \
                                   .samples = unary_samples<Functor>(&ocellus::fn)};                 \
  Variable fn(const Variable& x) {                                                          \
    return unary_op<Functor>(kUnary_##fn, UnaryOp::k_##fn, x);                            \
  }
#include "engine/scalar/unary_ops.def"
#undef UNARY

#define BINARY(fn, Functor)                                                                 \
  static const OpDef kBinary_##fn{                                                          \
      .name = #fn,                                                                          \
      .inputs = {{"a"}, {"b"}},                                                               \
      .precision = Precision::kFollow,                                                        \
      .samples = binary_samples<Functor>(                                                     \
          static_cast<Variable (*)(const Variable&, const Variable&)>(&ocellus::fn))};               \
  Variable fn(const Variable& a, const Variable& b) {                                       \
    return binary_op<Functor>(kBinary_##fn, BinaryOp::k_##fn, a, b);                      \
  }
#include "engine/scalar/binary_ops.def"
#undef BINARY

Variable mul(const Variable& x, double s) {
  return mul(x, constant(Tensor::scalar(s, x.dtype(), x.value().device())));
}
Variable add(const Variable& x, double s) {
  return add(x, constant(Tensor::scalar(s, x.dtype(), x.value().device())));
}

static Sample cast_sample(Rng& r, const Shape& shape, DType dtype) {
  return {.inputs = {r.normal(shape)},
          .run = [=](const Variables& in) { return Variables{cast(in[0], dtype)}; }};
}
static const OpDef kCast{
    .name = "cast",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"to f64", [](Rng& r) { return cast_sample(r, {3, 8}, DType::kF64); }},
                {"odd to f64", [](Rng& r) { return cast_sample(r, {37}, DType::kF64); }},
                {"large", [](Rng& r) { return cast_sample(r, {131, 139}, DType::kF64); }}}};

/// cast — y = x in another element type; dx = dy in x's type. Saves nothing.
Variable cast(const Variable& x, DType dtype) {
  if (x.dtype() == dtype) {
    // A cast to the same type is still a node: what is checked is what runs.
    return record(kCast, {x}, x.value(), [](const Tensor& dy, Needs) { return Tensors{dy}; });
  }
  check<DTypeError>(is_floating(x.dtype()) && is_floating(dtype),
                    "cast: both types must be floating, got {} to {}", dtype_name(x.dtype()),
                    dtype_name(dtype));
  return record(kCast, {x}, x.value().to(dtype), [from = x.dtype()](const Tensor& dy, Needs) {
    return Tensors{dy.to(from)};
  });
}

}  // namespace ocellus
