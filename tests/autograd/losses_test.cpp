#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/cross_entropy.h"
#include "engine/rows/softmax_row.h"
#include "engine/kernels/linear_cross_entropy.h"

using namespace ocellus;

namespace {

Tensor numbers(const Shape& shape, uint64_t seed, DType dtype = DType::kF32, double deviation = 1) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = deviation * normal_at({seed, 0}, i);
  return Tensor::from(values, shape).to(dtype);
}

Tensor labels_of(std::vector<int64_t> list) {
  const Shape shape{static_cast<int64_t>(list.size())};
  return Tensor::from(list, shape);
}

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void check_close(const Tensor& got, const std::vector<double>& expected, double tolerance) {
  const auto list = got.to_vector<double>();
  REQUIRE(list.size() == expected.size());
  for (size_t i = 0; i < list.size(); ++i) CHECK(std::fabs(list[i] - expected[i]) <= tolerance);
}

}  // namespace

TEST_CASE("cross_entropy: value and gradient as PyTorch 2.13 gives them, an ignored row between") {
  for (DType dtype : {DType::kF64, DType::kF32}) {
    const double tolerance = dtype == DType::kF64 ? 1e-15 : 1e-6;
    Tape tape;
    const Variable logits =
        leaf(Tensor::from(std::vector<double>{1, 2, 3, 0.5, -0.5, 4, -1, 0, 1}, {3, 3}).to(dtype));
    const LossSum loss = cross_entropy(logits, labels_of({2, -100, 0}));
    CHECK(loss.count == 2);
    CHECK(loss.sum.shape() == Shape{});
    CHECK(loss.sum.value().item() == doctest::Approx(2.8152119288887612).epsilon(tolerance));
    tape.backward(loss.sum, 0.5);
    check_close(
        tape.gradient(logits),
        {0.5 * 0.090030573170380435, 0.5 * 0.24472847105479764, 0.5 * -0.33475904422517822, 0, 0, 0,
         0.5 * -0.90996942682961957, 0.5 * 0.24472847105479764, 0.5 * 0.66524095577482178},
        tolerance);
  }
}

TEST_CASE("cross_entropy: all rows ignored give 0 of 0 and no gradient") {
  Tape tape;
  const Variable logits = leaf(numbers({3, 5}, 1));
  const LossSum loss = cross_entropy(logits, labels_of({7, 7, 7}), 7);
  CHECK(loss.count == 0);
  CHECK(loss.sum.value().item() == 0);
  tape.backward(loss.sum);
  CHECK(tape.gradient(logits).to_vector<double>() == std::vector<double>(15, 0.0));
}

TEST_CASE("cross_entropy: bf16 logits give an f32 sum, under autocast and without") {
  const Tensor logits = numbers({4, 9}, 1, DType::kBF16);
  const double plain = cross_entropy(Variable(logits), labels_of({0, 8, 3, 3})).sum.value().item();
  const double wide =
      cross_entropy(Variable(logits.to(DType::kF32)), labels_of({0, 8, 3, 3})).sum.value().item();
  CHECK(plain == wide);
  Autocast scope(DType::kBF16);
  const LossSum loss = cross_entropy(Variable(logits), labels_of({0, 8, 3, 3}));
  CHECK(loss.sum.dtype() == DType::kF32);
  CHECK(loss.sum.value().item() == plain);
}

TEST_CASE("cross_entropy: logits that overflow an exponential, and classes that are shut out") {
  const double inf = std::numeric_limits<double>::infinity();
  Tape tape;
  const Variable logits = leaf(
      Tensor::from(std::vector<double>{1000, 999, -inf, -3e4, -3e4, -inf}, {2, 3}).to(DType::kF32));
  const LossSum loss = cross_entropy(logits, labels_of({1, 0}));
  CHECK(loss.sum.value().item() ==
        doctest::Approx(std::log(1 + std::exp(1.0)) + std::log(2.0)).epsilon(1e-4));
  tape.backward(loss.sum);
  const auto gradient = tape.gradient(logits).to_vector<double>();
  CHECK(gradient[2] == 0);
  CHECK(gradient[5] == 0);
  CHECK(gradient[3] == doctest::Approx(-0.5).epsilon(1e-3));
  // A label that is shut out has an infinite loss; NaN is passed on.
  CHECK(cross_entropy(constant(logits.value()), labels_of({2, 0})).sum.value().item() == inf);
  const Variable bad(Tensor::from(std::vector<float>{0, std::nanf(""), 1}, {1, 3}));
  CHECK(std::isnan(cross_entropy(bad, labels_of({0})).sum.value().item()));
}

TEST_CASE("cross_entropy: a row is reduced alike by 1 and by 32 lanes") {
  const auto row = numbers({1000}, 3, DType::kF64, 5).to_vector<double>();
  OnlineSoftmax<double> one;
  for (double x : row) one.push(x);
  const OnlineSoftmax<double> lanes = reduce_row<OnlineSoftmax<double>>(
      1000, [&](int64_t i) { return row[static_cast<size_t>(i)]; });
  const OnlineSoftmax<double> got = softmax_of_row(row.data(), 1000);
  CHECK(got.max == one.max);
  CHECK(got.log_sum() == doctest::Approx(one.log_sum()).epsilon(1e-14));
  CHECK(got.log_sum() == doctest::Approx(lanes.log_sum()).epsilon(1e-14));
}

TEST_CASE("cross_entropy: refuses labels and logits that do not fit, in a sentence") {
  const Variable logits(numbers({3, 64}, 1));
  CHECK(error_of([&] {
          cross_entropy(logits, labels_of({0, 64, 2}));
        }) == "cross_entropy: labels[1] is 64, must be in [0, 64) or -100 (ignored)");
  CHECK(error_of([&] {
          cross_entropy(logits, labels_of({0, 5, -1}), -2);
        }) == "cross_entropy: labels[2] is -1, must be in [0, 64) or -2 (ignored)");
  CHECK(error_of([&] {
          cross_entropy(logits, labels_of({0, 1}));
        }) == "cross_entropy: labels must be [3] (one a row), got [2]");
  CHECK(error_of([&] { cross_entropy(logits, numbers({3}, 1)); }) ==
        "cross_entropy: labels must be i32 or i64, got f32");
  CHECK(error_of([&] {
          cross_entropy(Variable(numbers({3}, 1)), labels_of({0, 1, 2}));
        }) == "cross_entropy: logits must be [N, V], got [3]");
}

TEST_CASE("linear_cross_entropy: equals the loss of a product for every size of chunk") {
  const Tensor x = numbers({13, 6}, 1), w = numbers({40, 6}, 2);
  const Tensor labels = labels_of({1, -100, 39, 0, -100, 7, 7, 7, -100, 20, 21, 22, 0});
  Tensor dx, dw;
  double expected;
  {
    Tape tape;
    const Variable vx = leaf(x), vw = leaf(w);
    const LossSum loss = cross_entropy(matmul(vx, vw, false, true), labels);
    expected = loss.sum.value().item();
    tape.backward(loss.sum, 0.125);
    dx = tape.gradient(vx), dw = tape.gradient(vw);
  }
  for (int64_t chunk : {0, 1, 2, 3, 9, 10, 11, 1000}) {
    Tape tape;
    const Variable vx = leaf(x), vw = leaf(w);
    const LossSum loss = linear_cross_entropy(vx, vw, labels, -100, chunk);
    CHECK(loss.count == 10);
    CHECK(loss.sum.value().item() == doctest::Approx(expected).epsilon(1e-6));
    tape.backward(loss.sum, 0.125);
    check_close(tape.gradient(vx), dx.to_vector<double>(), 1e-6);
    check_close(tape.gradient(vw), dw.to_vector<double>(), 1e-6);
  }
}

TEST_CASE("linear_cross_entropy: frozen inputs and no tape hold nothing") {
  const Tensor x = numbers({20, 8}, 1), w = numbers({30, 8}, 2);
  const Tensor labels = Tensor::zeros({20}, DType::kI64);
  {
    Tape tape;
    const Variable vx = leaf(x);
    const LossSum loss = linear_cross_entropy(vx, constant(w), labels);
    CHECK(tape.saved_bytes() == 20 * 8 * 4 + 20 * 8);  // dx and row numbers, no [V, C]
    tape.backward(loss.sum);
    CHECK(tape.gradient(vx).shape() == x.shape());
  }
  {
    Tape tape;
    const Variable vw = leaf(w);
    const LossSum loss = linear_cross_entropy(constant(x), vw, labels);
    CHECK(tape.saved_bytes() == 30 * 8 * 4 + 20 * 8);
    tape.backward(loss.sum);
    CHECK(tape.gradient(vw).shape() == w.shape());
  }
}

TEST_CASE("linear_cross_entropy: the logits of all rows never exist, ignored rows cost nothing") {
  constexpr int64_t kRows = 2000, kColumns = 4, kClasses = 3000;
  const Tensor x = numbers({kRows, kColumns}, 1), w = numbers({kClasses, kColumns}, 2);
  std::vector<int64_t> list(kRows, -100);
  for (size_t i = 0; i < 900; ++i) list[2 * i] = static_cast<int64_t>(i);
  const Tensor labels = labels_of(list);
  const uint64_t chunk = static_cast<uint64_t>(linear_cross_entropy_chunk(kClasses) * kClasses * 4);
  CHECK(chunk < 900 * kClasses * 4);
  Tape tape;
  PeakScope peak;
  linear_cross_entropy(leaf(x), leaf(w), labels);
  CHECK(peak.peak_bytes() <
        chunk + 2 * 900 * 8 + 2 * kRows * 8 + 2 * kClasses * kColumns * 4 + 65536);
}

TEST_CASE("linear_cross_entropy: no target gives 0 of 0 and zero gradients") {
  Tape tape;
  const Variable x = leaf(numbers({3, 4}, 1, DType::kBF16)),
                 w = leaf(numbers({5, 4}, 2, DType::kBF16));
  const LossSum loss = linear_cross_entropy(x, w, labels_of({-100, -100, -100}));
  CHECK(loss.count == 0);
  CHECK(loss.sum.value().item() == 0);
  tape.backward(loss.sum);
  CHECK(tape.gradient(x).to_vector<double>() == std::vector<double>(12, 0.0));
  CHECK(tape.gradient(w).to_vector<double>() == std::vector<double>(20, 0.0));
  CHECK(tape.gradient(w).dtype() == DType::kBF16);
}

TEST_CASE(
    "linear_cross_entropy: under autocast gradients return in f32; a bf16 head serves f32 rows") {
  const Tensor labels = labels_of({0, 3, 2});
  {
    Tape tape;
    const Variable x = leaf(numbers({3, 4}, 1)), w = leaf(numbers({5, 4}, 2));
    LossSum loss;
    {
      Autocast scope(DType::kBF16);
      loss = linear_cross_entropy(x, w, labels);
    }
    CHECK(loss.sum.dtype() == DType::kF32);
    tape.backward(loss.sum);
    CHECK(tape.gradient(x).dtype() == DType::kF32);
    CHECK(tape.gradient(w).dtype() == DType::kF32);
  }
  const Tensor x = numbers({3, 4}, 1), w = numbers({5, 4}, 2, DType::kBF16);
  CHECK(linear_cross_entropy(Variable(x), Variable(w), labels).sum.value().item() ==
        linear_cross_entropy(Variable(x), Variable(w.to(DType::kF32)), labels).sum.value().item());
}

TEST_CASE("linear_cross_entropy: refuses what does not fit, in a sentence") {
  const Variable x(numbers({3, 8}, 1)), w(numbers({5, 8}, 2));
  CHECK(error_of([&] {
          linear_cross_entropy(x, w, labels_of({0, 1, 5}));
        }) == "linear_cross_entropy: labels[2] is 5, must be in [0, 5) or -100 (ignored)");
  CHECK(error_of([&] {
          linear_cross_entropy(x, Variable(numbers({5, 7}, 2)), labels_of({0, 1, 2}));
        }) ==
        "linear_cross_entropy: weight must be [V, 8] (the last dimension of x), got [5, 7]; x is "
        "[3, 8] "
        "f32 on cpu");
  CHECK(error_of([&] { linear_cross_entropy(Variable(numbers({8}, 1)), w, labels_of({0})); }) ==
        "linear_cross_entropy: x must be [N, C], got [8]");
  CHECK(error_of([&] {
          linear_cross_entropy(x, w, labels_of({0, 1, 2}), -100, -4);
        }) == "linear_cross_entropy: chunk must not be negative, got -4");
}

TEST_CASE("contrastive: both losses as PyTorch 2.13 gives them") {
  const Tensor image = Tensor::from(std::vector<double>{1, 0.5, -0.25, 2}, {2, 2});
  const Tensor text = Tensor::from(std::vector<double>{0.5, -1, 1.5, 0.75}, {2, 2});
  {
    Tape tape;
    const Variable i = leaf(image), t = leaf(text), s = leaf(Tensor::scalar(0.4, DType::kF64)),
                   b = leaf(Tensor::scalar(-0.3, DType::kF64));
    const Variable loss = sigmoid_contrastive(i, t, s, b);
    CHECK(loss.value().item() == doctest::Approx(3.6860169943726935).epsilon(1e-14));
    tape.backward(loss);
    check_close(tape.gradient(i),
                {1.639058339716, 1.890738587302, -0.427908211569, -0.270222471216}, 1e-11);
    check_close(tape.gradient(t),
                {-0.868221207041, -0.338454382288, 1.453430664086, 0.088626625242}, 1e-11);
    check_close(tape.gradient(s), {2.1509597438277326}, 1e-14);
    check_close(tape.gradient(b), {0.17839329565895853}, 1e-14);
  }
  Tape tape;
  const Variable i = leaf(image), t = leaf(text), s = leaf(Tensor::scalar(0.4, DType::kF64));
  const Variable loss = softmax_contrastive(i, t, s);
  CHECK(loss.value().item() == doctest::Approx(2.1534208660830121).epsilon(1e-14));
  tape.backward(loss);
  check_close(tape.gradient(i), {1.531386547180, 1.682072942880, -0.834150127669, -0.461909208736},
              1e-11);
  check_close(tape.gradient(t), {-0.742070564412, -0.294817235874, 1.407306240869, -0.503465575874},
              1e-11);
  check_close(tape.gradient(s), {1.6571421330650928}, 1e-14);
}

TEST_CASE("contrastive: large scales neither overflow nor lose small losses") {
  // Perfect pairs at the scale where CLIP is clamped (100) and beyond.
  const Tensor eye = Tensor::from(std::vector<float>{1, 0, 0, 1}, {2, 2});
  for (double s : {std::log(100.0), std::log(1000.0)}) {
    const Variable scale(Tensor::scalar(s, DType::kF32)), bias(Tensor::scalar(-50, DType::kF32));
    CHECK(softmax_contrastive(Variable(eye), Variable(eye), scale).value().item() ==
          doctest::Approx(0).scale(1).epsilon(1e-4));
    const double loss =
        sigmoid_contrastive(Variable(eye), Variable(eye), scale, bias).value().item();
    CHECK(loss > 0);
    CHECK(loss < 1e-20);  // 2·log(1 + e^{-50}) and more: not rounded to zero, no cancellation
  }
  // All pairs wrong: the loss is as large as the logits.
  const Tensor wrong = Tensor::from(std::vector<float>{0, 1, 1, 0}, {2, 2});
  const Variable scale(Tensor::scalar(std::log(1000.0), DType::kF32));
  CHECK(softmax_contrastive(Variable(eye), Variable(wrong), scale).value().item() ==
        doctest::Approx(2000).epsilon(1e-5));
}

TEST_CASE("contrastive: only the gradients that are wanted, numbers of shape [1]") {
  Tape tape;
  const Variable image = leaf(numbers({3, 4}, 1)), text = constant(numbers({3, 4}, 2));
  const Variable scale = constant(Tensor::full({1}, 0.5, DType::kF32));
  const Variable loss = softmax_contrastive(image, text, scale);
  CHECK(tape.saved_bytes() == 3 * 4 * 4 + 3 * 3 * 4);  // text and the gradient of the logits
  tape.backward(loss);
  CHECK(tape.gradient(image).shape() == Shape{3, 4});
}

TEST_CASE("contrastive: refuses pairs and numbers that do not fit, in a sentence") {
  const Variable image(numbers({3, 4}, 1)), text(numbers({2, 4}, 2)),
      one(Tensor::scalar(0, DType::kF32));
  CHECK(error_of([&] { softmax_contrastive(image, text, one); }) ==
        "softmax_contrastive: text must be [3, 4] (as image), got [2, 4]");
  CHECK(error_of([&] { softmax_contrastive(Variable(numbers({3}, 1)), text, one); }) ==
        "softmax_contrastive: image must be [N, D], got [3]");
  CHECK(error_of([&] { sigmoid_contrastive(image, image, one, Variable(numbers({2}, 1))); }) ==
        "sigmoid_contrastive: bias must be one number, got [2]");
  CHECK(error_of([&] {
          sigmoid_contrastive(image, image, Variable(Tensor::zeros({1}, DType::kI32)), one);
        }) == "sigmoid_contrastive: log_scale must be floating, got i32");
  CHECK(error_of([&] {
          softmax_contrastive(image, Variable(numbers({3, 4}, 1, DType::kF64)), one);
        }) == "softmax_contrastive: text must be f32 (as image), got f64");
}
