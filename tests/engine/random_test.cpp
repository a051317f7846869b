#include "engine/random.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace ocellus;

namespace {
void check_block(Philox4 counter, uint32_t key0, uint32_t key1, Philox4 expected) {
  const Philox4 got = philox4x32(counter, key0, key1);
  for (int i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(got.word[i] == expected.word[i]);
  }
}
}  // namespace

// Published with the reference implementation: Random123, tests/kat_vectors, philox4x32 with 10
// rounds.
TEST_CASE("random: Philox 4x32-10 gives the published numbers") {
  check_block({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  check_block({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff, 0xffffffff,
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  check_block({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE(
    "random: a key's block is Philox of (block, offset) under the seed, word i its i mod 4th") {
  const RngKey key{.seed = 0x299f31d0a4093822, .offset = 0x0370734413198a2e};
  const Philox4 expected = {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
  const uint64_t block = 0x85a308d3243f6a88;
  for (int i = 0; i < 4; ++i) CHECK(key.block(block).word[i] == expected.word[i]);
  for (uint64_t i = 0; i < 9; ++i) CHECK(key.word(i) == key.block(i / 4).word[i % 4]);
}

TEST_CASE("random: a generator's keys differ in offset, and its state is two numbers") {
  Generator generator(7);
  const RngKey a = generator.next(), b = generator.next();
  CHECK(a.seed == 7);
  CHECK(a.offset == 0);
  CHECK(b.offset == 1);
  Generator again(generator.seed(), generator.offset());
  CHECK(again.next().offset == 2);
  again.set(9, 40);
  CHECK(again.next().word(3) == RngKey{9, 40}.word(3));
  CHECK(RngKey{9, 40}.word(3) != RngKey{9, 41}.word(3));
  CHECK(RngKey{9, 40}.word(3) != RngKey{10, 40}.word(3));
}

TEST_CASE("random: uniforms lie in [0, 1) and are exact multiples of 2^-24") {
  CHECK(uniform01(0) == 0.0f);
  CHECK(uniform01(0xffffffff) == 1.0f - 0x1p-24f);
  CHECK(uniform01(0x80000000) == 0.5f);
}

TEST_CASE("random: normal numbers have mean 0, variance 1 and the tails of a normal distribution") {
  const RngKey key{3, 5};
  const int n = 100000;
  double sum = 0, squares = 0, fourth = 0;
  int beyond_two = 0;
  for (int i = 0; i < n; ++i) {
    const double x = normal_at(key, static_cast<uint64_t>(i));
    REQUIRE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    beyond_two += std::fabs(x) > 2;
  }
  // Five standard errors each.
  CHECK(std::fabs(sum / n) < 5 / std::sqrt(n));
  CHECK(std::fabs(squares / n - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::fabs(fourth / n - 3) < 5 * std::sqrt(96.0 / n));
  CHECK(std::fabs(beyond_two / double(n) - 0.0455003) < 5 * std::sqrt(0.0455 * 0.9545 / n));
}
