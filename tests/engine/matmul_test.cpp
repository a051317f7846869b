#include "engine/kernels/matmul.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "engine/kernels/argmax.h"
#include "engine/kernels/linear.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/rows/monoids.h"

using namespace ocellus;

namespace {

Tensor numbers(const Shape& shape, uint64_t seed, DType dtype = DType::kF64) {
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

// Every product of the broadcast batch by three loops, added up where `batch` has it once.
Tensor by_loops(const Tensor& a, const Tensor& b, const Shape& batch) {
  const Shape full = broadcast_shapes("test", batch_of(a.shape()), batch_of(b.shape()));
  const int64_t m = a.dim(-2), k = a.dim(-1), n = b.dim(-1);
  auto with = [](Shape s, int64_t rows, int64_t columns) {
    s.push_back(rows);
    s.push_back(columns);
    return s;
  };
  const auto x = a.broadcast_to(with(full, m, k)).to_vector<double>();
  const auto y = b.broadcast_to(with(full, k, n)).to_vector<double>();
  Tensor out = Tensor::zeros(with(batch, m, n), DType::kF64);
  double* c = out.mutable_data<double>("test");
  const int shift = full.rank() - batch.rank();
  for (int64_t item = 0; item < full.numel(); ++item) {
    int64_t rest = item, target = 0, step = 1;
    for (int d = full.rank() - 1; d >= shift; --d) {
      const int64_t at = rest % full[d];
      rest /= full[d];
      if (batch[d - shift] != 1) target += at * step;
      step *= batch[d - shift];
    }
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        for (int64_t l = 0; l < k; ++l)
          c[(target * m + i) * n + j] += x[(item * m + i) * k + l] * y[(item * k + l) * n + j];
  }
  return out;
}

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::fabs(x[i] - y[i]));
  return worst;
}

}  // namespace

TEST_CASE("matmul: every way of broadcasting and summing equals three loops") {
  struct Case {
    Shape a, b, batch;
  };
  const Case cases[] = {
      {{3, 4}, {4, 5}, {}},
      {{6, 3, 4}, {4, 5}, {6}},     // folds into rows
      {{6, 3, 4}, {6, 4, 5}, {}},   // folds into depth
      {{6, 1, 4}, {4, 5}, {6}},     // one row each
      {{6, 3, 1}, {6, 1, 5}, {1}},  // outer products, summed
      {{4, 5}, {6, 5, 2}, {6}},     // one left matrix
      {{2, 3, 4, 5}, {3, 5, 2}, {2, 3}},
      {{2, 3, 4, 5}, {3, 5, 2}, {3}},  // summed over the outer one
      {{2, 3, 4, 5}, {2, 3, 5, 2}, {2, 1}},
      {{2, 1, 4, 5}, {3, 5, 2}, {1, 3}},
      {{2, 3, 4, 5}, {5, 2}, {}},
      {{40, 12, 16}, {40, 16, 12}, {40}},
  };
  for (const Case& c : cases) {
    CAPTURE(to_string(c.a));
    CAPTURE(to_string(c.b));
    CAPTURE(to_string(c.batch));
    const Tensor a = numbers(c.a, 1), b = numbers(c.b, 2);
    const Tensor expected = by_loops(a, b, c.batch);
    CHECK(difference(matmul_forward(a, b, c.batch), expected) < 1e-12);
    // The same elements in other places: matrices, or all dimensions, the other way round.
    const Tensor a_turned = a.transposed(-1, -2).clone().transposed(-1, -2);
    const Tensor b_turned = b.transposed(0, -1).clone().transposed(0, -1);
    CHECK(difference(matmul_forward(a_turned, b, c.batch), expected) < 1e-12);
    CHECK(difference(matmul_forward(a, b_turned, c.batch), expected) < 1e-12);
    CHECK(difference(matmul_forward(a_turned, b_turned, c.batch), expected) < 1e-12);
  }
}

TEST_CASE("matmul: an empty sum is zero, an empty result is empty") {
  CHECK(matmul_forward(numbers({2, 0}, 1), numbers({0, 3}, 2), {}).to_vector<double>() ==
        std::vector<double>(6, 0.0));
  CHECK(matmul_forward(numbers({0, 2, 4}, 1), numbers({0, 4, 3}, 2), {}).to_vector<double>() ==
        std::vector<double>(6, 0.0));
  CHECK(matmul_forward(numbers({5, 0, 4}, 1), numbers({4, 3}, 2), {5}).shape() == Shape{5, 0, 3});
}

TEST_CASE("matmul: bf16 products that are added up round once") {
  // 256 + 1 + 1 … in bf16 would stay 256: the spacing there is 2. The outer batch cannot fold.
  const Tensor a = Tensor::full({2, 3, 1, 1}, 1, DType::kBF16);
  std::vector<double> values{256, 7, 7, 3, 7, 7};
  const Tensor b = Tensor::from(values, {2, 3, 1, 1}).to(DType::kBF16);
  const Tensor y = matmul_forward(a.transposed(0, 1), b.transposed(0, 1).clone(), {3, 1});
  CHECK(y.dtype() == DType::kBF16);
  CHECK(y.to_vector<double>()[0] == 260);  // 259 to the nearest even
  CHECK(y.to_vector<double>()[1] == 14);
}

TEST_CASE("matmul: refuses shapes and types that do not fit, in a sentence") {
  CHECK(error_of([] {
          matmul_forward(numbers({3}, 1), numbers({3, 2}, 2), {});
        }) == "matmul: a and b must have at least two dimensions, got [3] and [3, 2]");
  CHECK(error_of([] {
          matmul_forward(numbers({2, 3}, 1), numbers({4, 2}, 2), {});
        }) == "matmul: b must have 3 rows (the columns of a), got 4; the product is [2, 3]·[4, 2]");
  CHECK(error_of([] {
          matmul_forward(numbers({2, 3}, 1), numbers({3, 2}, 2, DType::kF32), {});
        }) == "matmul: a and b must have one dtype, got f64 and f32");
  CHECK(error_of([] {
          matmul_forward(numbers({6, 2, 3}, 1), numbers({3, 2}, 2), {5});
        }).find("matmul") == 0);
}

TEST_CASE("linear: a bf16 weight serves f32 activations") {
  const Tensor x = numbers({7, 12}, 1, DType::kF32), w = numbers({5, 12}, 2, DType::kBF16);
  const Tensor bias = numbers({5}, 3, DType::kF32);
  const Tensor y = linear_forward(x, w, bias);
  CHECK(y.dtype() == DType::kF32);
  CHECK(difference(y, linear_forward(x, w.to(DType::kF32), bias)) == 0);
  CHECK(error_of([&] { linear_forward(x, w.to(DType::kF64), bias); }) ==
        "linear: weight must be f32 (as x) or bf16, got f64");
  CHECK(error_of([&] { linear_forward(x.to(DType::kF64), w, bias); }) ==
        "linear: weight must be f64 (as x), got bf16");
}

TEST_CASE(
    "linear: gradients of a strided dy and of many rows, the same bits for any thread count") {
  const Tensor dy = numbers({1000, 2, 33}, 1, DType::kF32).transposed(0, 1);  // rows do not merge
  const Tensor x = numbers({2, 1000, 20}, 2, DType::kF32);
  const int before = num_threads();
  set_num_threads(1);
  const auto bias = linear_backward_bias(dy, DType::kF32).to_vector<float>();
  const auto weight = linear_backward_weight(dy, x, DType::kF32).to_vector<float>();
  set_num_threads(3);
  CHECK(linear_backward_bias(dy, DType::kF32).to_vector<float>() == bias);
  CHECK(linear_backward_weight(dy, x, DType::kF32).to_vector<float>() == weight);
  set_num_threads(before);
  const auto values = dy.to_vector<double>();
  for (size_t j = 0; j < 33; ++j) {
    double sum = 0;
    for (size_t i = 0; i < 2000; ++i) sum += values[i * 33 + j];
    CHECK(bias[j] == doctest::Approx(sum).epsilon(1e-5).scale(10));
  }
}

TEST_CASE("linear: the bias gradient of no rows is zero") {
  CHECK(linear_backward_bias(numbers({0, 3}, 1), DType::kF64).to_vector<double>() ==
        std::vector<double>(3, 0.0));
}

TEST_CASE("argmax: the first of equal values, in every piece of a long row") {
  CHECK(argmax_last(Tensor::from(std::vector<float>{1, 3, 3, 2, 0, 0, -1, 0}, {2, 4}))
            .to_vector<int64_t>() == std::vector<int64_t>{1, 0});
  std::vector<float> row(5000, 0.5f);
  for (int64_t at : {4999, 3333, 1024, 1023, 31, 0}) {
    row[static_cast<size_t>(at)] = 2;
    const Tensor y = argmax_last(Tensor::from(row, {5000}));
    CHECK(y.shape() == Shape{});
    CHECK(y.to_vector<int64_t>() == std::vector<int64_t>{at});
  }
}

TEST_CASE("argmax: equals the monoid ArgMax pushed one by one, in every type") {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64}) {
    const Tensor x = numbers({9, 2500}, 4, dtype);  // bf16 has many ties
    const auto values = x.to_vector<double>();
    const auto got = argmax_last(x.transposed(0, 1).clone().transposed(0, 1)).to_vector<int64_t>();
    for (int64_t i = 0; i < 9; ++i) {
      ArgMax<double> expected;
      for (int64_t j = 0; j < 2500; ++j)
        expected.push(values[static_cast<size_t>(i * 2500 + j)], j);
      CHECK(got[static_cast<size_t>(i)] == expected.index);
    }
  }
}

TEST_CASE("argmax: infinities, NaN and empty rows") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const Tensor x = Tensor::from(
      std::vector<double>{-inf, -inf, -inf, nan, 1, 2, nan, nan, nan, nan, -inf, 0, 1, inf, nan},
      {5, 3});
  CHECK(argmax_last(x).to_vector<int64_t>() == std::vector<int64_t>{0, 2, 0, 2, 1});
  CHECK(error_of([] {
          argmax_last(numbers({3, 0}, 1));
        }) == "argmax_last: the last dimension of x must not be empty, got [3, 0]");
}
