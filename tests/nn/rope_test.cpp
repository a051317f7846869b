#include "nn/rope.h"

#include <cmath>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

TEST_CASE("rope: default frequencies are theta^(-2i/D)") {
  const auto f = rope_frequencies({.theta = 10000}, 8);
  REQUIRE(f.size() == 4);
  CHECK(f[0] == 1);
  CHECK(f[1] == doctest::Approx(0.1));
  CHECK(f[2] == doctest::Approx(0.01));
  CHECK(f[3] == doctest::Approx(0.001));
  const auto linear = rope_frequencies({.type = "linear", .theta = 10000, .factor = 4}, 8);
  for (size_t i = 0; i < 4; ++i) CHECK(linear[i] == doctest::Approx(f[i] / 4));
}

TEST_CASE("rope: llama3 keeps short waves, divides long ones, blends between") {
  RopeConfig config{.type = "llama3", .theta = 500000, .factor = 8, .low_freq_factor = 1,
                    .high_freq_factor = 4, .original_max_position_embeddings = 8192};
  const auto scaled = rope_frequencies(config, 128);
  const auto plain = rope_frequencies({.theta = 500000}, 128);
  int kept = 0, divided = 0, blended = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wave = 2 * M_PI / plain[i];
    if (wave < 8192.0 / 4) {
      CHECK(scaled[i] == plain[i]);
      ++kept;
    } else if (wave > 8192) {
      CHECK(scaled[i] == doctest::Approx(plain[i] / 8));
      ++divided;
    } else {
      CHECK(scaled[i] < plain[i]);
      CHECK(scaled[i] > plain[i] / 8);
      const double smooth = (8192 / wave - 1) / 3;
      CHECK(scaled[i] == doctest::Approx((1 - smooth) * plain[i] / 8 + smooth * plain[i]));
      ++blended;
    }
    if (i) CHECK(scaled[i] < scaled[i - 1]);
  }
  CHECK(kept == 29);
  CHECK(blended == 6);
  CHECK(divided == 29);
}

TEST_CASE("rope: tables hold cosines and sines of position times frequency") {
  const Tensor positions = Tensor::from<int64_t>({0, 3, 1000000, 7}, {2, 2});
  const auto f = rope_frequencies({}, 4);
  const RopeTables tables = rope_tables(f, positions, DType::kF64);
  CHECK(tables.cos.shape() == Shape{2, 2, 2});
  const auto c = tables.cos.to_vector<double>(), s = tables.sin.to_vector<double>();
  CHECK(c[0] == 1);
  CHECK(s[0] == 0);
  CHECK(c[2] == std::cos(3.0));
  CHECK(s[3] == std::sin(3 * f[1]));
  CHECK(s[4] == std::sin(1e6));
  CHECK(rope_tables(f, positions, DType::kF32).sin.to_vector<float>()[4] == static_cast<float>(std::sin(1e6)));
  CHECK(positions_from(5, 3).to_vector<int64_t>() == std::vector<int64_t>{5, 6, 7});
}

TEST_CASE("rope: odd head sizes, unknown types and flat positions are refused") {
  CHECK(contains(error_of<FormatError>([] { rope_frequencies({}, 7); }), "head_dim must be even, got 7"));
  CHECK(contains(error_of<FormatError>([] { rope_frequencies({.type = "su"}, 8); }), "got \"su\""));
  CHECK(contains(error_of<ShapeError>([] { rope_tables({1.0}, Tensor::from<int64_t>({1}, {1}), DType::kF32); }),
                 "positions must be [rows, T], got [1]"));
}

TEST_CASE("rope: dynamic changes the base only beyond the trained length") {
  const RopeConfig config{.type = "dynamic", .theta = 10000, .factor = 2, .max_position_embeddings = 16};
  CHECK(rope_frequencies(config, 8, 16) == rope_frequencies({.theta = 10000}, 8));
  const auto longer = rope_frequencies(config, 8, 24);
  const double theta = 10000 * std::pow(2 * 24.0 / 16 - 1, 8.0 / 6);
  for (size_t i = 0; i < 4; ++i)
    CHECK(longer[i] == doctest::Approx(std::pow(theta, -2.0 * static_cast<double>(i) / 8)));
}

TEST_CASE("rope: yarn keeps fast pairs, divides slow ones, and warms the scores") {
  RopeConfig config{.type = "yarn", .theta = 10000, .factor = 4, .original_max_position_embeddings = 4096};
  const auto scaled = rope_frequencies(config, 128), plain = rope_frequencies({.theta = 10000}, 128);
  CHECK(scaled[0] == plain[0]);
  CHECK(scaled[20] == plain[20]);
  CHECK(scaled[46] == doctest::Approx(plain[46] / 4));
  CHECK(scaled[63] == doctest::Approx(plain[63] / 4));
  CHECK(scaled[33] < plain[33]);
  CHECK(scaled[33] > plain[33] / 4);
  CHECK(rope_attention_factor(config) == doctest::Approx(0.1 * std::log(4) + 1));
  config.mscale = 0.5;
  config.mscale_all_dim = 2;
  CHECK(rope_attention_factor(config) == doctest::Approx((0.05 * std::log(4) + 1) / (0.2 * std::log(4) + 1)));
  config.attention_factor = 0.75;
  CHECK(rope_attention_factor(config) == 0.75);
  CHECK(rope_attention_factor({.type = "linear", .factor = 4}) == 1);
}

TEST_CASE("rope: only a share of a head is turned, if the config says so") {
  CHECK(rope_frequencies({.partial_rotary_factor = 0.25}, 16).size() == 2);
  CHECK(contains(error_of<FormatError>([] { rope_frequencies({.partial_rotary_factor = 0.2}, 16); }),
                 "head_dim must be even, got 3 of 16"));
}
