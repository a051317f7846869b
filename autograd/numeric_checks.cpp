// The checks that compare one computation with the same one done otherwise: in another type,
// layout, number of lanes or threads.
#include <algorithm>
#include <cmath>

#include "autograd/check_tools.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/copy.h"
#include "engine/kernels/elementwise.h"
#include "engine/loop_watch.h"
#include "engine/parallel.h"
#include "engine/rows/lanes.h"

namespace ocellus::checks {

namespace {

// Pooled errors of the values, or of the gradients of one input.
struct Pool {
  double squares = 0, top = 0;
  double along = 0, length = 0;  // Σ error·truth, Σ truth²
  int64_t count = 0;
  void add(const Tensor& got, const Tensor& truth) {
    const auto a = got.to_vector<double>(), b = truth.to_vector<double>();
    for (size_t i = 0; i < a.size(); ++i) {
      squares += (a[i] - b[i]) * (a[i] - b[i]);
      along += (a[i] - b[i]) * b[i];
      length += b[i] * b[i];
    }
    top = std::max(top, largest(b));
    count += static_cast<int64_t>(a.size());
  }
  double rms() const { return count ? std::sqrt(squares / double(count)) : 0; }
  /// The factor by which everything is wrong, less 1: roundings cancel in it.
  double bias() const { return length > 0 ? along / length : 0; }
};

}  // namespace

std::string check_precision(const OpDef& op, const NamedSample& named, DType dtype, Rng& rng) {
  constexpr int64_t kPooled = 4096, kEnough = 1 << 20;  // results; elements read
  int64_t read = 0;
  const double ulp = dtype == DType::kBF16 ? 0x1p-8 : 0x1p-23;
  Pool value, plain_value;
  std::vector<Pool> gradient, plain_gradient;  // by input: a small one is not lost among the others
  bool reference = false;
  for (int round = 0; round < 400 && value.count < kPooled && read < kEnough; ++round) {
    const Sample sample = named.make(rng);
    for (const Tensor& input : sample.inputs) read += input.numel();
    const Tensors low = cast_inputs(sample.inputs, dtype);
    const Tensors exact = cast_inputs(low, DType::kF64);
    Tensors cotangents =
        cast_inputs(cast_inputs(random_cotangents(sample.run, exact, rng), dtype), DType::kF64);
    const Evaluation truth = evaluate(op, sample.run, exact, cotangents);
    auto pool = [&](const Function& f, Pool& values, std::vector<Pool>& gradients) {
      gradients.resize(low.size());
      const Evaluation got = evaluate(op, f, low, cotangents);
      for (size_t k = 0; k < got.outputs.size(); ++k)
        if (is_floating(got.outputs[k].dtype())) values.add(got.outputs[k], truth.outputs[k]);
      for (size_t i = 0; i < low.size(); ++i)
        if (got.gradients[i].defined()) gradients[i].add(got.gradients[i], truth.gradients[i]);
    };
    pool(sample.run, value, gradient);
    reference = sample.reference != nullptr;
    if (reference) pool(sample.reference, plain_value, plain_gradient);
  }
  auto expect = [&](const std::string& what, const Pool& got, const Pool& plain, double factor) {
    const double floor = ulp * got.top;
    // Where the reference shares a broken piece its own error is no measure: hence the ceiling.
    constexpr double kCeiling = 32;
    const double allowed =
        reference ? std::min(std::max(factor * plain.rms(), floor), kCeiling * floor) : 4 * floor;
    check<CheckFailed>(got.rms() <= allowed, "{} RMS error of {} is {:.3g}, allowed {:.3g}",
                       dtype_name(dtype), what, got.rms(), allowed);
    check<CheckFailed>(std::fabs(got.bias()) <= 2 * ulp,
                       "{} {} are off by a factor of 1 + {:.3g}, allowed {:.3g}", dtype_name(dtype),
                       what, got.bias(), 2 * ulp);
  };
  check<CheckFailed>(value.count > 0, "{} has no values to compare", dtype_name(dtype));
  expect("values", value, plain_value, 2);
  plain_gradient.resize(gradient.size());
  double worst = 0;
  int64_t compared = 0;
  for (size_t i = 0; i < gradient.size(); ++i) {
    if (gradient[i].count == 0) continue;
    const char* input = op.inputs[std::min(i, op.inputs.size() - 1)].name;
    expect(fmt::format("gradients of {}", input), gradient[i], plain_gradient[i], 3);
    worst = std::max(worst, gradient[i].rms());
    compared += gradient[i].count;
  }
  check<CheckFailed>(compared > 0, "{} has no gradients to compare", dtype_name(dtype));
  return fmt::format("{} values {:.1e}, gradients {:.1e}", dtype_name(dtype), value.rms(), worst);
}

std::string check_lanes(const OpDef& op, const Sample& sample, Rng& rng) {
  double worst = 0;
  int64_t rows = 0;
  for (const auto& [dtype, tolerance] :
       {std::pair(DType::kF64, 1e-12), std::pair(DType::kF32, 1e-4)}) {
    const Tensors inputs = cast_inputs(sample.inputs, dtype);
    const Tensors cotangents = random_cotangents(sample.run, inputs, rng);
    const Evaluation many = evaluate(op, sample.run, inputs, cotangents);
    const SingleLane one_lane;
    expect_close(op, fmt::format("1 lane, {}", dtype_name(dtype)),
                 evaluate(op, sample.run, inputs, cotangents), many, tolerance, worst);
    rows += one_lane.rows();
  }
  return rows == 0 ? "reduces no rows" : fmt::format("{} rows, max error {:.1e}", rows, worst);
}

// The same elements behind other strides: transposed storage, or a window in a larger tensor.
static Tensor transposed_storage(const Tensor& x) {
  return x.transposed(0, -1).clone().transposed(0, -1);
}
static Tensor window_storage(const Tensor& x) {
  Shape wide = x.shape();
  for (int i = 0; i < wide.rank(); ++i) wide[i] += 2;
  Tensor view = Tensor::full(wide, 7, x.dtype());
  for (int i = 0; i < wide.rank(); ++i) view = view.sliced(i, 1, 1 + x.shape()[i]);
  copy(x, view);
  return view;
}

// One type: f64 holds the arithmetic to its order, f32 and bf16 the loads and stores of narrow
// elements.
static double layouts_in(const OpDef& op, const Sample& sample, const Tensors& base,
                         double tolerance, Rng& rng) {
  const Tensors cotangents = random_cotangents(sample.run, base, rng);
  const Evaluation plain = evaluate(op, sample.run, base, cotangents);
  double worst = 0;
  auto compare = [&](const std::string& what, const Tensors& inputs, const Evaluation& expected) {
    expect_close(op, what, evaluate(op, sample.run, inputs, cotangents), expected, tolerance,
                 worst);
  };
  for (size_t i = 0; i < base.size(); ++i) {
    const Tensor& x = base[i];
    if (!x.defined() || x.rank() == 0) continue;
    Tensors moved = base;
    moved[i] = transposed_storage(x);
    compare(input_name(op, i) + " transposed", moved, plain);
    moved[i] = window_storage(x);
    compare(input_name(op, i) + " sliced", moved, plain);
    if (x.shape()[0] > 1 && is_floating(x.dtype())) {  // one row seen many times
      Tensors wide = base;
      wide[i] = x.sliced(0, 0, 1).broadcast_to(x.shape());
      Tensors copied = wide;
      copied[i] = wide[i].clone();
      compare(input_name(op, i) + " broadcast", wide, evaluate(op, sample.run, copied, cotangents));
    }
  }
  // A cotangent need not be contiguous either.
  for (auto* storage : {&transposed_storage, &window_storage}) {
    Tensors strided = cotangents;
    for (Tensor& c : strided)
      if (c.rank() > 0) c = storage(c);
    expect_close(op, "cotangent with strides", evaluate(op, sample.run, base, strided), plain,
                 tolerance, worst);
  }
  return worst;
}

std::string check_layout(const OpDef& op, const Sample& sample, Rng& rng) {
  double worst = layouts_in(op, sample, sample.inputs, 1e-12, rng);
  layouts_in(op, sample, cast_inputs(sample.inputs, DType::kF32), 1e-5, rng);
  layouts_in(op, sample, cast_inputs(sample.inputs, DType::kBF16), 2e-2, rng);
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

// The outputs squared: with recipes on, square rebuilds the output that it would have saved.
static Variables squared_outputs(const Sample& sample, const Variables& in) {
  Variables ys = sample.run(in);
  for (Variable& y : ys)
    if (is_floating(y.dtype())) y = square(y);
  return ys;
}

std::string check_repeat(const OpDef& op, const Sample& sample, Rng& rng) {
  struct Threads {
    int before = num_threads();
    ~Threads() { set_num_threads(before); }
  } threads;
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensors inputs = cast_inputs(sample.inputs, dtype);
    const Tensors cotangents = random_cotangents(sample.run, inputs, rng);
    set_num_threads(1);
    const Evaluation first = evaluate(op, sample.run, inputs, cotangents);
    expect_same_bits("a second run", first, evaluate(op, sample.run, inputs, cotangents));
    for (int n : {2, 5}) {
      set_num_threads(n);
      expect_same_bits(fmt::format("{} threads", n), first,
                       evaluate(op, sample.run, inputs, cotangents));
    }
    auto squared = [&](const Variables& in) { return squared_outputs(sample, in); };
    const Evaluation kept = evaluate(op, squared, inputs, cotangents);
    const RecomputeScope recipes(true);
    expect_same_bits("an output rebuilt in backward", kept,
                     evaluate(op, squared, inputs, cotangents));
  }
  return "bit-equal";
}

// An op that hands out views of its inputs moves nothing.
static bool is_view(const Tensors& inputs, const Evaluation& result) {
  return std::all_of(result.outputs.begin(), result.outputs.end(), [&](const Tensor& y) {
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](const Tensor& x) { return x.defined() && x.storage() == y.storage(); });
  });
}

std::string check_work_is_shared(const OpDef& op, uint64_t seed) {
  int64_t shared = 0;
  bool views = true;
  for (const NamedSample& named : op.samples) {
    Rng rng(seed);
    const Sample sample = named.make(rng);
    const Tensors inputs = cast_inputs(sample.inputs, DType::kF32);
    const Tensors cotangents = random_cotangents(sample.run, inputs, rng);
    const LoopWatch watch;
    views = is_view(inputs, evaluate(op, sample.run, inputs, cotangents)) && views;
    shared += watch.shared();
  }
  check<CheckFailed>(views || shared > 0,
                     "no sample of {} is large enough to be shared between threads", op.name);
  return views ? "views of the inputs" : fmt::format("{} loops of several chunks", shared);
}

}  // namespace ocellus::checks
