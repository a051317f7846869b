// The float functions of engine/scalar/math.h against double, over bit patterns of the whole range.
#include "engine/scalar/math.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace ocellus;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kSmallest = std::numeric_limits<float>::min();  // of the normal numbers

// Distance between neighbouring floats at y, that of the smallest normal number below it.
double ulp(double y) {
  const float magnitude = std::max(std::fabs(static_cast<float>(y)), kSmallest);
  return static_cast<double>(std::nextafterf(magnitude, kInf)) - static_cast<double>(magnitude);
}

struct Errors {
  double ulps = 0, absolute = 0;
  float at = 0;  // where ulps was met
};

// Every 2003rd float, negative and positive, from `low` to `high`.
template <class F, class G>
Errors measure(float low, float high, F function, G exact) {
  Errors worst;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 2003) {
    const float x = math::detail::bits_to_float(static_cast<uint32_t>(bits));
    if (!(x >= low && x <= high)) continue;
    const double truth = exact(static_cast<double>(x));
    const double error = std::fabs(static_cast<double>(function(x)) - truth);
    worst.absolute = std::max(worst.absolute, error);
    if (error / ulp(truth) > worst.ulps) worst = {error / ulp(truth), worst.absolute, x};
  }
  return worst;
}

}  // namespace

TEST_CASE("math: exp is within 1 ulp where its result is a normal number") {
  const Errors e = measure(
      -87.3f, 88.72f, [](float x) { return math::exp(x); }, [](double x) { return std::exp(x); });
  CAPTURE(e.at);
  CHECK(e.ulps <= 1);
  CHECK(e.ulps > 0.3);  // the measurement measures
}

TEST_CASE("math: exp at the ends of its range") {
  CHECK(math::exp(0.0f) == 1.0f);
  CHECK(math::exp(-0.0f) == 1.0f);
  CHECK(math::exp(1e-45f) == 1.0f);
  CHECK(math::exp(88.7228f) < kInf);
  CHECK(math::exp(88.73f) == kInf);
  CHECK(math::exp(1000.0f) == kInf);
  CHECK(math::exp(kInf) == kInf);
  CHECK(math::exp(-87.3f) > 0.0f);
  CHECK(math::exp(-87.31f) == 0.0f);  // no denormal results
  CHECK(math::exp(-kInf) == 0.0f);
  CHECK(std::isnan(math::exp(kNan)));
  CHECK(math::exp(1.0) == std::exp(1.0));
}

TEST_CASE("math: tanh is within 1.5 ulp everywhere") {
  const Errors e = measure(
      -kInf, kInf, [](float x) { return math::tanh(x); }, [](double x) { return std::tanh(x); });
  CAPTURE(e.at);
  CHECK(e.ulps <= 1.5);
  CHECK(math::tanh(kInf) == 1.0f);
  CHECK(math::tanh(-kInf) == -1.0f);
  CHECK(math::tanh(1e-42f) == 1e-42f);
  CHECK(std::isnan(math::tanh(kNan)));
}

TEST_CASE("math: erf is within 1.5 ulp and 9e-8 everywhere") {
  const Errors e = measure(
      -kInf, kInf, [](float x) { return math::erf(x); }, [](double x) { return std::erf(x); });
  CAPTURE(e.at);
  CHECK(e.ulps <= 1.5);
  CHECK(e.absolute <= 9e-8);
  CHECK(math::erf(kInf) == 1.0f);
  CHECK(math::erf(-kInf) == -1.0f);
  CHECK(math::erf(0.0f) == 0.0f);
  CHECK(std::isnan(math::erf(kNan)));
}

TEST_CASE("math: sigmoid is within 2.5 ulp above -87.3, and 0 from -88.73 on") {
  const auto exact = [](double x) { return 1 / (1 + std::exp(-x)); };
  const Errors e = measure(
      -87.3f, kInf, [](float x) { return math::sigmoid(x); }, exact);
  CAPTURE(e.at);
  CHECK(e.ulps <= 2.5);
  CHECK(e.absolute <= 1e-7);
  CHECK(math::sigmoid(-88.73f) == 0.0f);
  CHECK(math::sigmoid(-kInf) == 0.0f);
  CHECK(math::sigmoid(kInf) == 1.0f);
  CHECK(math::sigmoid(0.0f) == 0.5f);
  CHECK(std::isnan(math::sigmoid(kNan)));
}

TEST_CASE("math: softplus is within 2 ulp above -87.3, and 0 below") {
  const auto exact = [](double x) {
    return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
  };
  const Errors e = measure(
      -87.3f, 1e30f, [](float x) { return math::softplus(x); }, exact);
  CAPTURE(e.at);
  CHECK(e.ulps <= 2);
  CHECK(math::softplus(-100.0f) == 0.0f);
  CHECK(math::softplus(200.0f) == 200.0f);
}

TEST_CASE("math: double is the function of <cmath>") {
  for (double x : {-3.5, -1e-8, 0.7, 12.0}) {
    CHECK(math::tanh(x) == std::tanh(x));
    CHECK(math::erf(x) == std::erf(x));
    CHECK(math::exp(x) == std::exp(x));
  }
}
