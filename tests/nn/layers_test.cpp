#include "nn/layers.h"

#include <cmath>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

void set(Parameter& parameter, const std::vector<float>& values) {
  parameter.set_value(Tensor::from(values, parameter.shape()));
}
void set(Module& module, const std::string& name, const std::vector<float>& values) {
  for (auto& [n, parameter] : module.parameters())
    if (n == name) return set(*parameter, values);
  FAIL(name);
}
Variable row(const std::vector<float>& values) {
  return constant(Tensor::from(values, {1, static_cast<int64_t>(values.size())}));
}
double at(const Variable& v, size_t i) { return v.value().to_vector<double>()[i]; }

}  // namespace

TEST_CASE("layers: linear is x times the transposed weight plus bias") {
  Linear layer(2, 3, true), bare(2, 3, false);
  set(layer, "weight", {1, 2, 3, 4, 5, 6});
  set(layer, "bias", {10, 20, 30});
  CHECK(layer(row({1, -1})).value().to_vector<float>() == std::vector<float>{9, 19, 29});
  set(bare.weight(), {1, 2, 3, 4, 5, 6});
  CHECK(bare(row({1, -1})).value().to_vector<float>() == std::vector<float>{-1, -1, -1});
  CHECK(bare.parameters().size() == 1);
}

TEST_CASE("layers: embedding takes rows and refuses ids outside") {
  Embedding layer(3, 2);
  set(layer.weight(), {0, 1, 2, 3, 4, 5});
  CHECK(layer(Tensor::from<int64_t>({2, 0}, {2})).value().to_vector<float>() == std::vector<float>{4, 5, 0, 1});
  CHECK_THROWS_AS(layer(Tensor::from<int64_t>({3}, {1})), Error);
  CHECK_THROWS_AS(layer(Tensor::from<int64_t>({-1}, {1})), Error);
}

TEST_CASE("layers: norms start as weight 1 and bias 0 and follow their formulas") {
  LayerNorm layer(4, 1e-5);
  RmsNorm rms(4, 1e-6);
  init_parameters(layer, 0);
  init_parameters(rms, 0);
  const Variable x = row({1, 2, 3, 6});
  CHECK(at(layer(x), 0) == doctest::Approx(-2 / std::sqrt(3.5 + 1e-5)));
  CHECK(at(layer(x), 3) == doctest::Approx(3 / std::sqrt(3.5 + 1e-5)));
  CHECK(at(rms(x), 3) == doctest::Approx(6 / std::sqrt(12.5 + 1e-6)));
}

TEST_CASE("layers: patch embedding is a convolution with the stride of its kernel") {
  PatchEmbed layer(1, 1, 2);
  set(layer, "weight", {1, 10, 100, 1000});
  set(layer, "bias", {0.5});
  const Variable pixels = constant(Tensor::from<float>({1, 2, 3, 4, 5, 6, 7, 8}, {1, 1, 2, 4}));
  CHECK(layer(pixels).value().to_vector<float>() == std::vector<float>{6521.5, 8743.5});
}

TEST_CASE("layers: activations by their public names") {
  const double x = 0.7;
  auto value = [&](const char* name) { return at(activation(name, row({0.7f, -0.3f})), 0); };
  CHECK(value("gelu") == doctest::Approx(x * 0.5 * (1 + std::erf(x / std::sqrt(2)))).epsilon(1e-5));
  const double tanh_form = 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  CHECK(value("gelu_pytorch_tanh") == doctest::Approx(tanh_form).epsilon(1e-5));
  CHECK(value("gelu_new") == doctest::Approx(tanh_form).epsilon(1e-5));
  CHECK(value("quick_gelu") == doctest::Approx(x / (1 + std::exp(-1.702 * x))).epsilon(1e-5));
  CHECK(value("silu") == doctest::Approx(x / (1 + std::exp(-x))).epsilon(1e-5));
  CHECK(value("swish") == value("silu"));
  CHECK(value("tanh") == doctest::Approx(std::tanh(x)).epsilon(1e-5));
  CHECK(at(activation("relu", row({0.7f, -0.3f})), 1) == 0);
  CHECK(contains(error_of<FormatError>([] { activation("mish", row({1})); }), "mish"));
}

TEST_CASE("layers: dropout acts in training mode only") {
  const Variable x = constant(Tensor::full({1000}, 1, DType::kF32));
  auto zeros = [&] {
    int64_t count = 0;
    for (double v : apply_dropout(x, 0.5).value().to_vector<double>()) count += v == 0;
    return count;
  };
  CHECK(zeros() == 0);
  TrainingMode on(true);
  CHECK(zeros() > 400);
  CHECK(zeros() < 600);
  CHECK(apply_dropout(x, 0).value().to_vector<float>() == x.value().to_vector<float>());
}
