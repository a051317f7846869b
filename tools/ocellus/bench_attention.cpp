#include "tools/ocellus/bench_attention.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/parallel.h"
#include "tools/ocellus/bench_device.h"
#include "tools/ocellus/command.h"
#include "tools/ocellus/machine.h"

namespace ocellus {
namespace {

struct AttentionShape {
  int64_t batch, heads, kv_heads, tokens, head_dim;
  bool causal;
};

// Towers and decoders of small models, and the long rows that kernels are judged by.
constexpr AttentionShape kAttentionShapes[] = {{32, 4, 4, 64, 32, false},   {32, 4, 2, 40, 32, true},
                                      {4, 12, 12, 196, 64, false}, {1, 12, 12, 1024, 64, false},
                                      {1, 9, 3, 1024, 64, true},   {1, 8, 8, 1024, 128, true}};

double median_call_seconds(int64_t repeat, const std::function<void()>& run) {
  std::vector<double> seconds;
  for (int64_t i = -1; i < repeat; ++i) {  // one to warm up
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (i >= 0) seconds.push_back(took.count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

Tensor random_rows(RngKey key, const Shape& shape, DType dtype) {
  Tensor rows = Tensor::empty(shape, DType::kF32);
  float* to = rows.mutable_data<float>("bench");
  for (int64_t i = 0; i < rows.numel(); ++i)
    to[i] = 2 * uniform01(key.word(static_cast<uint64_t>(i))) - 1;
  return rows.to(dtype);
}

nlohmann::json measure(const AttentionShape& s, const BenchAttention& options, DType dtype) {
  const uint64_t seed = static_cast<uint64_t>(options.seed);
  const Shape queries{s.batch, s.tokens, s.heads, s.head_dim};
  const Shape keys{s.batch, s.tokens, s.kv_heads, s.head_dim};
  const Tensor q = random_rows({seed, 1}, queries, dtype), k = random_rows({seed, 2}, keys, dtype);
  const Tensor v = random_rows({seed, 3}, keys, dtype), dy = random_rows({seed, 4}, queries, dtype);
  AttentionMask mask;
  mask.causal = s.causal;
  const double forward =
      median_call_seconds(options.repeat, [&] { sdpa(constant(q), constant(k), constant(v), mask); });
  const double both = median_call_seconds(options.repeat, [&] {
    Tape tape;
    const Variable y = sdpa(leaf(q), leaf(k), leaf(v), mask);
    tape.backward({y}, {dy});
  });
  const double t = static_cast<double>(s.tokens), pairs = s.causal ? t * (t + 1) / 2 : t * t;
  const double flop = 4 * pairs * static_cast<double>(s.batch * s.heads * s.head_dim),
               backward = both - forward;
  return {{"batch", s.batch},
          {"heads", s.heads},
          {"kv_heads", s.kv_heads},
          {"tokens", s.tokens},
          {"head_dim", s.head_dim},
          {"causal", s.causal},
          {"forward_ms", forward * 1e3},
          {"backward_ms", backward * 1e3},
          {"forward_gflop_per_s", flop / forward / 1e9},
          {"backward_gflop_per_s", 2 * flop / backward / 1e9}};
}

}  // namespace

int run_bench_attention(const BenchAttention& options) {
  const Device device = choose_device(options.device);
  if (device.type == DeviceType::kCuda) return run_device_attention(device, options.json);
  const DType dtype = choose_dtype(options.dtype, {DType::kF32, DType::kBF16});
  use_threads(options.threads);
  check<UsageError>(options.repeat > 0, "bench attention: --repeat must be positive, got {}",
                    options.repeat);
  const AttentionShape one{
      options.batch,  options.heads,    options.kv_heads ? options.kv_heads : options.heads,
      options.tokens, options.head_dim, options.causal};
  const bool given = one.batch || one.heads || one.tokens || one.head_dim;
  check<UsageError>(!given || (one.batch > 0 && one.heads > 0 && one.tokens > 0 &&
                               one.head_dim > 0 && one.kv_heads > 0),
                    "bench attention: --batch, --heads, --tokens and --head-dim go together and "
                    "must be positive, got {}, {}, {} and {}",
                    one.batch, one.heads, one.tokens, one.head_dim);
  std::vector<AttentionShape> shapes(std::begin(kAttentionShapes), std::end(kAttentionShapes));
  if (given) shapes = {one};
  nlohmann::json rows = nlohmann::json::array();
  for (const AttentionShape& shape : shapes) rows.push_back(measure(shape, options, dtype));
  const double ceiling = measure_gflops(1024);
  if (options.json) {
    fmt::print("{}\n", nlohmann::json({{"bench", "ocellus_attention"},
                                       {"dtype", options.dtype},
                                       {"device", "cpu"},
                                       {"threads", num_threads()},
                                       {"gemm_gflop_per_s", ceiling},
                                       {"shapes", rows}})
                           .dump());
    return 0;
  }
  fmt::print("{} threads, {}; a product of 1024³ in f32 runs at {:.1f} GFLOP/s; medians of {}\n",
             num_threads(), options.dtype, ceiling, options.repeat);
  fmt::print("{:>5} {:>5} {:>3} {:>6} {:>4} {:>6} {:>12} {:>13} {:>9} {:>9}\n", "batch", "heads",
             "kv", "tokens", "dim", "causal", "forward ms", "backward ms", "GFLOP/s", "GFLOP/s");
  for (const auto& r : rows)
    fmt::print("{:>5} {:>5} {:>3} {:>6} {:>4} {:>6} {:>12.3f} {:>13.3f} {:>9.1f} {:>9.1f}\n",
               r["batch"].get<int64_t>(), r["heads"].get<int64_t>(), r["kv_heads"].get<int64_t>(),
               r["tokens"].get<int64_t>(), r["head_dim"].get<int64_t>(),
               r["causal"].get<bool>() ? "yes" : "no", r["forward_ms"].get<double>(),
               r["backward_ms"].get<double>(), r["forward_gflop_per_s"].get<double>(),
               r["backward_gflop_per_s"].get<double>());
  return 0;
}

}  // namespace ocellus
