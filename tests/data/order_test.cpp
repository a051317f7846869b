#include "data/order.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

std::vector<uint64_t> order(uint64_t seed, uint64_t epoch, uint64_t n) {
  std::vector<uint64_t> out;
  for (uint64_t p = 0; p < n; ++p) out.push_back(permuted(seed, epoch, p, n));
  return out;
}

bool is_permutation(std::vector<uint64_t> values) {
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] != i) return false;
  return true;
}

}  // namespace

TEST_CASE("order: permuted is a permutation for every n") {
  for (uint64_t n = 1; n <= 300; ++n)
    for (uint64_t epoch : {0, 1, 7}) CHECK(is_permutation(order(42, epoch, n)));
  for (uint64_t n : {4095, 4096, 4097, 38575}) CHECK(is_permutation(order(1, 0, n)));
}

TEST_CASE("order: seeds and epochs give different orders, the same ones the same") {
  CHECK(order(1, 0, 1000) == order(1, 0, 1000));
  CHECK(order(1, 0, 1000) != order(1, 1, 1000));
  CHECK(order(1, 0, 1000) != order(2, 0, 1000));
  std::set<std::vector<uint64_t>> seen;  // of the 120 orders of five things
  for (uint64_t seed = 0; seed < 3000; ++seed) seen.insert(order(seed, 0, 5));
  CHECK(seen.size() == 120);
}

TEST_CASE("order: the order looks random") {
  // Over many epochs every sample stands first about equally often: chi-square with 96 degrees of
  // freedom.
  constexpr uint64_t n = 97, epochs = 20000;
  std::vector<double> count(n);
  for (uint64_t e = 0; e < epochs; ++e) ++count[permuted(5, e, 0, n)];
  double chi = 0;
  for (double c : count)
    chi += (c - epochs / double{n}) * (c - epochs / double{n}) / (epochs / double{n});
  CHECK(chi < 150);
  CHECK(chi > 55);
  // Neighbours in the order are not neighbours in the data: the rank correlation with the identity
  // is small.
  const std::vector<uint64_t> o = order(9, 3, 10000);
  double correlation = 0;
  for (size_t i = 0; i < o.size(); ++i)
    correlation += (static_cast<double>(i) - 4999.5) * (static_cast<double>(o[i]) - 4999.5);
  CHECK(std::abs(correlation / (1e4 * (1e8 - 1) / 12)) < 0.04);
}

TEST_CASE("order: huge sets, and positions outside") {
  const uint64_t n = (uint64_t{1} << 40) + 12345;
  for (uint64_t p : {uint64_t{0}, n / 2, n - 1}) CHECK(permuted(1, 2, p, n) < n);
  CHECK(permuted(1, 2, ~uint64_t{0} - 1, ~uint64_t{0}) < ~uint64_t{0});
  CHECK(error_of<UsageError>([] { permuted(1, 0, 5, 5); }) ==
        "permuted: position 5 is not below 5");
}

TEST_CASE("order: one source is gone through once an epoch") {
  const Mixture mixture(7, {100}, {2.0});
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<uint64_t> seen;
    for (uint64_t p = epoch * 100; p < (epoch + 1) * 100; ++p) {
      const Place place = mixture.at(p);
      CHECK(place.epoch == epoch);
      seen.push_back(place.index);
    }
    CHECK(is_permutation(seen));
  }
}

TEST_CASE("order: a mixture honours weights and repeats nothing within a source's epoch") {
  const Mixture mixture(7, {1000, 50, 300, 10}, {3, 1, 1e-9, 0});
  std::map<std::pair<uint32_t, uint64_t>, std::set<uint64_t>> seen;
  int repeats = 0;
  std::vector<uint64_t> count(4);
  const uint64_t total = 3 * 65536;
  for (uint64_t p = 0; p < total; ++p) {
    const Place place = mixture.at(p);
    ++count[place.source];
    repeats += !seen[std::pair(place.source, place.epoch)].insert(place.index).second;
  }
  CHECK(repeats == 0);
  CHECK(count[2] == 3);  // the smallest weight still appears, once a block
  CHECK(count[3] == 0);
  CHECK(count[0] + count[1] + count[2] == total);
  CHECK(std::abs(static_cast<double>(count[0]) / static_cast<double>(total) - 0.75) < 1e-4);
  for (uint64_t e = 0; e + 1 < count[1] / 50; ++e) CHECK(seen[std::pair(1u, e)].size() == 50);
  // Well mixed: in any 1,000 positions the share of source 0 is near 3/4 (6 standard deviations).
  for (uint64_t begin = 0; begin + 1000 <= total; begin += 1000) {
    int zero = 0;
    for (uint64_t p = begin; p < begin + 1000; ++p) zero += mixture.at(p).source == 0;
    CHECK(std::abs(zero - 750) < 83);
  }
}

TEST_CASE("order: the position is all the state there is") {
  const Mixture a(11, {500, 20}, {1, 1}), b(11, {500, 20}, {1, 1}), other(12, {500, 20}, {1, 1});
  int same = 0;
  for (uint64_t p : {99999, 3, 70000, 65535, 65536, 0, 12345}) {
    const Place x = a.at(p), y = b.at(p), z = other.at(p);
    CHECK((x.source == y.source && x.epoch == y.epoch && x.index == y.index));
    same += x.source == z.source && x.index == z.index;
  }
  CHECK(same < 4);
}

TEST_CASE("order: substitutes come from the same source and differ by attempt") {
  const Mixture mixture(11, {500, 2000}, {1, 1});
  std::set<uint64_t> tries;
  for (uint64_t attempt = 1; attempt <= 20; ++attempt) {
    const Place place = mixture.substitute(77, attempt);
    CHECK(place.source == mixture.at(77).source);
    CHECK(place.index < 2000);
    tries.insert(place.index);
  }
  CHECK(tries.size() > 15);
}

TEST_CASE("order: wrong mixtures are refused by name") {
  const auto refusal = [](std::vector<uint64_t> sizes, std::vector<double> weights) {
    return error_of<UsageError>([&] { Mixture(1, sizes, weights, {"vqa", "captions"}); });
  };
  CHECK(refusal({5, 0}, {1, 0.5}) == "mixture: captions has a weight of 0.5 but no samples");
  CHECK(refusal({5, 5}, {1, -2}) ==
        "mixture: the weight of captions must be a number of at least 0, got -2");
  CHECK(contains(refusal({5, 5}, {1, std::nan("")}), "the weight of captions must be a number"));
  CHECK(refusal({5, 5}, {0, 0}) == "mixture: no source has a weight above 0");
  CHECK(refusal({5, 5}, {1}) ==
        "mixture: needs a weight for each of 1 … 65536 sources, got 2 sources and 1 weights");
}
