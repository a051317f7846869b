#include "autograd/tape.h"

#include <doctest/doctest.h>

#include <string>

#include "autograd/ops.h"

using namespace ocellus;

namespace {

Tensor numbers(std::vector<double> values) {
  const auto n = static_cast<int64_t>(values.size());
  return Tensor::from(values, {n});
}

std::vector<double> list(const Tensor& x) { return x.to_vector<double>(); }

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// A parameter that remembers what reached it.
struct Sink : GradSink {
  Tensor value, sum;
  int arrivals = 0;
  void add_gradient(const Tensor& gradient) override {
    ++arrivals;
    sum = sum.defined() ? add(Variable(sum), Variable(gradient)).value() : gradient.clone();
  }
  Variable var() { return parameter_leaf(*this, value); }
};

Sample two_sample(Rng& r, const Shape& shape);

}  // namespace

// Two outputs: 2x and x², so that a missing cotangent can be seen. Its samples are those that every
// op must have; the suite does not link this file.
static Variables two(const Variable& x);
static const OpDef kTwo{.name = "test_two",
                        .inputs = {{"x"}},
                        .precision = Precision::kFollow,
                        .samples = {{"odd", [](Rng& r) { return two_sample(r, {3}); }}}};
static Variables two(const Variable& x) {
  const Variable c = constant(x.value());
  return record(kTwo, {x}, {mul(c, 2.0).value(), square(c).value()},
                [x = save(x)](const Tensors& dys, Needs) {
                  Tensor sum;
                  const auto push = [&](const Tensor& term) {
                    sum = sum.defined() ? add(Variable(sum), Variable(term)).value() : term;
                  };
                  if (dys[0].defined()) push(mul(Variable(dys[0]), 2.0).value());
                  if (dys[1].defined())
                    push(mul(mul(Variable(dys[1]), Variable(x())), 2.0).value());
                  return Tensors{sum};
                });
}
namespace {
Sample two_sample(Rng& r, const Shape& shape) {
  return {.inputs = {r.normal(shape)}, .run = [](const Variables& in) { return two(in[0]); }};
}
}  // namespace

TEST_CASE("tape: without one nothing is recorded, and a leaf is a constant") {
  const int64_t before = Tape::live_nodes();
  const Variable x = leaf(numbers({1, 2}));
  CHECK_FALSE(x.requires_grad());
  CHECK_FALSE(square(x).requires_grad());
  CHECK(Tape::active() == nullptr);
  CHECK(Tape::live_nodes() == before);
}

TEST_CASE("tape: constants record nothing, needed inputs do") {
  Tape tape;
  const Variable c = constant(numbers({1, 2}));
  CHECK_FALSE(square(c).requires_grad());
  CHECK(tape.node_count() == 0);
  const Variable y = mul(leaf(numbers({3, 4})), c);
  CHECK(y.requires_grad());
  CHECK(tape.node_count() == 1);
  CHECK(Tape::live_nodes() == 1);
}

TEST_CASE("tape: gradients of several uses are summed") {
  Tape tape;
  const Variable a = leaf(numbers({1, 2})), b = leaf(numbers({5, 7}));
  // add hands one dy to both inputs: adding into it in place would give db = 2·dy.
  const Variable z = add(add(a, b), a);
  tape.backward({z}, {numbers({10, 100})});
  CHECK(list(tape.gradient(a)) == std::vector<double>{20, 200});
  CHECK(list(tape.gradient(b)) == std::vector<double>{10, 100});
}

TEST_CASE("tape: a gradient that others hold is not written when another is added") {
  Tape tape;
  const Variable a = leaf(numbers({1, 2})), b = leaf(numbers({5, 7}));
  const Tensor dy = numbers({1, 1});
  // dy reaches a and b as the same block; a then receives two more.
  const Variable z = add(add(add(a, b), a), a);
  tape.backward({z}, {dy});
  CHECK(list(dy) == std::vector<double>{1, 1});
  CHECK(list(tape.gradient(a)) == std::vector<double>{3, 3});
  CHECK(list(tape.gradient(b)) == std::vector<double>{1, 1});
}

TEST_CASE("tape: a gradient with one owner is added to in place") {
  Tape tape;
  const Variable a = leaf(Tensor::full({1 << 18}, 3, DType::kF32));
  Variable sum = mul(a, 2.0);
  for (int i = 0; i < 20; ++i) sum = add(sum, mul(a, 2.0));
  const auto& allocator = *allocator_of(kCpu);
  allocator_of(kCpu)->reset_peak();
  const uint64_t before = allocator.stats().in_use;
  tape.backward({sum}, {Tensor::full(a.shape(), 1, DType::kF32)});
  CHECK(list(tape.gradient(a))[7] == 42);
  // The cotangent, the accumulated gradient, one that arrives: not one block per use.
  CHECK(allocator.stats().peak - before <= 4 * static_cast<uint64_t>(a.value().bytes()));
}

TEST_CASE("tape: several roots, each with its cotangent") {
  Tape tape;
  const Variable x = leaf(numbers({2, 3}));
  const Variable y = square(x), z = mul(x, 5.0);
  tape.backward({y, z}, {numbers({1, 10}), numbers({100, 1000})});
  CHECK(list(tape.gradient(x)) == std::vector<double>{504, 5060});
}

TEST_CASE("tape: an op with several outputs, one of them without a cotangent") {
  const auto gradient = [](bool first, bool second) {
    Tape tape;
    const Variable x = leaf(numbers({2, 3}));
    const Variables ys = two(x);
    Variables roots;
    Tensors cotangents;
    if (first) roots.push_back(ys[0]), cotangents.push_back(numbers({1, 1}));
    if (second) roots.push_back(ys[1]), cotangents.push_back(numbers({1, 10}));
    tape.backward(roots, cotangents);
    return tape.gradient(x);
  };
  CHECK(list(gradient(true, false)) == std::vector<double>{2, 2});
  CHECK(list(gradient(false, true)) == std::vector<double>{4, 60});
  CHECK(list(gradient(true, true)) == std::vector<double>{6, 62});
  CHECK_FALSE(gradient(false, false).defined());
}

TEST_CASE("tape: broadcast inputs get gradients of their own shape") {
  Tape tape;
  const Variable row = leaf(numbers({1, 2, 3}));
  const Variable x = leaf(Tensor::full({4, 3}, 2, DType::kF64));
  tape.backward({mul(x, row)}, {Tensor::full({4, 3}, 1, DType::kF64)});
  CHECK(list(tape.gradient(row)) == std::vector<double>{8, 8, 8});
  CHECK(tape.gradient(x).shape() == Shape{4, 3});
}

TEST_CASE("tape: tapes nest, the innermost records, and a cut passes gradients on") {
  Tape outer;
  const Variable x = leaf(numbers({3}));
  const Variable y = square(x);
  Tensor dy;
  {
    Tape inner;
    CHECK(Tape::active() == &inner);
    const Variable cut = leaf(y.value());
    const Variable loss = square(cut);
    CHECK(outer.node_count() == 1);
    CHECK(inner.node_count() == 1);
    inner.backward({loss}, {numbers({1})});
    dy = inner.gradient(cut);
  }
  CHECK(Tape::active() == &outer);
  outer.backward({y}, {dy});
  CHECK(list(outer.gradient(x)) == std::vector<double>{4 * 27});  // x⁴
}

TEST_CASE("tape: a variable of another tape is refused") {
  Tape outer;
  const Variable x = leaf(numbers({3}));
  {
    Tape inner;
    CHECK_FALSE(x.requires_grad());
    const std::string expected =
        "square: an input was recorded on another tape; pass constant(x.value()) or "
        "leaf(x.value()) to cut it off";
    CHECK(error_of([&] { square(x); }) == expected);
    const Variable y = leaf(numbers({1}));
    CHECK(error_of([&] { inner.backward({x}, {numbers({1})}); }) ==
          "backward: root 0 was not recorded on this tape");
    CHECK(square(constant(x.value())).value().item() == 9);
  }
}

TEST_CASE("tape: a second backward explains itself") {
  Tape tape;
  const Variable x = leaf(numbers({3})), y = square(x);
  tape.backward(y);
  CHECK(error_of([&] { tape.backward(y); }) ==
        "backward: this tape has already run backward; its saved tensors are freed. Record the "
        "computation again, or pass all roots in one call");
  CHECK(error_of([&] { square(x); }) == "square: this tape has already run backward");
}

TEST_CASE("tape: backward refuses roots and cotangents that do not fit") {
  Tape tape;
  const Variable x = leaf(numbers({3, 4})), y = square(x);
  CHECK(error_of([&] { tape.backward(y); }) == "backward: the loss must have one element, got [2]");
  CHECK(error_of([&] { tape.backward(Variables{y}, Tensors{}); }) ==
        "backward: needs one cotangent per root (1), got 0");
  CHECK(error_of([&] {
          tape.backward({y}, {numbers({1, 2, 3})});
        }) == "backward: cotangent 0 must be [2], got [3]");
  CHECK(error_of([&] {
          tape.backward({x, constant(x.value())}, {x.value(), x.value()});
        }) == "backward: root 1 was not recorded on this tape");
  CHECK(error_of([&] { tape.gradient(x); }) == "gradient: backward has not run on this tape");
  CHECK(error_of([&] { tape.gradient(y); }) == "gradient: the variable is no leaf of this tape");
  tape.backward({y}, {numbers({1, 1})});
  CHECK(list(tape.gradient(x)) == std::vector<double>{6, 8});
}

static const OpDef kWrong{.name = "test_wrong",
                          .inputs = {{"x"}},
                          .precision = Precision::kFollow,
                          .samples = {{"odd", [](Rng& r) { return two_sample(r, {3}); }}}};

TEST_CASE("tape: a backward that returns the wrong gradients is named") {
  const auto backward = [](Backward1 wrong) {
    return error_of([&] {
      Tape tape;
      const Variable x = leaf(numbers({1, 2}));
      tape.backward({record(kWrong, {x}, x.value(), wrong)}, {numbers({1, 1})});
    });
  };
  CHECK(backward([](const Tensor&, Needs) { return Tensors{}; }) ==
        "test_wrong: backward must return 1 gradients, got 0");
  CHECK(backward([](const Tensor& dy, Needs) { return Tensors{dy.to(DType::kF32)}; }) ==
        "test_wrong: gradient is f32, its input f64");
}

TEST_CASE("tape: StopRecording records nothing and ends with its scope") {
  Tape tape;
  const Variable x = leaf(numbers({3}));
  {
    const StopRecording stop;
    CHECK(Tape::active() == nullptr);
    CHECK_FALSE(square(x).requires_grad());
  }
  CHECK(tape.node_count() == 0);
  CHECK(square(x).requires_grad());
}

TEST_CASE("tape: a seed scales, and a leaf that nothing reached has no gradient") {
  Tape tape;
  const Variable x = leaf(numbers({3})), unused = leaf(numbers({1}));
  tape.backward(square(x), 0.5);
  CHECK(list(tape.gradient(x)) == std::vector<double>{3});
  CHECK_FALSE(tape.gradient(unused).defined());
}

TEST_CASE("tape: a parameter is one leaf however often it is read") {
  Sink weight;
  weight.value = numbers({2, 3});
  take_parameter_was_read();
  {
    Tape tape;
    tape.backward({mul(weight.var(), weight.var())}, {numbers({1, 1})});
  }
  CHECK(list(weight.sum) == std::vector<double>{4, 6});
  CHECK(weight.arrivals == 2);
  CHECK(take_parameter_was_read());
  CHECK_FALSE(take_parameter_was_read());
  CHECK_FALSE(weight.var().requires_grad());  // no tape
}

TEST_CASE("tape: a million nodes, no recursion, and none is left") {
  const int64_t before = Tape::live_nodes();
  {
    Tape tape;
    const Variable x = leaf(Tensor::scalar(1, DType::kF64));
    const Variable one = constant(Tensor::scalar(1, DType::kF64));
    Variable y = x;
    for (int i = 0; i < 1'000'000; ++i) y = add(y, one);
    CHECK(Tape::live_nodes() == before + 1'000'000);
    CHECK(y.value().item() == 1'000'001);
    tape.backward(y);
    CHECK(tape.gradient(x).item() == 1);
  }
  CHECK(Tape::live_nodes() == before);
}

TEST_CASE("tape: the report lists ops by the bytes that they hold") {
  Tape tape;
  const Variable x = leaf(Tensor::full({100}, 1, DType::kF32));
  const Variable y = mul(square(x), leaf(Tensor::full({100}, 1, DType::kF32)));
  add(y, y);
  CHECK(tape.saved_bytes() == 3 * 400);
  CHECK(tape.report() ==
        "op                         nodes     saved bytes\n"
        "mul                            1             800\n"
        "square                         1             400\n"
        "add                            1               0\n");
  CHECK(tape.has_node_of(*find_op("mul")));
  CHECK_FALSE(tape.has_node_of(*find_op("exp")));
}

TEST_CASE("tape: backward frees what nodes have saved as it passes") {
  Tape tape;
  const Variable x = leaf(Tensor::full({100}, 1, DType::kF32));
  Variable y = exp(square(x));
  const auto count = tape.saved_storages().size();
  CHECK(count == 2);
  const Variable loss = sum(y);
  y = Variable();
  tape.backward(loss);
  CHECK(tape.saved_storages().size() == 1);  // x, which is still held here
}

TEST_CASE("tape: recipes give the same bits with fewer bytes") {
  const auto run = [](bool recompute, int64_t& bytes) {
    const RecomputeScope scope(recompute);
    Tape tape;
    std::vector<double> values;
    for (int i = 0; i < 64; ++i) values.push_back(0.1 * i - 3);
    const Variable x = leaf(Tensor::from(values, {8, 8}).to(DType::kF32));
    const Variable w = leaf(Tensor::from(values, {8, 8}).to(DType::kF32));
    Variable h = x;  // gelu's output feeds two products: rebuilt once for both
    for (int layer = 0; layer < 3; ++layer) {
      const Variable a = gelu_tanh(h);
      h = add(matmul(a, w), matmul(a, w));
    }
    bytes = tape.saved_bytes();
    tape.backward({h}, {Tensor::full({8, 8}, 1, DType::kF32)});
    auto all = tape.gradient(x).to_vector<float>();
    const auto dw = tape.gradient(w).to_vector<float>();
    all.insert(all.end(), dw.begin(), dw.end());
    return all;
  };
  int64_t plain = 0, fewer = 0;
  const auto a = run(false, plain), b = run(true, fewer);
  CHECK(a == b);
  CHECK(plain - fewer == 3 * 2 * 8 * 8 * 4);  // each product kept its own copy of gelu's output
}
