#include "autograd/check_tools.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/tape.h"

namespace ocellus::checks {

bool differentiable(const OpDef& op, size_t input, const Tensor& value) {
  const size_t last = op.inputs.size() - 1;  // a variadic op names its last input once
  return value.defined() && is_floating(value.dtype()) &&
         !op.inputs[std::min(input, last)].not_differentiable;
}

Tensors cast_inputs(const Tensors& inputs, DType dtype) {
  Tensors out;
  for (const Tensor& x : inputs)
    out.push_back(x.defined() && is_floating(x.dtype()) ? x.to(dtype) : x);
  return out;
}

Variables as_leaves(const OpDef& op, const Tensors& inputs) {
  Variables leaves;
  for (size_t i = 0; i < inputs.size(); ++i)
    leaves.push_back(differentiable(op, i, inputs[i]) ? leaf(inputs[i]) : constant(inputs[i]));
  return leaves;
}

Variables as_constants(const Tensors& inputs) { return Variables(inputs.begin(), inputs.end()); }

Evaluation evaluate(const OpDef& op, const Function& f, const Tensors& inputs,
                    const Tensors& cotangents) {
  Tape tape;
  const Variables leaves = as_leaves(op, inputs);
  const Variables ys = f(leaves);
  Variables roots;
  Tensors seeds;
  for (size_t k = 0; k < ys.size(); ++k)
    if (ys[k].requires_grad()) {
      roots.push_back(ys[k]);
      seeds.push_back(cotangents[k].to(ys[k].dtype()));
    }
  tape.backward(roots, seeds);
  Evaluation result;
  for (const Variable& y : ys) result.outputs.push_back(y.value());
  for (size_t i = 0; i < inputs.size(); ++i)
    result.gradients.push_back(differentiable(op, i, inputs[i]) ? tape.gradient(leaves[i])
                                                                : Tensor());
  return result;
}

Tensors random_cotangents(const Function& f, const Tensors& inputs, Rng& rng) {
  Tensors cotangents;
  for (const Variable& y : f(as_constants(inputs))) cotangents.push_back(rng.normal(y.shape()));
  return cotangents;
}

double largest(const std::vector<double>& values) {
  double top = 0;
  for (double v : values) top = std::max(top, std::fabs(v));
  return top;
}

// max|a - b| / (1 + max|b|); NaN counts as infinitely far.
static double distance(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape())
    fail<CheckFailed>("shapes {} and {} differ", to_string(a.shape()), to_string(b.shape()));
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = std::fabs(x[i] - y[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst / (1 + largest(y));
}

void expect_close(const std::string& what, const Tensor& a, const Tensor& b, double tolerance,
                  double& worst) {
  const double d = distance(a, b);
  worst = std::max(worst, d);
  check<CheckFailed>(d <= tolerance, "{} differs by {:.3g}, allowed {:.3g}", what, d, tolerance);
}

std::string input_name(const OpDef& op, size_t i) {
  return op.inputs[std::min(i, op.inputs.size() - 1)].name;
}

void expect_close(const OpDef& op, const std::string& what, const Evaluation& a,
                  const Evaluation& b, double tolerance, double& worst) {
  check<CheckFailed>(a.outputs.size() == b.outputs.size(), "{}: {} outputs, expected {}", what,
                     a.outputs.size(), b.outputs.size());
  for (size_t k = 0; k < b.outputs.size(); ++k)
    expect_close(fmt::format("{}: output {}", what, k), a.outputs[k], b.outputs[k], tolerance,
                 worst);
  for (size_t i = 0; i < b.gradients.size(); ++i) {
    check<CheckFailed>(a.gradients[i].defined() == b.gradients[i].defined(),
                       "{}: {} gradient of {}, expected {}", what,
                       a.gradients[i].defined() ? "a" : "no", input_name(op, i),
                       b.gradients[i].defined() ? "one" : "none");
    if (b.gradients[i].defined())
      expect_close(what + ": gradient of " + input_name(op, i), a.gradients[i], b.gradients[i],
                   tolerance, worst);
  }
}

void expect_same_bits(const std::string& what, const Evaluation& a, const Evaluation& b) {
  auto compare = [&](const Tensors& x, const Tensors& y) {
    for (size_t i = 0; i < x.size(); ++i) {
      check<CheckFailed>(x[i].defined() == y[i].defined(), "{} gives other gradients", what);
      if (!x[i].defined()) continue;
      const Tensor p = x[i].contiguous(), q = y[i].contiguous();
      check<CheckFailed>(std::memcmp(p.raw(), q.raw(), static_cast<size_t>(p.bytes())) == 0,
                         "{} gives other bits", what);
    }
  };
  compare(a.outputs, b.outputs);
  compare(a.gradients, b.gradients);
}

}  // namespace ocellus::checks
