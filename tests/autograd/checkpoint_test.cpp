#include "autograd/checkpoint.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

using namespace ocellus;

namespace {

Tensor numbers(const Shape& shape, uint64_t seed) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal_at({seed, 0}, i);
  return Tensor::from(values, shape).to(DType::kF32);
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
  void add_gradient(const Tensor& gradient) override {
    sum = sum.defined() ? add(Variable(sum), Variable(gradient)).value() : gradient.clone();
  }
  Variable var() { return parameter_leaf(*this, value); }
};

// x + W₂·dropout(gelu(W₁·norm(x))), with parameters that it captures.
struct Block {
  Weight norm{Tensor::full({16}, 1.5, DType::kF32)}, up{numbers({24, 16}, 1)},
      down{numbers({16, 24}, 2)};
  Variable operator()(const Variable& x) {
    const Variable h = gelu_tanh(linear(rms_norm(x, norm.var(), 1e-5f), up.var()));
    return add(x, linear(dropout(h, 0.3f, default_generator().next()), down.var()));
  }
  void clear() { norm.sum = up.sum = down.sum = Tensor(); }
};

using Floats = std::vector<float>;
struct Result {
  std::map<std::string, Floats> values;
  int64_t saved_bytes = 0;
  uint64_t offset = 0;
};

// Two blocks and another random op behind them, plain or checkpointed, from the same seed.
Result run(Block (&blocks)[2], bool checkpointed, bool input_is_constant, bool low = false) {
  default_generator().set(5, 40);
  for (Block& block : blocks) block.clear();
  const Autocast scope(low ? DType::kBF16 : DType::kF32);
  Result result;
  Tape tape;
  const Variable x = input_is_constant ? constant(numbers({4, 16}, 3)) : leaf(numbers({4, 16}, 3));
  Variable h = x;
  for (Block& block : blocks)
    h = checkpointed
            ? checkpoint([&block](const Variables& in) { return Variables{block(in[0])}; }, {h})[0]
            : block(h);
  h = dropout(h, 0.5f, default_generator().next());
  const Variable loss = sum(square(h));
  result.saved_bytes = tape.saved_bytes();
  tape.backward(loss);
  result.values["loss"] = loss.value().to_vector<float>();
  if (!input_is_constant) result.values["x"] = tape.gradient(x).to_vector<float>();
  for (int i = 0; i < 2; ++i) {
    result.values["norm" + std::to_string(i)] = blocks[i].norm.sum.to_vector<float>();
    result.values["up" + std::to_string(i)] = blocks[i].up.sum.to_vector<float>();
    result.values["down" + std::to_string(i)] = blocks[i].down.sum.to_vector<float>();
  }
  result.offset = default_generator().offset();
  return result;
}

}  // namespace

TEST_CASE("checkpoint: the bits of the plain run, dropout included, with fewer bytes kept") {
  Block blocks[2];
  const Result plain = run(blocks, false, false), saving = run(blocks, true, false);
  CHECK(plain.values == saving.values);
  CHECK(plain.offset == 43);
  CHECK(saving.offset == 43);  // backward puts the generator back
  CHECK(saving.saved_bytes * 4 < plain.saved_bytes);
}

TEST_CASE("checkpoint: a first block with constant input still trains its parameters") {
  Block blocks[2];
  const Result plain = run(blocks, false, true), saving = run(blocks, true, true);
  CHECK(plain.values == saving.values);
  double largest = 0;
  for (float g : saving.values.at("up0")) largest = std::max(largest, std::abs(double{g}));
  CHECK(largest > 1e-3);
}

TEST_CASE("checkpoint: autocast is the same in the replay, also where backward runs without it") {
  Block blocks[2];
  CHECK(run(blocks, false, false, true).values == run(blocks, true, false, true).values);

  // Backward outside the scope of forward.
  const auto gradient = [&](bool checkpointed) {
    default_generator().set(5, 40);
    for (Block& block : blocks) block.clear();
    Tape tape;
    Variable y;
    const Variable x = leaf(numbers({4, 16}, 3));
    {
      const Autocast scope(DType::kBF16);
      auto fn = [&](const Variables& in) { return Variables{blocks[0](in[0])}; };
      y = checkpointed ? checkpoint(fn, {x})[0] : fn({x})[0];
    }
    tape.backward({y}, {Tensor::full(y.shape(), 1, y.dtype())});
    CHECK(Autocast::low_type() == DType::kF32);
    auto all = tape.gradient(x).to_vector<float>();
    const Floats up = blocks[0].up.sum.to_vector<float>();
    all.insert(all.end(), up.begin(), up.end());
    return all;
  };
  CHECK(gradient(false) == gradient(true));
}

TEST_CASE("checkpoint: nested") {
  Block blocks[2];
  const auto gradient = [&](bool checkpointed) {
    default_generator().set(1, 0);
    for (Block& block : blocks) block.clear();
    Tape tape;
    const Variable x = leaf(numbers({4, 16}, 3));
    auto one = [&](int i) {
      return [&blocks, i](const Variables& in) { return Variables{blocks[i](in[0])}; };
    };
    auto both = [&](const Variables& in) {
      if (!checkpointed) return one(1)(one(0)(in));
      return checkpoint(one(1), checkpoint(one(0), in));
    };
    const Variable y = checkpointed ? checkpoint(both, {x})[0] : both({x})[0];
    CHECK((!checkpointed || tape.node_count() == 1));
    tape.backward({y}, {Tensor::full(y.shape(), 1, y.dtype())});
    auto all = tape.gradient(x).to_vector<float>();
    const Floats up = blocks[0].up.sum.to_vector<float>();
    all.insert(all.end(), up.begin(), up.end());
    return all;
  };
  CHECK(gradient(false) == gradient(true));
}

TEST_CASE("checkpoint: several outputs, a missing cotangent, an input passed through") {
  Tape tape;
  const Variable x = leaf(Tensor::full({2}, 3, DType::kF64));
  const Variable unused = leaf(Tensor::full({2}, 3, DType::kF64));
  const Variables ys = checkpoint(
      [](const Variables& in) {
        return Variables{square(in[0]), exp(in[0]), in[0]};
      },
      {x, unused});
  REQUIRE(ys.size() == 3);
  tape.backward({ys[0], ys[2]},
                {Tensor::full({2}, 1, DType::kF64), Tensor::full({2}, 10, DType::kF64)});
  CHECK(tape.gradient(x).to_vector<double>() == std::vector<double>{16, 16});
  CHECK_FALSE(tape.gradient(unused).defined());
}

TEST_CASE("checkpoint: nothing to train, nothing recorded; without a tape the function just runs") {
  Weight frozen(numbers({16, 16}, 1));
  const Variables in{constant(numbers({4, 16}, 2))};
  int calls = 0;
  const auto fn = [&](const Variables& v) {
    ++calls;
    return Variables{linear(v[0], constant(frozen.value))};
  };
  Tape tape;
  CHECK_FALSE(checkpoint(fn, in)[0].requires_grad());
  CHECK(tape.node_count() == 0);
  {
    const StopRecording stop;
    checkpoint(fn, in);
  }
  CHECK(calls == 2);
}

TEST_CASE(
    "checkpoint: what goes wrong in the replay is a sentence, and leaves the state as it was") {
  const auto backward = [](const std::function<Variables(const Variables&)>& fn, auto&& between) {
    default_generator().set(3, 9);
    const std::string error = error_of([&] {
      Tape tape;
      Tensor value = Tensor::full({2}, 3, DType::kF64);
      const Variable x = leaf(value), y = checkpoint(fn, {x})[0];
      between(value);
      tape.backward({y}, {Tensor::full({2}, 1, DType::kF64)});
    });
    CHECK(default_generator().seed() == 3);
    CHECK(default_generator().offset() == 9);
    CHECK(Tape::active() == nullptr);
    return error;
  };
  int calls = 0;
  CHECK(backward(
            [&](const Variables& in) {
              return ++calls == 1 ? Variables{in[0]} : Variables{in[0], in[0]};
            },
            [](Tensor&) {}) == "checkpoint: the function gave 2 outputs in backward, 1 in forward");
  CHECK(backward([](const Variables& in) { return Variables{square(in[0])}; },
                 [](Tensor& value) { value.mutable_data<double>("adamw"); })
            .find("checkpoint: a saved tensor was overwritten by adamw") == 0);
  CHECK(backward([](const Variables&) -> Variables { fail<Error>("broken block"); },
                 [](Tensor&) {}) == "broken block");

  // A Variable of the tape that did not come in through `inputs` would lose its gradient.
  CHECK(error_of([] {
          Tape tape;
          const Variable x = leaf(Tensor::full({2}, 3, DType::kF64));
          const Variable captured = square(x);
          const Variable y = checkpoint(
              [&](const Variables& in) { return Variables{mul(in[0], captured)}; }, {x})[0];
          tape.backward({y}, {Tensor::full({2}, 1, DType::kF64)});
        }).find("mul: an input was recorded on another tape") == 0);
}
