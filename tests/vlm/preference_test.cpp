#include "vlm/preference.h"

#include <cmath>

#include "autograd/tape.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

#define CHECK_CONTAINS(text, part)           \
  do {                                       \
    const std::string got = text;            \
    CHECK_MESSAGE(contains(got, part), got); \
  } while (false)

namespace {
Tensor column(const std::vector<double>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())});
}
double loss_at(double difference, PreferenceConfig config) {
  const Tensor zero = column({0});
  return preference_loss(constant(column({difference})), constant(zero), zero, zero, config)
      .loss.value()
      .item();
}
}  // namespace

TEST_CASE("preference: the sigmoid loss has the known values") {
  PreferenceConfig one{.beta = 1};
  CHECK(loss_at(0, one) == doctest::Approx(0.693147).epsilon(1e-6));
  CHECK(loss_at(0.5, one) == doctest::Approx(0.474077).epsilon(1e-5));
  CHECK(loss_at(2, one) == doctest::Approx(0.126928).epsilon(1e-5));
  CHECK(loss_at(-800, one) == doctest::Approx(800));  // no overflow
  CHECK(loss_at(800, one) == doctest::Approx(0));
  one.label_smoothing = 0.1;
  CHECK(loss_at(-2, one) == doctest::Approx(1.92693).epsilon(1e-5));
  CHECK(loss_at(10, one) == doctest::Approx(1.00005).epsilon(1e-5));
  CHECK(loss_at(std::log(9.0), one) == doctest::Approx(0.325083).epsilon(1e-5));  // its minimum
}

TEST_CASE("preference: ipo is the square around 1/(2 beta)") {
  PreferenceConfig config{.loss_type = "ipo", .beta = 0.1};
  CHECK(loss_at(5, config) == doctest::Approx(0));
  CHECK(loss_at(3, config) == doctest::Approx(4));
}

TEST_CASE(
    "preference: the slope of the sigmoid loss is -beta·σ(-beta·h), and rewards carry no "
    "gradient") {
  Tape tape;
  const Variable chosen = leaf(column({1, 0.3})), rejected = leaf(column({-1, 0}));
  const PreferenceLoss loss =
      preference_loss(chosen, rejected, column({0.5, 0}), column({-0.5, 0}), {.beta = 2});
  tape.backward(loss.loss);
  const auto slope = [](double h) { return -2 / (1 + std::exp(2 * h)) / 2; };
  CHECK(tape.gradient(chosen).to_vector<double>()[0] == doctest::Approx(slope(1)));
  CHECK(tape.gradient(chosen).to_vector<double>()[1] == doctest::Approx(slope(0.3)));
  CHECK(tape.gradient(rejected).to_vector<double>()[0] == doctest::Approx(-slope(1)));
  CHECK(loss.chosen_rewards.to_vector<double>() == std::vector<double>{1, 0.6});
  CHECK(loss.rejected_rewards.to_vector<double>() == std::vector<double>{-1, 0});
}

TEST_CASE("preference: log-probabilities count targets after the shift, summed or averaged") {
  // Two tokens, logits (0, ln 3): probabilities 1/4 and 3/4 everywhere.
  std::vector<double> logits;
  for (int i = 0; i < 2 * 3; ++i) logits.insert(logits.end(), {0, std::log(3.0)});
  const Variable x = constant(Tensor::from(logits, {2, 3, 2}));
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 1, 1, -100, 0}, {2, 3});
  const auto sum = sequence_logps(x, labels, false).value().to_vector<double>();
  CHECK(sum[0] == doctest::Approx(2 * std::log(0.75)));
  CHECK(sum[1] == doctest::Approx(std::log(0.25)));
  CHECK(sequence_logps(x, labels, true).value().to_vector<double>()[0] ==
        doctest::Approx(std::log(0.75)));
  const Tensor none = Tensor::from(std::vector<int64_t>{0, 1, 1, 1, -100, -100}, {2, 3});
  CHECK_CONTAINS(error_of<UsageError>([&] { sequence_logps(x, none, false); }),
                 "row 1 has no target");
}

TEST_CASE("preference: what does not fit is refused") {
  const Variable one = constant(column({1}));
  auto refused = [&](PreferenceConfig config) {
    return error_of<UsageError>(
        [&] { preference_loss(one, one, column({0}), column({0}), config); });
  };
  CHECK_CONTAINS(refused({.loss_type = "hinge"}), "loss_type \"hinge\" is not one of sigmoid, ipo");
  CHECK_CONTAINS(refused({.beta = 0}), "beta must be positive, got 0");
  CHECK_CONTAINS(refused({.label_smoothing = 0.5}), "label_smoothing must be in [0, 0.5)");
  CHECK_CONTAINS(refused({.loss_type = "ipo", .label_smoothing = 0.1}),
                 "ipo has no label_smoothing");
  CHECK_CONTAINS(error_of<ShapeError>([&] {
                   preference_loss(one, one, column({0, 1}), column({0}), {});
                 }),
                 "all log-probabilities must be [B], got [1], [1], [2] and [1]");
}
