#include "tools/ocellus/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/cpu/gemm/gemm.h"
#include "engine/parallel.h"
#include "engine/tensor.h"

namespace ocellus {
namespace {

// Median seconds of a call; short calls are repeated until a sample takes 8 ms.
double median_seconds(int samples, const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  auto time = [&](int64_t repeats) {
    const auto begin = Clock::now();
    for (int64_t i = 0; i < repeats; ++i) call();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  time(1);
  const double once = std::max(time(1), 1e-7);
  const auto repeats = static_cast<int64_t>(std::max(1.0, 8e-3 / once));
  std::vector<double> all;
  for (int s = 0; s < samples; ++s) all.push_back(time(repeats) / static_cast<double>(repeats));
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

Tensor filled(int64_t rows, int64_t columns) { return Tensor::full({rows, columns}, 0.5, DType::kF32); }

double product_rate(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, int samples) {
  const Tensor a = filled(m, k), b = filled(k, n);
  Tensor c = filled(m, n);
  const Operand<float> pa = transpose_a ? Operand<float>{a.data<float>(), 1, m}
                                        : Operand<float>{a.data<float>(), k, 1};
  const Operand<float> pb = transpose_b ? Operand<float>{b.data<float>(), 1, k}
                                        : Operand<float>{b.data<float>(), n, 1};
  float* to = c.mutable_data<float>("bench");
  const double s = median_seconds(samples, [&] { gemm<float, float, float>(m, n, k, pa, pb, to, n); });
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / s / 1e9;
}

}  // namespace

double measure_copy_bandwidth() {
  constexpr int64_t kBytes = int64_t{64} << 20;
  const Tensor from = Tensor::zeros({kBytes}, DType::kU8);
  Tensor to = Tensor::zeros({kBytes}, DType::kU8);
  const uint8_t* source = from.data<uint8_t>();
  uint8_t* target = to.mutable_data<uint8_t>("bench");
  const double s = median_seconds(5, [&] {
    parallel_for(kBytes, 1 << 20, [&](int64_t begin, int64_t end) {
      std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
    });
  });
  return 2.0 * static_cast<double>(kBytes) / s / 1e9;
}

double measure_gflops(int64_t n) { return product_rate(n, n, n, false, true, 5); }

nlohmann::json measure_products() {
  struct Case { int64_t m, k, n; };
  nlohmann::json rows = nlohmann::json::array();
  for (const Case& c : {Case{512, 768, 3072}, {512, 576, 1536}, {784, 768, 768}, {1024, 768, 3072},
                        {2048, 2048, 2048}, {1280, 128, 512}, {1280, 128, 128}, {2048, 128, 512},
                        {64, 64, 64}, {1, 576, 1536}}) {
    // Forward y = x·Wᵀ is M×K×N; dX = dY·W is M×N×K; dW = dYᵀ·X is N×M×K.
    rows.push_back({{"shape", fmt::format("{} x {} x {}", c.m, c.k, c.n)},
                    {"nt", product_rate(c.m, c.n, c.k, false, true, 7)},
                    {"nn", product_rate(c.m, c.k, c.n, false, false, 7)},
                    {"tn", product_rate(c.n, c.k, c.m, true, false, 7)}});
  }
  return rows;
}

}  // namespace ocellus
