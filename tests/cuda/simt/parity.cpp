// The CUDA kernels, run by the emulator or on a GPU, against the CPU's over all samples of the
// registry: values and gradients, f32 and bf16, contiguous and strided inputs, three orders of
// threads and blocks.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

#include "autograd/op_def.h"
#include "autograd/tape.h"
#include "engine/kernels/copy.h"
#include "tests/cuda/simt/orders.h"

using namespace ocellus;

namespace {

constexpr Device kGpu{DeviceType::kCuda, 0};

bool differentiable(const OpDef& op, size_t input, const Tensor& value) {
  const size_t last = op.inputs.size() - 1;
  return value.defined() && is_floating(value.dtype()) &&
         !op.inputs[std::min(input, last)].not_differentiable;
}

// Outputs, then gradients by input.
Tensors evaluate(const OpDef& op, const Sample& sample, const Tensors& inputs,
                 const Tensors& cotangents) {
  Tape tape;
  Variables leaves;
  for (size_t i = 0; i < inputs.size(); ++i)
    leaves.push_back(differentiable(op, i, inputs[i]) ? leaf(inputs[i]) : constant(inputs[i]));
  const Variables ys = sample.run(leaves);
  Variables roots;
  Tensors seeds, results;
  for (size_t k = 0; k < ys.size(); ++k) {
    results.push_back(ys[k].value());
    if (!ys[k].requires_grad()) continue;
    roots.push_back(ys[k]);
    seeds.push_back(cotangents[k].to(ys[k].dtype()).to(ys[k].value().device()));
  }
  tape.backward(roots, seeds);
  for (size_t i = 0; i < inputs.size(); ++i)
    results.push_back(differentiable(op, i, inputs[i]) ? tape.gradient(leaves[i]) : Tensor());
  return results;
}

Tensors converted(const Tensors& inputs, DType dtype) {
  Tensors out;
  for (const Tensor& x : inputs)
    out.push_back(x.defined() && is_floating(x.dtype()) ? x.to(dtype) : x);
  return out;
}

enum class Layout { kPlain, kTransposed, kWindow };

// The same elements on the GPU, behind other strides.
Tensor upload(const Tensor& x, Layout layout) {
  if (!x.defined()) return x;
  const Tensor there = x.to(kGpu);
  if (x.rank() == 0 || layout == Layout::kPlain) return there;
  if (layout == Layout::kTransposed) return there.transposed(0, -1).clone().transposed(0, -1);
  Shape wide = x.shape();
  for (int i = 0; i < wide.rank(); ++i) wide[i] += 2;
  Tensor view = Tensor::full(wide, 7, x.dtype(), kGpu);
  for (int i = 0; i < wide.rank(); ++i) view = view.sliced(i, 1, 1 + x.shape()[i]);
  copy(there, view);
  return view;
}

void compare(const std::string& what, const Tensor& got, const Tensor& expected, double tolerance) {
  CAPTURE(what);
  REQUIRE(got.defined() == expected.defined());
  if (!got.defined()) return;
  REQUIRE(got.shape() == expected.shape());
  REQUIRE(got.dtype() == expected.dtype());
  CHECK((got.numel() == 0 || got.device() == kGpu));
  const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
  double worst = 0, top = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;  // infinities too
    const double d = std::fabs(a[i] - b[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    top = std::max(top, std::fabs(b[i]));
  }
  CHECK(worst <= tolerance * (1 + top));
}

void expect_same_bits(const Tensors& a, const Tensors& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined()) continue;
    const Tensor x = a[i].to(kCpu).contiguous(), y = b[i].to(kCpu).contiguous();
    CHECK(std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0);
  }
}

void check_sample(const OpDef& op, const NamedSample& named, DType dtype) {
  Rng rng(7);
  const Sample sample = named.make(rng);
  const Tensors inputs = converted(sample.inputs, dtype);
  Tensors cotangents;
  for (const Variable& y : sample.run(Variables(inputs.begin(), inputs.end())))
    cotangents.push_back(rng.normal(y.shape()).to(dtype));
  const Tensors expected = evaluate(op, sample, inputs, cotangents);
  const double tolerance = dtype == DType::kF32 ? 1e-5 : 0x1p-7;
  Tensors first;
  for (simt::Order order : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kRandom}) {
    simt::set_order(order, 3);
    const Layout layouts[] = {Layout::kPlain, Layout::kTransposed, Layout::kWindow};
    for (Layout layout : layouts) {
      if (layout != Layout::kPlain && order != simt::Order::kForward) continue;
      CAPTURE(static_cast<int>(layout));
      Tensors there;
      for (const Tensor& x : inputs) there.push_back(upload(x, layout));
      const Tensors got = evaluate(op, sample, there, cotangents);
      for (size_t i = 0; i < got.size(); ++i)
        compare("result " + std::to_string(i), got[i], expected[i], tolerance);
      if (layout != Layout::kPlain) continue;
      if (first.empty()) first = got;
      expect_same_bits(first, got);
    }
  }
  simt::set_order(simt::Order::kForward);
}

// The ops that the environment names (OCELLUS_SIMT_OPS=a,b), or all.
bool wanted(std::string_view op) {
  const char* list = std::getenv("OCELLUS_SIMT_OPS");
  return !list ||
         ("," + std::string(list) + ",").find("," + std::string(op) + ",") != std::string::npos;
}

}  // namespace

TEST_CASE("simt: every op agrees with the CPU over the registry") {
  const simt::Counts before = simt::counts();
  for_each_op([&](const OpDef& op) {
    if (!wanted(op.name)) return;
    CAPTURE(std::string(op.name));
    for (const NamedSample& named : op.samples)
      for (DType dtype : {DType::kF32, DType::kBF16}) {
        CAPTURE(std::string(named.name));
        CAPTURE(dtype_name(dtype));
        try {
          check_sample(op, named, dtype);
        } catch (const Error& error) {
          FAIL_CHECK(std::string(error.what()));
        }
      }
  });
  const simt::Counts after = simt::counts();
  MESSAGE("launches " << after.launches - before.launches << ", threads "
                      << after.threads - before.threads << ", warp operations "
                      << after.meetings - before.meetings);
  CHECK(after.launches > before.launches);
}
