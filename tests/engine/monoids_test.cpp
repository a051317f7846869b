#include "engine/rows/monoids.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "engine/random.h"
#include "engine/rows/lanes.h"

using namespace ocellus;

namespace {

std::vector<double> numbers(int64_t n, uint64_t seed) {
  std::vector<double> out(static_cast<size_t>(n));
  const RngKey key{seed, 0};
  for (size_t i = 0; i < out.size(); ++i) out[i] = 3 * normal_at(key, i) + 1;
  return out;
}

template <class Monoid>
Monoid reduce_of(const std::vector<double>& x, size_t begin, size_t end) {
  Monoid m;
  for (size_t i = begin; i < end; ++i) m.push(x[i]);
  return m;
}

void check_equal(const Sum<double>& a, const Sum<double>& b) {
  CHECK(a.value == doctest::Approx(b.value).epsilon(1e-13));
}
void check_equal(const Max<double>& a, const Max<double>& b) { CHECK(a.value == b.value); }
void check_equal(const Welford<double>& a, const Welford<double>& b) {
  CHECK(a.count == b.count);
  CHECK(a.mean == doctest::Approx(b.mean).epsilon(1e-13));
  CHECK(a.m2 == doctest::Approx(b.m2).epsilon(1e-13));
}
void check_equal(const OnlineSoftmax<double>& a, const OnlineSoftmax<double>& b) {
  CHECK(a.max == b.max);
  CHECK(a.sum == doctest::Approx(b.sum).epsilon(1e-13));
}

// What every monoid promises: parts merge to the whole in any grouping, and an empty one changes
// nothing.
template <class Monoid>
void check_monoid() {
  const auto x = numbers(100, 1);
  const Monoid whole = reduce_of<Monoid>(x, 0, 100);
  const Monoid a = reduce_of<Monoid>(x, 0, 7), b = reduce_of<Monoid>(x, 7, 60),
               c = reduce_of<Monoid>(x, 60, 100);
  Monoid left = a, right = b;
  left.merge(b);
  left.merge(c);  // (a·b)·c
  right.merge(c);
  Monoid other = a;
  other.merge(right);  // a·(b·c)
  check_equal(left, whole);
  check_equal(other, whole);
  Monoid padded = whole, empty;
  padded.merge(Monoid{});
  check_equal(padded, whole);
  empty.merge(whole);
  check_equal(empty, whole);
  Monoid nothing;
  nothing.merge(Monoid{});
  check_equal(nothing, Monoid{});
  for (int64_t n : {0, 1, 5, 31, 32, 33, 64, 100}) {
    CAPTURE(n);
    const auto load = [&](int64_t i) { return x[static_cast<size_t>(i)]; };
    check_equal(reduce_row<Monoid, 32>(n, load), reduce_row<Monoid, 1>(n, load));
  }
}

}  // namespace

TEST_CASE("monoids: sum") { check_monoid<Sum<double>>(); }
TEST_CASE("monoids: max") { check_monoid<Max<double>>(); }
TEST_CASE("monoids: Welford") { check_monoid<Welford<double>>(); }
TEST_CASE("monoids: online softmax") { check_monoid<OnlineSoftmax<double>>(); }

TEST_CASE("monoids: Welford gives mean and centred sum of squares") {
  const std::vector<double> x = {2, 4, 4, 4, 5, 5, 7, 9};
  const auto w = reduce_of<Welford<double>>(x, 0, x.size());
  CHECK(w.count == 8);
  CHECK(w.mean == doctest::Approx(5));
  CHECK(w.m2 == doctest::Approx(32));
  // A large common offset costs nothing, where Σx² - n·mean² would lose all digits.
  Welford<float> far;
  for (double v : x) far.push(static_cast<float>(v) + 1e6f);
  CHECK(far.m2 == doctest::Approx(32).epsilon(0.01));
}

TEST_CASE("monoids: online softmax survives large values and -infinity") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  OnlineSoftmax<double> s;
  s.push(-inf);
  CHECK(s.sum == 0);
  for (double v : {1000.0, -inf, 1001.0, 999.0}) s.push(v);
  CHECK(s.max == 1001);
  CHECK(s.sum == doctest::Approx(1 + std::exp(-1.0) + std::exp(-2.0)));
  CHECK(s.log_sum() == doctest::Approx(1001 + std::log(1 + std::exp(-1.0) + std::exp(-2.0))));
}

TEST_CASE("monoids: argmax takes the first of equal values, whatever the grouping") {
  const double x[] = {1, 7, 3, 7, 7};
  ArgMax<double> forward, a, b;
  for (int i = 0; i < 5; ++i) forward.push(x[i], i);
  CHECK(forward.index == 1);
  for (int i = 0; i < 2; ++i) a.push(x[i], i);
  for (int i = 2; i < 5; ++i) b.push(x[i], i);
  ArgMax<double> late = b;
  late.merge(a);
  CHECK(late.index == 1);
  a.merge(b);
  CHECK(a.index == 1);
  a.merge(ArgMax<double>{});
  CHECK(a.index == 1);
  ArgMax<double> all_low;
  all_low.push(-std::numeric_limits<double>::infinity(), 4);
  CHECK(all_low.index == 4);
}

TEST_CASE("lanes: sum_row and max_row give the bits of reduce_row") {
  const auto x = numbers(200, 2);
  std::vector<float> f(x.begin(), x.end());
  for (int64_t n : {0, 1, 7, 31, 32, 33, 96, 127, 200}) {
    CAPTURE(n);
    CHECK(sum_row<double>(n, [&]<class V>(int64_t i) { return at<V>(x.data(), i); }) ==
          reduce_row<Sum<double>>(n, [&](int64_t i) { return x[i]; }).value);
    CHECK(sum_row<float>(n, [&]<class V>(int64_t i) { return at<V>(f.data(), i); }) ==
          reduce_row<Sum<float>>(n, [&](int64_t i) { return f[i]; }).value);
    CHECK(max_row(x.data(), n) ==
          reduce_row<Max<double>>(n, [&](int64_t i) { return x[i]; }).value);
    CHECK(max_row(f.data(), n) == reduce_row<Max<float>>(n, [&](int64_t i) { return f[i]; }).value);
  }
}

TEST_CASE("lanes: element i goes to lane i mod 32, lanes merge in halves") {
  // Sums of floats that only come out so in this order: a 1 is lost beside 2^24 unless lanes part
  // them.
  std::vector<float> x(64, 0.0f);
  x[0] = 0x1p24f;
  x[1] = 1;
  x[33] = 1;  // the same lane as x[1]: together they are 2, which is not lost
  CHECK(reduce_row<Sum<float>>(64, [&](int64_t i) { return x[i]; }).value == 0x1p24f + 2);
  CHECK(reduce_row<Sum<float>, 1>(64, [&](int64_t i) { return x[i]; }).value == 0x1p24f);
}
