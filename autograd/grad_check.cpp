#include "autograd/grad_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "engine/kernels/copy.h"
#include "engine/kernels/elementwise.h"
#include "engine/parallel.h"

namespace ocellus {
namespace {

// A failed expectation inside a check; becomes the detail of its outcome.
struct CheckFailed : Error { using Error::Error; };

uint64_t hash_text(const std::string& text) {
  uint64_t h = 1469598103934665603ull;
  for (unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

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

Variables as_constants(const Tensors& inputs) {
  return Variables(inputs.begin(), inputs.end());
}

struct Evaluation {
  Tensors outputs, gradients;  // gradients by input, undefined where there is none
};

using Function = std::function<Variables(const Variables&)>;

// Values of f and its gradients for the given cotangents (one per output, used where it has a slot).
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

double inner(const Tensors& ys, const Tensors& cotangents) {
  double sum = 0;
  for (size_t k = 0; k < ys.size(); ++k) {
    if (!is_floating(ys[k].dtype())) continue;
    const auto y = ys[k].to_vector<double>(), c = cotangents[k].to_vector<double>();
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * c[i];
  }
  return sum;
}

double largest(const std::vector<double>& values) {
  double top = 0;
  for (double v : values) top = std::max(top, std::fabs(v));
  return top;
}

// max|a - b| / (1 + max|b|); NaN counts as infinitely far.
double distance(const Tensor& a, const Tensor& b) {
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

// ---- the checks: each returns a detail or throws CheckFailed ------------------------------------

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
        direction = rng.normal(sample.inputs[i].shape(), 1 / std::sqrt(double(n))).to_vector<double>();
      double expected = 0;
      for (size_t j = 0; j < n; ++j) expected += gradient[j] * direction[j];
      const double numeric = along(i, direction);
      const double error = std::fabs(numeric - expected) /
                           (1 + std::max(std::fabs(numeric), std::fabs(expected)));
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
      expect_close("gradient of one variable passed as " + input_name(op, i) + " and " +
                       input_name(op, j),
                   tied.gradients[i],
                   binary_forward(BinaryOp::k_add, apart.gradients[i], apart.gradients[j]), 1e-12,
                   worst);
    }
  return fmt::format("max error {:.1e}", worst);
}

std::string check_reference(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  const Evaluation fused = evaluate(op, sample.run, sample.inputs, cotangents);
  const Evaluation plain = evaluate(op, sample.reference, sample.inputs, cotangents);
  double worst = 0;
  for (size_t k = 0; k < plain.outputs.size(); ++k)
    expect_close(fmt::format("output {}", k), fused.outputs[k], plain.outputs[k], 1e-9, worst);
  for (size_t i = 0; i < sample.inputs.size(); ++i)
    if (plain.gradients[i].defined())
      expect_close("gradient of " + input_name(op, i), fused.gradients[i], plain.gradients[i], 1e-9,
                   worst);
  return fmt::format("max error {:.1e}", worst);
}

// Pooled squared errors of one tensor kind (values or gradients).
struct Pool {
  double squares = 0, top = 0;
  int64_t count = 0;
  void add(const Tensor& got, const Tensor& truth) {
    const auto a = got.to_vector<double>(), b = truth.to_vector<double>();
    for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
    top = std::max(top, largest(b));
    count += static_cast<int64_t>(a.size());
  }
  double rms() const { return count ? std::sqrt(squares / double(count)) : 0; }
};

std::string check_precision(const OpDef& op, const NamedSample& named, DType dtype, Rng& rng) {
  constexpr int64_t kPooled = 4096;
  const double ulp = dtype == DType::kBF16 ? 0x1p-8 : 0x1p-23;
  Pool value, gradient, plain_value, plain_gradient;
  bool reference = false;
  for (int round = 0; round < 400 && value.count < kPooled; ++round) {
    const Sample sample = named.make(rng);
    const Tensors low = cast_inputs(sample.inputs, dtype);
    const Tensors exact = cast_inputs(low, DType::kF64);
    Tensors cotangents = cast_inputs(
        cast_inputs(random_cotangents(sample.run, exact, rng), dtype), DType::kF64);
    const Evaluation truth = evaluate(op, sample.run, exact, cotangents);
    auto pool = [&](const Function& f, Pool& values, Pool& gradients) {
      const Evaluation got = evaluate(op, f, low, cotangents);
      for (size_t k = 0; k < got.outputs.size(); ++k)
        if (is_floating(got.outputs[k].dtype())) values.add(got.outputs[k], truth.outputs[k]);
      for (size_t i = 0; i < low.size(); ++i)
        if (got.gradients[i].defined()) gradients.add(got.gradients[i], truth.gradients[i]);
    };
    pool(sample.run, value, gradient);
    reference = sample.reference != nullptr;
    if (reference) pool(sample.reference, plain_value, plain_gradient);
  }
  auto expect = [&](const char* what, const Pool& got, const Pool& plain, double factor) {
    const double floor = ulp * got.top;
    const double allowed = reference ? std::max(factor * plain.rms(), floor) : 4 * floor;
    check<CheckFailed>(got.rms() <= allowed, "{} RMS error of {} is {:.3g}, allowed {:.3g}",
                       dtype_name(dtype), what, got.rms(), allowed);
  };
  expect("values", value, plain_value, 2);
  expect("gradients", gradient, plain_gradient, 3);
  return fmt::format("{} values {:.1e}, gradients {:.1e}", dtype_name(dtype), value.rms(),
                     gradient.rms());
}

// The same elements behind other strides: transposed storage, or a window in a larger tensor.
Tensor transposed_storage(const Tensor& x) {
  return x.transposed(0, -1).clone().transposed(0, -1);
}
Tensor window_storage(const Tensor& x) {
  Shape wide = x.shape();
  for (int i = 0; i < wide.rank(); ++i) wide[i] += 2;
  Tensor view = Tensor::full(wide, 7, x.dtype());
  for (int i = 0; i < wide.rank(); ++i) view = view.sliced(i, 1, 1 + x.shape()[i]);
  copy(x, view);
  return view;
}

std::string check_layout(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  const Evaluation plain = evaluate(op, sample.run, sample.inputs, cotangents);
  double worst = 0;
  auto compare = [&](const std::string& what, const Tensors& inputs, const Evaluation& expected) {
    const Evaluation got = evaluate(op, sample.run, inputs, cotangents);
    for (size_t k = 0; k < got.outputs.size(); ++k)
      expect_close(what + ": output", got.outputs[k], expected.outputs[k], 1e-12, worst);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (got.gradients[i].defined())
        expect_close(what + ": gradient of " + input_name(op, i), got.gradients[i],
                     expected.gradients[i], 1e-12, worst);
  };
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    const Tensor& x = sample.inputs[i];
    if (!x.defined() || x.rank() == 0) continue;
    Tensors moved = sample.inputs;
    moved[i] = transposed_storage(x);
    compare(input_name(op, i) + " transposed", moved, plain);
    moved[i] = window_storage(x);
    compare(input_name(op, i) + " sliced", moved, plain);
    if (x.shape()[0] > 1 && is_floating(x.dtype())) {  // one row seen many times
      Tensors wide = sample.inputs;
      wide[i] = x.sliced(0, 0, 1).broadcast_to(x.shape());
      Tensors copied = wide;
      copied[i] = wide[i].clone();
      compare(input_name(op, i) + " broadcast", wide, evaluate(op, sample.run, copied, cotangents));
    }
  }
  // A cotangent need not be contiguous either.
  Tensors strided = cotangents;
  for (Tensor& c : strided)
    if (c.rank() > 0) c = window_storage(c);
  const Evaluation got = evaluate(op, sample.run, sample.inputs, strided);
  for (size_t i = 0; i < sample.inputs.size(); ++i)
    if (got.gradients[i].defined())
      expect_close("cotangent sliced: gradient of " + input_name(op, i), got.gradients[i],
                   plain.gradients[i], 1e-12, worst);
  return fmt::format("max error {:.1e}", worst);
}

std::string check_bounds(const OpDef& op, const Sample& sample, Rng& rng) {
  struct Canaries {
    Canaries() { allocator_of(kCpu)->set_canaries(true); }
    ~Canaries() { allocator_of(kCpu)->set_canaries(false); }
  } canaries;
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64}) {
    Tensors inputs;
    for (const Tensor& x : cast_inputs(sample.inputs, dtype))
      inputs.push_back(x.defined() ? x.clone() : x);
    const Tensors cotangents = random_cotangents(sample.run, inputs, rng);
    evaluate(op, sample.run, inputs, cotangents);
    allocator_of(kCpu)->check_canaries();
  }
  return "canaries intact";
}

void expect_same_bits(const std::string& what, const Evaluation& a, const Evaluation& b) {
  auto compare = [&](const Tensors& x, const Tensors& y) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (!x[i].defined()) continue;
      const Tensor p = x[i].contiguous(), q = y[i].contiguous();
      check<CheckFailed>(std::memcmp(p.raw(), q.raw(), static_cast<size_t>(p.bytes())) == 0,
                         "{} gives other bits", what);
    }
  };
  compare(a.outputs, b.outputs);
  compare(a.gradients, b.gradients);
}

std::string check_repeat(const OpDef& op, const Sample& sample, Rng& rng) {
  struct Threads {
    int before = num_threads();
    ~Threads() { set_num_threads(before); }
  } threads;
  const Tensors inputs = cast_inputs(sample.inputs, DType::kF32);
  const Tensors cotangents = random_cotangents(sample.run, inputs, rng);
  set_num_threads(1);
  const Evaluation first = evaluate(op, sample.run, inputs, cotangents);
  expect_same_bits("a second run", first, evaluate(op, sample.run, inputs, cotangents));
  for (int n : {2, 5}) {
    set_num_threads(n);
    expect_same_bits(fmt::format("{} threads", n), first,
                     evaluate(op, sample.run, inputs, cotangents));
  }
  return "bit-equal";
}

std::string check_saved(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  size_t saved = 0;
  for (size_t victim = 0;; ++victim) {
    Tape tape;
    const Variables ys = sample.run(as_leaves(op, sample.inputs));
    const auto storages = tape.saved_storages();
    saved = storages.size();
    if (victim >= saved) break;
    ++storages[victim]->version;
    storages[victim]->last_writer = "saved check";
    Variables roots;
    Tensors seeds;
    for (size_t k = 0; k < ys.size(); ++k)
      if (ys[k].requires_grad()) roots.push_back(ys[k]), seeds.push_back(cotangents[k]);
    bool noticed = false;
    try {
      tape.backward(roots, seeds);
    } catch (const AutogradError& error) {
      noticed = std::string(error.what()).find("overwritten by saved check") != std::string::npos;
    }
    check<CheckFailed>(noticed, "overwriting saved tensor {} of {} was not noticed", victim, saved);
  }
  return fmt::format("{} saved tensors", saved);
}

std::string check_coverage(const OpDef& op, const Sample& sample, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, sample.inputs, rng);
  {
    Tape tape;
    sample.run(as_leaves(op, sample.inputs));
    check<CheckFailed>(op.composite || tape.has_node_of(op), "the sample records no node of {}",
                       op.name);
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

const std::vector<std::pair<std::string, OneCheck>>& checks() {
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
      {"layout", on_sample(check_layout)},
      {"bounds", on_sample(check_bounds)},
      {"repeat", on_sample(check_repeat)},
      {"saved", on_sample(check_saved)},
  };
  return list;
}

}  // namespace

const std::vector<std::string>& check_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& [name, body] : checks()) list.push_back(name);
    return list;
  }();
  return names;
}

std::vector<CheckOutcome> run_check(const std::string& check_name, const OpDef& op, uint64_t seed) {
  std::vector<CheckOutcome> outcomes;
  for (const auto& [name, body] : checks()) {
    if (name != check_name) continue;
    bool odd = false;
    for (const NamedSample& named : op.samples) {
      odd = odd || std::string(named.name).starts_with("odd");
      Rng rng(seed * 0x9E3779B97F4A7C15ull ^ hash_text(std::string(op.name) + "/" + named.name));
      if (name == "reference") {
        Rng probe = rng;
        if (!named.make(probe).reference) continue;  // a plain op has no other definition
      }
      outcomes.push_back(guarded(name, op, named.name, [&] { return body(op, named, rng); }));
    }
    if (name == "coverage")
      outcomes.push_back(guarded(name, op, "has an odd sample", [&] {
        check<CheckFailed>(odd, "no sample of {} has a name that begins with \"odd\"", op.name);
        return std::string();
      }));
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
