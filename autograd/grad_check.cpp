#include "autograd/grad_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/check_tools.h"
#include "autograd/tape.h"
#include "engine/kernels/elementwise.h"

namespace ocellus {
namespace checks {

static double inner(const Tensors& ys, const Tensors& cotangents) {
  double sum = 0;
  for (size_t k = 0; k < ys.size(); ++k) {
    if (!is_floating(ys[k].dtype())) continue;
    const auto y = ys[k].to_vector<double>(), c = cotangents[k].to_vector<double>();
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * c[i];
  }
  return sum;
}

std::string check_gradient(const OpDef& op, const Sample& sample, Rng& rng) {
  constexpr double h = 1e-5, tolerance = 1e-6;
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  const Evaluation analytic = evaluate(op, sample.run, sample.inputs, cotangents);
  double worst = 0;
  // L along direction d of input i: (L(x + h·d) - L(x - h·d)) / 2h against ⟨dL/dx, d⟩.
  auto along = [&](size_t i, const std::vector<double>& direction) {
    double side[2];
    for (int s = 0; s < 2; ++s) {
      Tensors moved = sample.inputs;
      moved[i] = sample.inputs[i].clone();
      double* x = moved[i].mutable_data<double>("grad_check");
      for (size_t j = 0; j < direction.size(); ++j) x[j] += (s ? -h : h) * direction[j];
      Tensors ys;
      for (const Variable& y : sample.run(as_constants(moved))) ys.push_back(y.value());
      side[s] = inner(ys, cotangents);
    }
    return (side[0] - side[1]) / (2 * h);
  };
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    if (!differentiable(op, i, sample.inputs[i])) continue;
    check<CheckFailed>(analytic.gradients[i].defined(), "no gradient for {}", input_name(op, i));
    const auto gradient = analytic.gradients[i].to_vector<double>();
    const size_t n = gradient.size();
    const bool every = n <= 512;
    for (size_t probe = 0; probe < (every ? n : 32); ++probe) {
      std::vector<double> direction(n, 0.0);
      if (every)
        direction[probe] = 1;
      else
        direction =
            rng.normal(sample.inputs[i].shape(), 1 / std::sqrt(double(n))).to_vector<double>();
      double expected = 0;
      for (size_t j = 0; j < n; ++j) expected += gradient[j] * direction[j];
      const double numeric = along(i, direction);
      const double error =
          std::fabs(numeric - expected) / (1 + std::max(std::fabs(numeric), std::fabs(expected)));
      worst = std::max(worst, std::isnan(error) ? INFINITY : error);
      check<CheckFailed>(error <= tolerance, "d{}[{}] is {:.9g}, finite difference {:.9g}",
                         input_name(op, i), every ? std::to_string(probe) : "random direction",
                         expected, numeric);
    }
  }
  return fmt::format("max error {:.1e}", worst);
}

std::string check_fan_out(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors c1 = random_cotangents(sample.run, sample.inputs, rng);
  const Tensors c2 = random_cotangents(sample.run, sample.inputs, rng);
  const Evaluation once = evaluate(op, sample.run, sample.inputs, c1);
  const Evaluation again = evaluate(op, sample.run, sample.inputs, c2);
  Tensors both = c1;
  both.insert(both.end(), c2.begin(), c2.end());
  auto twice = [&](const Variables& in) {
    Variables ys = sample.run(in), more = sample.run(in);
    ys.insert(ys.end(), more.begin(), more.end());
    return ys;
  };
  const Evaluation sum = evaluate(op, twice, sample.inputs, both);
  double worst = 0;
  for (size_t i = 0; i < sample.inputs.size(); ++i)
    if (differentiable(op, i, sample.inputs[i]))
      expect_close("gradient of " + input_name(op, i) + " used twice", sum.gradients[i],
                   binary_forward(BinaryOp::k_add, once.gradients[i], again.gradients[i]), 1e-12,
                   worst);
  // One variable in two places: its gradient is the sum of both.
  for (size_t i = 0; i < sample.inputs.size(); ++i)
    for (size_t j = i + 1; j < sample.inputs.size(); ++j) {
      if (!differentiable(op, i, sample.inputs[i]) || !differentiable(op, j, sample.inputs[j]))
        continue;
      if (sample.inputs[i].shape() != sample.inputs[j].shape()) continue;
      Tensors same = sample.inputs;
      same[j] = same[i];
      const Evaluation apart = evaluate(op, sample.run, same, c1);
      auto shared = [&](const Variables& in) {
        Variables tied = in;
        tied[j] = tied[i];
        return sample.run(tied);
      };
      const Evaluation tied = evaluate(op, shared, same, c1);
      expect_close(
          "gradient of one variable passed as " + input_name(op, i) + " and " + input_name(op, j),
          tied.gradients[i],
          binary_forward(BinaryOp::k_add, apart.gradients[i], apart.gradients[j]), 1e-12, worst);
    }
  return fmt::format("max error {:.1e}", worst);
}

std::string check_reference(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  double worst = 0;
  expect_close(op, "against the reference", evaluate(op, sample.run, sample.inputs, cotangents),
               evaluate(op, sample.reference, sample.inputs, cotangents), 1e-9, worst);
  return fmt::format("max error {:.1e}", worst);
}

// Backward after `overwrite` either names the overwritten tensor or does not depend on it.
static void expect_noticed(const OpDef& op, const Sample& sample, const Tensors& cotangents,
                           const std::string& what, const Evaluation* unaffected,
                           const std::function<void(Tape&, const Tensors&)>& overwrite) {
  Tensors inputs;
  for (const Tensor& x : sample.inputs) inputs.push_back(x.defined() ? x.clone() : x);
  Tape tape;
  const Variables leaves = as_leaves(op, inputs), ys = sample.run(leaves);
  overwrite(tape, inputs);
  Variables roots;
  Tensors seeds;
  for (size_t k = 0; k < ys.size(); ++k)
    if (ys[k].requires_grad()) roots.push_back(ys[k]), seeds.push_back(cotangents[k]);
  try {
    tape.backward(roots, seeds);
  } catch (const AutogradError& error) {
    check<CheckFailed>(
        std::string(error.what()).find("overwritten by saved check") != std::string::npos,
        "overwriting {} gives another error: {}", what, error.what());
    return;
  }
  check<CheckFailed>(unaffected != nullptr, "overwriting {} was not noticed", what);
  Evaluation after{{}, {}};
  for (size_t i = 0; i < inputs.size(); ++i)
    after.gradients.push_back(differentiable(op, i, inputs[i]) ? tape.gradient(leaves[i])
                                                               : Tensor());
  expect_same_bits("backward after overwriting " + what, {{}, unaffected->gradients}, after);
}

std::string check_saved(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  size_t saved = 0;
  {
    Tape tape;
    const Variables ys = sample.run(as_leaves(op, sample.inputs));
    saved = tape.saved_storages().size();
  }
  for (size_t victim = 0; victim < saved; ++victim)
    expect_noticed(op, sample, cotangents, fmt::format("saved tensor {} of {}", victim, saved),
                   nullptr, [&](Tape& tape, const Tensors&) {
                     const auto storage = tape.saved_storages().at(victim);
                     ++storage->version;
                     storage->last_writer = "saved check";
                   });
  // What a closure holds without save() is not versioned: an input that is overwritten must be
  // noticed too, unless backward does not read it.
  const Evaluation before = evaluate(op, sample.run, sample.inputs, cotangents);
  for (size_t i = 0; i < sample.inputs.size(); ++i)
    if (sample.inputs[i].defined() && sample.inputs[i].numel() > 0)
      expect_noticed(op, sample, cotangents, "input " + input_name(op, i), &before,
                     [&](Tape&, const Tensors& inputs) {
                       Tensor x = inputs[i];
                       std::memset(x.mutable_raw("saved check"), 0, static_cast<size_t>(x.bytes()));
                     });
  return fmt::format("{} saved tensors", saved);
}

std::string check_coverage(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  {
    Tape tape;
    sample.run(as_leaves(op, sample.inputs));
    check<CheckFailed>(tape.has_node_of(op) != op.composite, "the sample records {} node of {}{}",
                       op.composite ? "a" : "no", op.name,
                       op.composite ? ", though it is a composite" : "");
    check<CheckFailed>(tape.node_count() > 0, "the sample of {} records nothing", op.name);
  }
  const Evaluation result = evaluate(op, sample.run, sample.inputs, cotangents);
  for (size_t i = 0; i < sample.inputs.size(); ++i)
    if (differentiable(op, i, sample.inputs[i]) && sample.inputs[i].numel() > 0) {
      check<CheckFailed>(result.gradients[i].defined(), "no gradient arrives at {}",
                         input_name(op, i));
      check<CheckFailed>(largest(result.gradients[i].to_vector<double>()) > 0,
                         "the gradient of {} is all zero", input_name(op, i));
    }
  return "";
}

std::string check_has_odd_sample(const OpDef& op) {
  for (const NamedSample& named : op.samples)
    if (std::string(named.name).starts_with("odd")) return "";
  fail<CheckFailed>("no sample of {} has a name that begins with \"odd\"", op.name);
}

std::string check_every_input_sampled(const OpDef& op, uint64_t seed) {
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const bool seen =
        std::any_of(op.samples.begin(), op.samples.end(), [&](const NamedSample& named) {
          Rng rng(seed);
          const Tensors inputs = named.make(rng).inputs;
          return i < inputs.size() && inputs[i].defined();
        });
    check<CheckFailed>(seen, "no sample of {} has an input {}", op.name, op.inputs[i].name);
  }
  return fmt::format("{} inputs", op.inputs.size());
}

}  // namespace checks

namespace {

using namespace checks;

uint64_t hash_text(const std::string& text) {
  uint64_t h = 1469598103934665603ull;
  for (unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

using OneCheck = std::function<std::string(const OpDef&, const NamedSample&, Rng&)>;

CheckOutcome guarded(const std::string& check, const OpDef& op, const std::string& sample,
                     const std::function<std::string()>& body) {
  CheckOutcome outcome{.check = check, .op = op.name, .sample = sample, .detail = {}};
  try {
    outcome.detail = body();
    outcome.passed = true;
  } catch (const std::exception& error) {
    outcome.detail = error.what();
  }
  return outcome;
}

OneCheck on_sample(std::string (*body)(const OpDef&, const Sample&, Rng&)) {
  return [body](const OpDef& op, const NamedSample& named, Rng& rng) {
    return body(op, named.make(rng), rng);
  };
}

const std::vector<std::pair<std::string, OneCheck>>& all_checks() {
  static const std::vector<std::pair<std::string, OneCheck>> list = {
      {"coverage", on_sample(check_coverage)},
      {"gradient", on_sample(check_gradient)},
      {"fan-out", on_sample(check_fan_out)},
      {"reference", on_sample(check_reference)},
      {"precision",
       [](const OpDef& op, const NamedSample& named, Rng& rng) {
         return check_precision(op, named, DType::kF32, rng) + "; " +
                check_precision(op, named, DType::kBF16, rng);
       }},
      {"lanes", on_sample(check_lanes)},
      {"layout", on_sample(check_layout)},
      {"bounds", on_sample(check_bounds)},
      {"repeat", on_sample(check_repeat)},
      {"saved", on_sample(check_saved)},
  };
  return list;
}

// Those that look at all samples of an op.
void add_whole_op_checks(const std::string& name, const OpDef& op, uint64_t seed,
                         std::vector<CheckOutcome>& outcomes) {
  auto add = [&](const char* what, const std::function<std::string()>& body) {
    outcomes.push_back(guarded(name, op, what, body));
  };
  if (name == "coverage") {
    add("has an odd sample", [&] { return check_has_odd_sample(op); });
    add("every input in a sample", [&] { return check_every_input_sampled(op, seed); });
  }
  if (name == "repeat") add("work is shared", [&] { return check_work_is_shared(op, seed); });
}

}  // namespace

const std::vector<std::string>& check_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& [name, body] : all_checks()) list.push_back(name);
    return list;
  }();
  return names;
}

std::vector<CheckOutcome> run_check(const std::string& check_name, const OpDef& op, uint64_t seed) {
  std::vector<CheckOutcome> outcomes;
  for (const auto& [name, body] : all_checks()) {
    if (name != check_name) continue;
    for (const NamedSample& named : op.samples) {
      Rng rng(seed * 0x9E3779B97F4A7C15ull ^ hash_text(std::string(op.name) + "/" + named.name));
      if (name == "reference") {
        Rng probe = rng;
        if (!named.make(probe).reference) continue;  // a plain op has no other definition
      }
      outcomes.push_back(guarded(name, op, named.name, [&] { return body(op, named, rng); }));
    }
    add_whole_op_checks(name, op, seed, outcomes);
  }
  return outcomes;
}

std::vector<CheckOutcome> check_op(const OpDef& op, uint64_t seed) {
  std::vector<CheckOutcome> outcomes;
  for (const std::string& name : check_names())
    for (CheckOutcome& outcome : run_check(name, op, seed)) outcomes.push_back(std::move(outcome));
  return outcomes;
}

}  // namespace ocellus
