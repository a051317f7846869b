#include "engine/kernels/reduce.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "engine/parallel.h"
#include "engine/random.h"

using namespace ocellus;

namespace {

Tensor normals(const Shape& shape, DType dtype = DType::kF64) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal_at({1, 2}, i);
  return Tensor::from(values, shape).to(dtype);
}

// Σ element by element, by the indices alone.
std::vector<double> plain_sum(const Tensor& x, const Shape& to) {
  std::vector<double> out(static_cast<size_t>(to.numel()), 0.0);
  const auto values = x.to_vector<double>();
  const Strides strides = Strides::contiguous(to);
  for (size_t flat = 0; flat < values.size(); ++flat) {
    int64_t rest = static_cast<int64_t>(flat), at = 0;
    for (int i = x.rank() - 1; i >= 0; --i) {
      const int target = i - (x.rank() - to.rank());
      if (target >= 0 && to[target] != 1) at += rest % x.shape()[i] * strides[target];
      rest /= x.shape()[i];
    }
    out[static_cast<size_t>(at)] += values[flat];
  }
  return out;
}

void check_sum(const Tensor& x, const Shape& to, double factor = 1) {
  CAPTURE(to_string(x.shape()));
  CAPTURE(to_string(to));
  const Tensor y = sum_to(x, to, factor);
  CHECK(y.shape() == to);
  CHECK(y.dtype() == x.dtype());
  const auto got = y.to_vector<double>(), expected = plain_sum(x, to);
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::fabs(got[i] - factor * expected[i]));
  CHECK(worst < 1e-10);
}

}  // namespace

TEST_CASE("reduce: every choice of dimensions of a tensor of four") {
  const Tensor x = normals({3, 4, 5, 6});
  for (unsigned mask = 0; mask < 16; ++mask) {
    Shape to = x.shape();
    for (int i = 0; i < 4; ++i)
      if (mask >> i & 1u) to[i] = 1;
    check_sum(x, to);
  }
  check_sum(x, {5, 6});
  check_sum(x, {1, 6});
  check_sum(x, {});
  check_sum(x, {4, 1, 1}, -0.25);
  check_sum(x.permuted({2, 0, 3, 1}), {5, 1, 6, 1});
  check_sum(x.sliced(3, 1, 4), {3, 1, 5, 1});
  check_sum(normals({1, 4}).broadcast_to({3, 4}), {3, 1});
}

TEST_CASE("reduce: long rows, many rows, wide rows") {
  check_sum(normals({70001}), {});
  check_sum(normals({2, 70001}), {2, 1});
  check_sum(normals({3000, 65}), {65});
  check_sum(normals({40, 3000}), {3000});
  check_sum(normals({2, 900, 70}), {2, 1, 70});
  check_sum(normals({20000, 2}), {2});
}

TEST_CASE("reduce: nothing to sum gives 0, and no dimension to sum a copy") {
  CHECK(sum_to(Tensor::zeros({0, 3}, DType::kF32), {3}).to_vector<float>() ==
        std::vector<float>{0, 0, 0});
  CHECK(sum_to(Tensor::zeros({2, 0}, DType::kF32), {2, 1}).to_vector<float>() ==
        std::vector<float>{0, 0});
  CHECK(sum_to(Tensor::zeros({2, 0}, DType::kF32), {1, 0}).numel() == 0);
  const Tensor x = normals({2, 3});
  const Tensor y = sum_to(x, {2, 3}, 2);
  CHECK(y.storage() != x.storage());
  CHECK(y.to_vector<double>()[4] == 2 * x.to_vector<double>()[4]);
}

TEST_CASE("reduce: bf16 is summed in f32 and rounded once") {
  // In bf16 a sum of ones would stop at 256.
  CHECK(sum_to(Tensor::full({1000}, 1, DType::kBF16), {}).item() == 1000);
  CHECK(sum_to(Tensor::full({1000, 3}, 1, DType::kBF16), {3}).to_vector<double>()[2] == 1000);
  CHECK(sum_to(Tensor::full({2, 700, 3}, 1, DType::kBF16), {2, 1, 1}).to_vector<double>()[1] ==
        2096);
}

TEST_CASE(
    "reduce: a sum of a million equal f32, whose roundings all go one way, is right to 1e-5") {
  const Tensor x = Tensor::full({1 << 20}, 0.1, DType::kF32);
  const double exact = (1 << 20) * static_cast<double>(0.1f);
  CHECK(std::fabs(sum_to(x, {}).item() - exact) < 1e-5 * exact);
  const Tensor columns = Tensor::full({1 << 17, 8}, 0.1, DType::kF32);
  for (double y : sum_to(columns, {8}).to_vector<double>())
    CHECK(std::fabs(y - exact / 8) < 1e-5 * exact / 8);
}

TEST_CASE("reduce: the bits do not depend on the number of threads") {
  const int before = num_threads();
  for (const auto& [from, to] : {std::pair<Shape, Shape>{{2, 70001}, {2, 1}},
                                 {{9000, 33}, {33}},
                                 {{3, 900, 70}, {1, 900, 1}}}) {
    const Tensor x = normals(from, DType::kF32);
    set_num_threads(1);
    const Tensor one = sum_to(x, to);
    for (int threads : {2, 5}) {
      set_num_threads(threads);
      const Tensor y = sum_to(x, to);
      CHECK(std::memcmp(one.raw(), y.raw(), static_cast<size_t>(y.bytes())) == 0);
    }
  }
  set_num_threads(before);
}

TEST_CASE("reduce: what is refused") {
  CHECK_THROWS_WITH_AS(sum_to(normals({3, 4}), {3, 2}),
                       "sum_to: b must broadcast with a [3, 2], got [3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(sum_to(normals({1, 4}), {3, 4}), "sum_to: [1, 4] is no broadcast of [3, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(sum_to(Tensor::zeros({3}, DType::kI32), {}, 1, "sum"),
                       "sum: dtype must be one of f32 bf16 f64, got i32", DTypeError);
}
