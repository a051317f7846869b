// Convolution, pooling and batch normalisation: numbers counted by hand, and bad input. Their
// gradients and definitions are checked by the suite.
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

Variable numbers(const std::vector<double>& values, const Shape& shape) {
  return constant(Tensor::from(values, shape));
}
using Values = std::vector<double>;
Values values_of(const Variable& x) { return x.value().to_vector<double>(); }

}  // namespace

TEST_CASE("conv2d: a kernel of ones adds up the window, zeros outside") {
  const Variable x = numbers({1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 1, 3, 3});
  const Variable ones = numbers(Values(9, 1), {1, 1, 3, 3}), bias = numbers({100}, {1});
  CHECK(values_of(conv2d(x, ones, {}, {})) == Values{45});
  CHECK(values_of(conv2d(x, ones, bias, {.stride = 2, .padding = 1})) ==
        Values{112, 116, 124, 128});
}

TEST_CASE("conv2d: each group sees its own channels") {
  const Variable x = numbers({1, 2, 3, 4}, {1, 4, 1, 1});
  const Variable pairs = numbers({1, 10, 1, 10}, {2, 2, 1, 1});
  CHECK(values_of(conv2d(x, pairs, {}, {.groups = 2})) == Values{21, 43});
  const Variable doubled = numbers({1, 2, 3, 4, 5, 6, 7, 8}, {8, 1, 1, 1});
  CHECK(values_of(conv2d(x, doubled, {}, {.groups = 4})) == Values{1, 2, 6, 8, 15, 18, 28, 32});
}

TEST_CASE("conv2d: shapes that do not fit are named") {
  const Variable x = numbers(Values(18, 1), {1, 2, 3, 3});
  auto error = [&](const Shape& weight, ConvShape shape, const Variable& bias = {}) {
    return error_of<ShapeError>([&] {
      conv2d(x, numbers(Values(static_cast<size_t>(weight.numel()), 1), weight), bias, shape);
    });
  };
  CHECK(contains(error({4, 1, 3, 3}, {}),
                 "conv2d: x of 2 channels in 1 groups needs weight [multiple of 1, 2, KH, KW], got "
                 "[4, 1, 3, 3]"));
  CHECK(contains(error({3, 1, 3, 3}, {.groups = 2}), "needs weight [multiple of 2, 1, KH, KW]"));
  CHECK(contains(error({4, 2, 5, 5}, {}),
                 "a picture of 3x3 with padding 0 is smaller than the kernel of 5x5"));
  CHECK(contains(error({4, 2, 3, 3}, {.stride = 0}), "stride and groups must be positive"));
  CHECK(contains(error({4, 2, 3, 3}, {}, numbers({1, 2}, {2})), "bias must be [4], got [2]"));
  CHECK(contains(error({4, 2, 3}, {}), "weight [O, C/groups, KH, KW], got"));
}

TEST_CASE("max_pool2d: the first of equals gets the gradient, padding never wins") {
  Tape tape;
  const Variable x = leaf(Tensor::from(Values{-1, -1, -3, -1}, {1, 1, 2, 2}));
  const Variable y = max_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1});
  CHECK(values_of(y) == Values{-1});
  tape.backward(sum(y));
  CHECK(tape.gradient(x).to_vector<double>() == Values{1, 0, 0, 0});
}

TEST_CASE("max_pool2d: shapes that do not fit are named") {
  const Variable x = numbers(Values(4, 1), {1, 1, 2, 2});
  CHECK(contains(error_of<ShapeError>([&] { max_pool2d(x, {.kernel = 3}); }),
                 "a picture of 2x2 is smaller than the window of 3x3"));
  CHECK(contains(
      error_of<ShapeError>([&] { max_pool2d(x, {.kernel = 2, .stride = 2, .padding = 2}); }),
      "padding at most half the kernel, got 2, 2, 2"));
}

TEST_CASE("batch_norm_train: mean and biased variance of batch and picture") {
  const Variable x = numbers({1, 2, 3, 6}, {2, 1, 1, 2}), w = numbers({2}, {1}),
                 b = numbers({5}, {1});
  const BatchNormTrained out = batch_norm_train(x, w, b, 0.5f);
  CHECK(out.mean.to_vector<double>() == Values{3});
  CHECK(out.variance.to_vector<double>() == Values{3.5});
  CHECK(values_of(out.y) == Values{3, 4, 5, 8});  // √(3.5 + 0.5) = 2
  const Tensor mean = Tensor::from(Values{1}, {1}), variance = Tensor::from(Values{0.75}, {1});
  CHECK(values_of(batch_norm(x, w, b, mean, variance, 3.25f)) == Values{5, 6, 7, 10});
}

TEST_CASE("batch_norm: parameters of the wrong length are named") {
  const Variable x = numbers(Values(4, 1), {1, 2, 1, 2}), one = numbers({1}, {1}),
                 two = numbers({1, 1}, {2});
  CHECK(contains(error_of<ShapeError>([&] { batch_norm_train(x, one, two, 1e-5f); }),
                 "batch_norm_train: weight must be [2] (the channels of x), got [1]"));
  CHECK(contains(
      error_of<ShapeError>([&] { batch_norm(x, two, two, one.value(), two.value(), 1e-5f); }),
      "mean and variance must be [2], got [1] and [2]"));
}
