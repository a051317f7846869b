// Every variant of cuda/ladder against the production op on the CPU, at awkward sizes.
#include "engine/kernels/ladder.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace ocellus;

namespace {

constexpr Device kGpu{DeviceType::kCuda, 0};

std::vector<LadderSizes> sizes_of(const std::string& name) {
  if (name == "gemm") return {{1, 1, 1}, {65, 70, 33}, {64, 128, 96}, {40, 72, 130}};
  if (name == "flash") return {{1, 8, 1, 1}, {67, 64, 1, 2}, {33, 20, 2, 1}, {64, 128, 1, 1}};
  return {{1, 1}, {5, 33}, {130, 7}, {3, 2049}};
}

}  // namespace

TEST_CASE("simt: every variant of the ladders agrees with the production op") {
  for (const std::string& name : kLadders) {
    const Ladder l = ladder(OnCuda{0}, name);
    CHECK(l.name == name);
    CHECK(l.variants.size() >= 4);
    for (const LadderSizes& sizes : sizes_of(name)) {
      const Tensors here = drawn(l.inputs(sizes));
      Tensors there;
      for (const Tensor& x : here) there.push_back(x.to(kGpu));
      const auto expected = l.production(here).to_vector<double>();
      double top = 0;
      for (double value : expected) top = std::max(top, std::fabs(value));
      for (const LadderVariant& variant : l.variants) {
        CAPTURE(name + " " + variant.name);
        CAPTURE(sizes.rows);
        const auto got = variant.run(there).to_vector<double>();
        REQUIRE(got.size() == expected.size());
        double worst = 0;
        for (size_t i = 0; i < got.size(); ++i) {
          const double d = std::fabs(got[i] - expected[i]);
          worst = std::isnan(d) ? INFINITY : std::max(worst, d);
        }
        CHECK(worst <= l.tolerance * (1 + top));
      }
    }
  }
  CHECK_THROWS_WITH_AS(ladder(OnCuda{0}, "fft"),
                       "ladder: must be one of gemm, softmax, layer_norm, flash, got \"fft\"",
                       UsageError);
}
