#include "autograd/autocast.h"

#include <doctest/doctest.h>

#include <string>

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

struct Weight : GradSink {
  Tensor value, sum;
  explicit Weight(Tensor v) : value(std::move(v)) {}
  void add_gradient(const Tensor& gradient) override { sum = gradient.clone(); }
  Variable var() { return parameter_leaf(*this, value); }
};

// The bf16 storages that linear(x, weight) has saved: those of x and of the weight.
std::vector<const Storage*> saved_by_linear(const Tensor& x, Weight& weight) {
  const Autocast scope(DType::kBF16);
  Tape tape;
  linear(leaf(x), weight.var());
  std::vector<const Storage*> list;
  for (const auto& storage : tape.saved_storages()) list.push_back(storage.get());
  REQUIRE(list.size() == 2);
  return list;
}

}  // namespace

TEST_CASE("autocast: products compute in bf16, gradients return in the type of the input") {
  const Tensor x = numbers({4, 8}, 1), w = numbers({5, 8}, 2);
  Tape tape;
  const Variable vx = leaf(x), vw = leaf(w);
  Variable y;
  {
    const Autocast scope(DType::kBF16);
    y = linear(vx, vw);
  }
  CHECK(y.dtype() == DType::kBF16);
  const Variable plain = linear(constant(x.to(DType::kBF16)), constant(w.to(DType::kBF16)));
  CHECK(y.value().to_vector<float>() == plain.value().to_vector<float>());
  tape.backward({y}, {Tensor::full({4, 5}, 1, DType::kBF16)});
  CHECK(tape.gradient(vx).dtype() == DType::kF32);
  CHECK(tape.gradient(vw).dtype() == DType::kF32);
  CHECK(linear(constant(x), constant(w)).dtype() == DType::kF32);  // the scope has ended
}

TEST_CASE("autocast: kFollow takes the wider of two types, and leaves equal ones alone") {
  const Autocast scope(DType::kBF16);
  const Variable low(numbers({4}, 1, DType::kBF16)), high(numbers({4}, 2));
  CHECK(add(low, low).dtype() == DType::kBF16);
  CHECK(add(low, high).dtype() == DType::kF32);
  CHECK(add(high, high).dtype() == DType::kF32);
  const Variable row(numbers({2, 4}, 3, DType::kBF16));
  CHECK(rms_norm(row, high, 1e-5f).dtype() == DType::kF32);
}

TEST_CASE("autocast: kFull computes in f32, and the gradient returns in bf16") {
  Tape tape;
  const Variable x = leaf(numbers({2, 8}, 1, DType::kBF16));
  Variable y;
  {
    const Autocast scope(DType::kBF16);
    y = softmax(x);
  }
  CHECK(y.dtype() == DType::kF32);
  tape.backward({y}, {numbers({2, 8}, 2)});
  CHECK(tape.gradient(x).dtype() == DType::kBF16);
}

TEST_CASE("autocast: f64, integers and absent inputs pass as they are") {
  const Autocast scope(DType::kBF16);
  CHECK(linear(Variable(numbers({2, 3}, 1, DType::kF64)), Variable(numbers({4, 3}, 2, DType::kF64)))
            .dtype() == DType::kF64);
  CHECK(linear(Variable(numbers({2, 3}, 1)), Variable(numbers({4, 3}, 2))).shape() == Shape{2, 4});
}

TEST_CASE("autocast: scopes nest, f32 turns it off, other types are refused") {
  CHECK(Autocast::low_type() == DType::kF32);
  {
    const Autocast outer(DType::kBF16);
    {
      const Autocast off(DType::kF32);
      CHECK(matmul(Variable(numbers({2, 2}, 1)), Variable(numbers({2, 2}, 2))).dtype() ==
            DType::kF32);
    }
    CHECK(Autocast::low_type() == DType::kBF16);
  }
  CHECK(Autocast::low_type() == DType::kF32);
  CHECK(error_of([] { Autocast wrong(DType::kF64); }) ==
        "autocast: dtype must be bf16 or f32, got f64");
}

TEST_CASE("autocast: a parameter is cast once until it is written") {
  Weight weight(numbers({5, 8}, 2));
  const Tensor x = numbers({4, 8}, 1);
  saved_by_linear(x, weight);  // seen for the first time
  const Storage* const copy = saved_by_linear(x, weight)[1];
  CHECK(saved_by_linear(numbers({4, 8}, 3), weight)[1] == copy);  // the next micro-batch
  CHECK(autocast_copy_bytes() >= weight.value.numel() * 2);

  weight.value.mutable_data<float>("adamw")[0] = 64;  // the optimizer
  const Autocast scope(DType::kBF16);
  Tape tape;
  const Variable y = linear(constant(numbers({4, 8}, 1)), weight.var());
  const Variable plain =
      linear(constant(numbers({4, 8}, 1, DType::kBF16)), constant(weight.value.to(DType::kBF16)));
  CHECK(y.value().to_vector<float>() == plain.value().to_vector<float>());
  tape.backward({y}, {Tensor::full({4, 5}, 1, DType::kBF16)});
  CHECK(weight.sum.dtype() == DType::kF32);
}

TEST_CASE("autocast: ops of one scope share the copy of an activation, and the scope drops it") {
  const int64_t before = autocast_copy_bytes();
  const Tensor x = numbers({64, 8}, 1);
  {
    const Autocast scope(DType::kBF16);
    Tape tape;
    const Variable vx = leaf(x), w = constant(numbers({8, 8}, 2, DType::kBF16));
    linear(vx, w);
    const int64_t one = autocast_copy_bytes();
    linear(vx, w);
    CHECK(autocast_copy_bytes() == one);
    CHECK(one - before == x.numel() * 2);
    CHECK(tape.node_count() == 4);  // each use has a cast of its own
    // What has died is dropped when the next copy is made.
    for (int i = 0; i < 10; ++i) linear(leaf(numbers({64, 8}, 1)), w);
    CHECK(autocast_copy_bytes() - before <= 3 * x.numel() * 2);
  }
  CHECK(autocast_copy_bytes() <= before);
}

TEST_CASE("autocast: a copy goes with its parameter, and a new tensor never gets an old one") {
  int64_t held = 0;
  for (int round = 0; round < 20; ++round) {
    // The allocator hands out the same blocks again and again.
    Weight weight(numbers({5, 8}, static_cast<uint64_t>(round)));
    for (int step = 0; step < 3; ++step) {
      const Autocast scope(DType::kBF16);
      const Variable y = linear(constant(numbers({4, 8}, 1)), weight.var());
      const Variable plain = linear(constant(numbers({4, 8}, 1, DType::kBF16)),
                                    constant(weight.value.to(DType::kBF16)));
      CHECK(y.value().to_vector<float>() == plain.value().to_vector<float>());
    }
    if (round == 0) held = autocast_copy_bytes();
    CHECK(autocast_copy_bytes() <= held);
  }
}

TEST_CASE("autocast: views of one tensor have copies of their own") {
  Weight fused(numbers({6, 8}, 2));
  const Tensor x = numbers({4, 8}, 1);
  for (int step = 0; step < 3; ++step) {
    const Autocast scope(DType::kBF16);
    for (int part = 0; part < 2; ++part) {
      const Tensor rows = fused.value.sliced(0, 3 * part, 3 * part + 3);
      const Variable y = linear(constant(x), constant(rows));
      const Variable plain = linear(constant(x.to(DType::kBF16)), constant(rows.to(DType::kBF16)));
      CHECK(y.value().to_vector<float>() == plain.value().to_vector<float>());
      // The same place, another geometry.
      const Tensor turned = rows.sliced(1, 0, 3).transposed(0, 1);
      const Variable z = matmul(constant(x.sliced(1, 0, 3)), constant(turned));
      const Variable plain_z =
          matmul(constant(x.sliced(1, 0, 3).to(DType::kBF16)), constant(turned.to(DType::kBF16)));
      CHECK(z.value().to_vector<float>() == plain_z.value().to_vector<float>());
    }
  }
}
