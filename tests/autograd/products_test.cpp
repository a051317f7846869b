#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

using namespace ocellus;

namespace {

Tensor numbers(const Shape& shape, uint64_t seed, DType dtype = DType::kF32) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal_at({seed, 0}, i);
  return Tensor::from(values, shape).to(dtype);
}

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("linear: refuses weights and biases of the wrong shape, in a sentence") {
  const Variable x(numbers({2, 16, 768}, 1)), weight(numbers({512, 96}, 2));
  CHECK(
      error_of([&] { linear(x, weight); }) ==
      "linear: weight must be [O, 768] (the last dimension of x), got [512, 96]; x is [2, 16, 768] "
      "f32 on cpu");
  CHECK(error_of([&] { linear(x, Variable(numbers({768}, 2))); }).find("got [768]; x is") !=
        std::string::npos);
  CHECK(error_of([&] {
          linear(x, Variable(numbers({5, 768}, 2)), Variable(numbers({4}, 3)));
        }) ==
        "linear: bias must be [5] (the rows of weight), got [4]; weight is [5, 768] f32 on cpu");
  CHECK(error_of([&] {
          linear(x, Variable(numbers({5, 768}, 2)), Variable(Tensor::zeros({5}, DType::kI32)));
        }) == "linear: bias must be floating, got i32");
  CHECK(error_of([&] { linear(Variable(Tensor::scalar(1, DType::kF32)), weight); }) ==
        "linear: x must have at least one dimension, got a number");
}

TEST_CASE("linear: keeps only what the gradients that are wanted need") {
  const Tensor x = numbers({10, 8}, 1), w = numbers({6, 8}, 2), b = numbers({6}, 3);
  {
    Tape tape;  // a frozen layer: no activation
    const Variable input = leaf(x);
    const Variable y = linear(input, constant(w), constant(b));
    CHECK(tape.saved_bytes() == w.bytes());
    tape.backward({y}, {Tensor::full(y.shape(), 1, DType::kF32)});
    CHECK(tape.gradient(input).shape() == x.shape());
  }
  {
    Tape tape;  // the first layer: no weight
    const Variable weight = leaf(w);
    const Variable y = linear(constant(x), weight, constant(b));
    CHECK(tape.saved_bytes() == x.bytes());
    tape.backward({y}, {Tensor::full(y.shape(), 1, DType::kF32)});
    CHECK(tape.gradient(weight).shape() == w.shape());
  }
  {
    Tape tape;  // only the bias: nothing
    const Variable bias = leaf(b);
    const Variable y = linear(constant(x), constant(w), bias);
    CHECK(tape.saved_bytes() == 0);
    tape.backward({y}, {Tensor::full(y.shape(), 2, DType::kF32)});
    CHECK(tape.gradient(bias).to_vector<double>() == std::vector<double>(6, 20.0));
  }
}

TEST_CASE("linear: under autocast the product is bf16, gradients return in f32") {
  Tape tape;
  const Variable x = leaf(numbers({10, 8}, 1)), w = leaf(numbers({6, 8}, 2)),
                 b = leaf(numbers({6}, 3));
  Variable y;
  {
    Autocast scope(DType::kBF16);
    y = linear(x, w, b);
  }
  CHECK(y.dtype() == DType::kBF16);
  tape.backward({y}, {Tensor::full(y.shape(), 1, DType::kF32)});
  for (const Variable& v : {x, w, b}) CHECK(tape.gradient(v).dtype() == DType::kF32);
}

TEST_CASE("matmul: keeps only what the gradients that are wanted need, and refuses vectors") {
  const Tensor a = numbers({3, 4, 5}, 1), b = numbers({5, 2}, 2);
  Tape tape;
  const Variable left = leaf(a);
  const Variable y = matmul(left, constant(b));
  CHECK(tape.saved_bytes() == b.bytes());
  CHECK(error_of([&] { matmul(left, Variable(numbers({5}, 3))); }) ==
        "matmul: a and b must have at least two dimensions, got [3, 4, 5] and [5]");
}

TEST_CASE("embedding: ids outside of the table are named with their place") {
  const Variable weight(numbers({4, 3}, 1));
  auto ids = [](std::vector<int64_t> list) {
    const Shape shape{static_cast<int64_t>(list.size())};
    return Tensor::from(list, shape);
  };
  CHECK(error_of([&] {
          embedding(weight, ids({0, 3, 4}));
        }) == "embedding: ids[2] must be in [0, 4) (the rows of weight), got 4; ids is [3]");
  CHECK(error_of([&] {
          embedding(weight, ids({0, -1}));
        }) == "embedding: ids[1] must be in [0, 4) (the rows of weight), got -1; ids is [2]");
  CHECK(error_of([&] { embedding(weight, numbers({2}, 1)); }) ==
        "embedding: ids must be i32 or i64, got f32");
  CHECK(error_of([&] { embedding(Variable(numbers({4}, 1)), ids({0})); }) ==
        "embedding: weight must be [V, C], got [4]");
  CHECK(embedding(weight, ids({})).shape() == Shape{0, 3});
}

TEST_CASE("embedding: rows that are used twice add their gradients, unused rows get zero") {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    Tape tape;
    const Variable weight = leaf(numbers({4, 2}, 1, dtype));
    const Variable y = embedding(weight, Tensor::from(std::vector<int32_t>{3, 1, 3}, {3}));
    tape.backward({y}, {Tensor::from(std::vector<double>{1, 2, 10, 20, 100, 200}, {3, 2})});
    CHECK(tape.gradient(weight).to_vector<double>() ==
          std::vector<double>{0, 0, 10, 20, 0, 0, 101, 202});
  }
}

TEST_CASE("embedding: without ids the gradient of the table is zero") {
  Tape tape;
  const Variable weight = leaf(numbers({4, 2}, 1));
  const Variable y = embedding(weight, Tensor::from(std::vector<int64_t>{}, {0}));
  tape.backward({y}, {Tensor::zeros({0, 2}, DType::kF32)});
  CHECK(tape.gradient(weight).to_vector<double>() == std::vector<double>(8, 0.0));
}
