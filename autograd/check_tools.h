// What the checks of grad_check.h share: running a sample with cotangents, comparing what comes
// out.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "autograd/op_def.h"
#include "engine/check.h"

namespace ocellus::checks {

/// A failed expectation inside a check; becomes the detail of its outcome.
struct CheckFailed : Error {
  using Error::Error;
};

using Function = std::function<Variables(const Variables&)>;

/// Gradients by input, undefined where there is none.
struct Evaluation {
  Tensors outputs, gradients;
};

bool differentiable(const OpDef& op, size_t input, const Tensor& value);
std::string input_name(const OpDef& op, size_t i);
/// The floating ones in another type, the others as they are.
Tensors cast_inputs(const Tensors& inputs, DType dtype);
/// Leaves where `op` has a gradient, else constants.
Variables as_leaves(const OpDef& op, const Tensors& inputs);
Variables as_constants(const Tensors& inputs);
/// One for each output of f.
Tensors random_cotangents(const Function& f, const Tensors& inputs, Rng& rng);
/// Values of f and its gradients for the given cotangents (used where the output has a slot).
Evaluation evaluate(const OpDef& op, const Function& f, const Tensors& inputs,
                    const Tensors& cotangents);

double largest(const std::vector<double>& values);
/// Throws CheckFailed unless max|a - b| / (1 + max|b|) ≤ tolerance; the largest so far goes to
/// `worst`.
void expect_close(const std::string& what, const Tensor& a, const Tensor& b, double tolerance,
                  double& worst);
/// Outputs and gradients by expect_close; both sides have the same gradients.
void expect_close(const OpDef& op, const std::string& what, const Evaluation& a,
                  const Evaluation& b, double tolerance, double& worst);
/// Throws CheckFailed unless outputs and gradients have the same bits.
void expect_same_bits(const std::string& what, const Evaluation& a, const Evaluation& b);

// The checks: each returns a detail or throws CheckFailed.
std::string check_coverage(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_gradient(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_fan_out(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_reference(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_saved(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_precision(const OpDef& op, const NamedSample& named, DType dtype, Rng& rng);
std::string check_lanes(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_layout(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_bounds(const OpDef& op, const Sample& sample, Rng& rng);
std::string check_repeat(const OpDef& op, const Sample& sample, Rng& rng);

// The same over all samples of an op.
std::string check_has_odd_sample(const OpDef& op);
std::string check_every_input_sampled(const OpDef& op, uint64_t seed);
std::string check_work_is_shared(const OpDef& op, uint64_t seed);

}  // namespace ocellus::checks
