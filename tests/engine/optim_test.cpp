#include "engine/kernels/optim.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "engine/parallel.h"
#include "engine/random.h"

using namespace ocellus;

namespace {

Tensor values(std::vector<double> list, DType dtype = DType::kF64) {
  const Shape shape{static_cast<int64_t>(list.size())};
  return Tensor::from(list, shape).to(dtype).clone();
}

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

const std::vector<std::vector<double>> kGradients{{0.5, -1, 0}, {0.25, 2, -3}, {-1, 0.125, 0.75}};

void check_close(const Tensor& got, const std::vector<double>& expected, double tolerance) {
  const auto list = got.to_vector<double>();
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(std::fabs(list[i] - expected[i]) <= tolerance * std::fabs(expected[i]));
}

}  // namespace

TEST_CASE("optim: three steps of AdamW as PyTorch 2.13 computes them in double") {
  const std::vector<std::vector<double>> expected{
      {0.8801996007984032, -1.8600999000999001, 0.48999999999999999},
      {0.77076410399333983, -1.8647147169089868, 0.55774301704414775},
      {0.78461500558001229, -1.8619690233211292, 0.5844015156521768}};
  for (DType dtype : {DType::kF64, DType::kF32}) {
    Tensor p = values({1, -2, 0.5}, dtype), m = values({0, 0, 0}, dtype),
           v = values({0, 0, 0}, dtype);
    for (int64_t t = 0; t < 3; ++t) {
      // A clip factor of a quarter on gradients four times as large changes nothing.
      std::vector<double> gradient = kGradients[static_cast<size_t>(t)];
      for (double& g : gradient) g *= 4;
      adamw_step(p, values(gradient, dtype), m, v,
                 {.lr = 0.1,
                  .beta1 = 0.8,
                  .beta2 = 0.95,
                  .eps = 1e-3,
                  .weight_decay = 0.2,
                  .step = t + 1,
                  .gradient_scale = 0.25});
      check_close(p, expected[static_cast<size_t>(t)], dtype == DType::kF64 ? 1e-15 : 1e-6);
    }
  }
}

TEST_CASE("optim: three steps of SGD with momentum as PyTorch 2.13 computes them") {
  const std::vector<std::vector<double>> expected{
      {0.93, -1.86, 0.49}, {0.8234, -1.8968, 0.7712}, {0.810992, -1.904484, 0.933856}};
  Tensor p = values({1, -2, 0.5}), buffer = values({0, 0, 0});
  for (size_t t = 0; t < 3; ++t) {
    std::vector<double> gradient = kGradients[t];
    for (double& g : gradient) g *= 2;
    sgd_step(p, values(gradient), buffer, 0.1, 0.9, 0.2, 0.5);
    check_close(p, expected[t], 1e-14);
  }
}

TEST_CASE("optim: a long parameter is updated element by element, whatever the threads") {
  std::vector<double> list(100003);
  for (size_t i = 0; i < list.size(); ++i) list[i] = normal_at({7, 0}, i);
  const int before = num_threads();
  std::vector<std::vector<float>> results;
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    Tensor p = values(list, DType::kF32), m = values(list, DType::kF32);
    Tensor v = Tensor::full(p.shape(), 0.5, DType::kF32);
    const uint32_t version = p.version();
    adamw_step(p, values(list, DType::kF32), m, v, {.lr = 0.01, .weight_decay = 0.1, .step = 3});
    CHECK(p.version() > version);
    CHECK(std::string(p.storage()->last_writer) == "adamw");
    results.push_back(p.to_vector<float>());
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
  for (size_t i : {size_t{0}, size_t{16383}, size_t{16384}, size_t{100002}}) {
    const double g = list[i], m = 0.9 * g + 0.1 * g, v = 0.999 * 0.5 + 0.001 * g * g;
    const double update =
        m / (1 - std::pow(0.9, 3)) / (std::sqrt(v / (1 - std::pow(0.999, 3))) + 1e-8);
    CHECK(results[0][i] ==
          doctest::Approx(list[i] * (1 - 0.01 * 0.1) - 0.01 * update).epsilon(1e-5));
  }
}

TEST_CASE("optim: refuses moments and gradients that do not fit, in a sentence") {
  Tensor p = values({1, 2, 3}), m = values({0, 0, 0}), v = values({0, 0, 0}), two = values({0, 0});
  CHECK(error_of([&] { adamw_step(p, two, m, v, {}); }) ==
        "adamw: the gradient must be contiguous [3] f64, got [2] f64 on cpu");
  CHECK(error_of([&] { adamw_step(p, m, two, v, {}); }) ==
        "adamw: the first moment must be contiguous [3] f64, got [2] f64 on cpu");
  Tensor narrow = values({0, 0, 0}, DType::kF32);
  CHECK(error_of([&] { adamw_step(p, m, m, narrow, {}); }) ==
        "adamw: the second moment must be contiguous [3] f64, got [3] f32 on cpu");
  CHECK(error_of([&] { adamw_step(p, m, m, v, {.step = 0}); }) ==
        "adamw: steps count from 1, got 0");
  CHECK(error_of([&] { sgd_step(p, m, two, 0.1, 0.9, 0, 1); }) ==
        "sgd: the momentum must be contiguous [3] f64, got [2] f64 on cpu");
  CHECK(error_of([&] { sgd_step(p, two, m, 0.1, 0.9, 0, 1); }) ==
        "sgd: the gradient must be contiguous [3] f64, got [2] f64 on cpu");
  Tensor bf16s = values({0, 0, 0}, DType::kBF16);
  CHECK(error_of([&] { adamw_step(bf16s, bf16s, bf16s, bf16s, {}); }) ==
        "adamw: dtype must be one of f32 f64, got bf16");
  Tensor square = Tensor::zeros({2, 3}, DType::kF64).transposed(0, 1);
  CHECK(error_of([&] {
          sgd_step(square, square, square, 0.1, 0.9, 0, 1);
        }).find("sgd: the parameter must be contiguous [3, 2] f64") == 0);
}

TEST_CASE(
    "optim: the norm over several tensors, without overflow of f32 and for any thread count") {
  CHECK(global_norm({}) == 0);
  CHECK(global_norm({values({3}), values({}), values({4}, DType::kBF16)}) == 5);
  CHECK(global_norm({values({3e30, 4e30}, DType::kF32)}) == doctest::Approx(5e30));
  std::vector<double> list(200001);
  double squares = 0;
  for (size_t i = 0; i < list.size(); ++i) list[i] = static_cast<float>(normal_at({9, 0}, i));
  for (double x : list) squares += x * x;
  const Tensor x = values(list, DType::kF32);
  const int before = num_threads();
  set_num_threads(1);
  const double one = global_norm({x, x});
  set_num_threads(4);
  CHECK(global_norm({x, x}) == one);
  set_num_threads(before);
  CHECK(one == doctest::Approx(std::sqrt(2 * squares)).epsilon(1e-13));
}

TEST_CASE("optim: one value that is not finite is found anywhere, in every type") {
  const double inf = std::numeric_limits<double>::infinity();
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF64})
    for (double bad : {inf, -inf, std::nan("")})
      for (size_t at : {size_t{0}, size_t{777}, size_t{65536}, size_t{150000}}) {
        std::vector<double> list(150001, 1e30);
        CHECK_FALSE(has_nonfinite(values(list, dtype)));
        list[at] = bad;
        CHECK(has_nonfinite(values(list, dtype)));
      }
  CHECK_FALSE(has_nonfinite(values({3.4e38, -3.4e38, 1e-45}, DType::kF32)));
  CHECK_FALSE(has_nonfinite(values({})));
  CHECK(has_nonfinite(values({1, inf, 2, 3}).as_strided({2}, {1}, 1)));
  CHECK_FALSE(has_nonfinite(values({1, inf, 2, 3}).as_strided({2}, {2}, 0)));
}
