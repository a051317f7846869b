#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/parallel.h"

using namespace ocellus;

namespace {

std::vector<double> dropped_ones(int64_t n, float p, RngKey key, DType dtype = DType::kF32) {
  return dropout(Variable(Tensor::full({n}, 1, dtype)), p, key).value().to_vector<double>();
}

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("dropout: element i is kept iff word i of the key is at least p·2^32") {
  const RngKey key{42, 7};
  const auto y = dropped_ones(40001, 0.25f, key);
  int64_t kept = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const bool keep = key.word(i) >= 0x40000000u;
    CHECK_MESSAGE(y[i] == (keep ? static_cast<double>(1 / 0.75f) : 0.0), i);
    kept += keep;
  }
  CHECK(std::fabs(static_cast<double>(kept) / 40001 - 0.75) < 0.01);
}

TEST_CASE("dropout: the mask depends on nothing but the key: not on threads, type or length") {
  const RngKey key{3, 1};
  const auto y = dropped_ones(50000, 0.5f, key);
  const int before = num_threads();
  set_num_threads(3);
  CHECK(dropped_ones(50000, 0.5f, key) == y);
  set_num_threads(before);
  CHECK(dropped_ones(50000, 0.5f, key, DType::kBF16) == y);
  CHECK(dropped_ones(50000, 0.5f, key, DType::kF64) == y);
  const auto prefix = dropped_ones(777, 0.5f, key);
  CHECK(std::equal(prefix.begin(), prefix.end(), y.begin()));
  CHECK(dropped_ones(777, 0.5f, {3, 2}) != prefix);
  CHECK(dropped_ones(777, 0.5f, {4, 1}) != prefix);
}

TEST_CASE(
    "dropout: p = 0 changes nothing, backward drops what forward dropped and keeps no tensor") {
  const RngKey key{3, 1};
  CHECK(dropped_ones(9, 0, key) == std::vector<double>(9, 1.0));
  Tape tape;
  const Variable x = leaf(Tensor::full({1000}, 2, DType::kF32));
  const Variable y = dropout(x, 0.5f, key);
  CHECK(tape.saved_bytes() == 0);
  tape.backward({y}, {Tensor::full({1000}, 2, DType::kF32)});
  CHECK(tape.gradient(x).to_vector<double>() == y.value().to_vector<double>());
}

TEST_CASE("dropout: a dropped infinity is zero, and p outside of [0, 1) is refused") {
  const RngKey key{3, 1};
  const Variable x(Tensor::full({64}, std::numeric_limits<double>::infinity(), DType::kF32));
  const auto y = dropout(x, 0.5f, key).value().to_vector<double>();
  for (size_t i = 0; i < y.size(); ++i) CHECK((y[i] == 0) == (key.word(i) < 0x80000000u));
  CHECK(error_of([&] { dropout(x, 1, key); }) == "dropout: p must be in [0, 1), got 1");
  CHECK(error_of([&] { dropout(x, -0.5f, key); }) == "dropout: p must be in [0, 1), got -0.5");
  CHECK(error_of([&] { dropout(x, std::nanf(""), key); }) ==
        "dropout: p must be in [0, 1), got nan");
}
