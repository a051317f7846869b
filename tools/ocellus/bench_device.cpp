#include "tools/ocellus/bench_device.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/kernels/copy.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/ladder.h"
#include "engine/kernels/layer_norm.h"
#include "engine/kernels/optim.h"
#include "engine/kernels/rms_norm.h"
#include "engine/kernels/sdpa.h"
#include "engine/kernels/softmax.h"
#include "engine/kernels/upload.h"
#include "tools/ocellus/command.h"

namespace ocellus {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {

using nlohmann::json;

struct Timing {
  double median = 0, least = 0;  // seconds a call
};

// Calls in a row, as many as take some milliseconds, so that launches overlap as they do in a step;
// seven such rounds.
Timing time_of(Device device, const std::function<void()>& call) {
  constexpr double kRound = 0.02;
  constexpr int kRounds = 7, kMostCalls = 200;
  const auto round = [&](int calls) {
    wait_for(device);
    const double begin = steady_seconds();
    for (int i = 0; i < calls; ++i) call();
    wait_for(device);
    return (steady_seconds() - begin) / calls;
  };
  round(2);
  const int calls = std::clamp(static_cast<int>(kRound / round(2)), 1, kMostCalls);
  std::vector<double> each;
  for (int i = 0; i < kRounds; ++i) each.push_back(round(calls));
  std::sort(each.begin(), each.end());
  return {each[kRounds / 2], each[0]};
}

Tensor drawn_on(Device device, const Shape& shape, DType dtype) {
  return drawn({{shape, dtype}})[0].to(device);
}

/// Bytes per second of copying 256 MiB on the device, read and written bytes both counted.
double copy_bandwidth(Device device) {
  const Tensor from = Tensor::full({int64_t{64} << 20}, 1, DType::kF32, device);
  Tensor to = Tensor::empty(from.shape(), DType::kF32, device);
  const double bytes = 2.0 * static_cast<double>(from.bytes());
  return bytes / time_of(device, [&] { copy(from, to); }).median;
}

LadderSizes sizes_of(const BenchDevice& a) {
  const bool gemm = a.ladder == "gemm", flash = a.ladder == "flash";
  LadderSizes s;
  s.rows = a.rows ? a.rows : gemm ? 4096 : flash ? 2048 : 16384;
  s.columns = a.columns ? a.columns : flash ? 64 : 4096;
  s.depth = a.depth ? a.depth : gemm ? 4096 : flash ? 4 : 1;
  s.heads = a.heads ? a.heads : flash ? 16 : 1;
  return s;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double most = 0, top = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = std::fabs(x[i] - y[i]);
    most = std::isnan(d) ? INFINITY : std::max(most, d);
    top = std::max(top, std::fabs(y[i]));
  }
  return most / (1 + top);
}

// Variants of CUDA kernels need the device that they are written for.
Device cuda_device(const char* command, const std::string& name) {
  const Device device = choose_device(name);
  check<UsageError>(device.type == DeviceType::kCuda,
                    "bench {}: times CUDA kernels; it needs a GPU and a program built with CUDA", command);
  return device;
}

}  // namespace

int run_bench_ladder(const BenchDevice& a) {
  const bool known = std::find(kLadders.begin(), kLadders.end(), a.ladder) != kLadders.end();
  check<UsageError>(known, "bench ladder: NAME must be one of gemm, softmax, layer_norm, flash, got \"{}\"",
                    a.ladder);
  const Device device = cuda_device("ladder", a.device);
  const Ladder l = on_device("ladder", device, [&](auto d) -> Ladder {
    if constexpr (std::is_same_v<decltype(d), OnCuda>) return ladder(d, a.ladder);
    return {};
  });
  const LadderSizes sizes = sizes_of(a);
  Tensors inputs;
  for (const Tensor& x : drawn(l.inputs(sizes))) inputs.push_back(x.to(device));
  const double flops = l.flops(sizes), bytes = l.bytes(sizes);
  const double ceiling = l.bound_by_memory ? copy_bandwidth(device) : 0;
  const Tensor expected = l.production(inputs);
  const double production = time_of(device, [&] { l.production(inputs); }).median;
  json rows = json::array();
  bool holds = true;
  for (const LadderVariant& variant : l.variants) {
    const double error = largest_difference(variant.run(inputs), expected);
    const Timing t = time_of(device, [&] { variant.run(inputs); });
    holds = holds && error <= 2 * l.tolerance;
    rows.push_back({{"variant", variant.name},
                    {"idea", variant.idea},
                    {"ms", t.median * 1e3},
                    {"tflop_per_s", flops / t.median * 1e-12},
                    {"gb_per_s", bytes / t.median * 1e-9},
                    {"share", l.bound_by_memory ? bytes / t.median / ceiling : production / t.median},
                    {"error", error},
                    {"ok", error <= 2 * l.tolerance}});
  }
  const json out = {{"bench", "ladder"},        {"ladder", l.name},
                    {"rows", sizes.rows},       {"columns", sizes.columns},
                    {"depth", sizes.depth},     {"heads", sizes.heads},
                    {"share_of", l.bound_by_memory ? "copy bandwidth" : "the production kernel"},
                    {"production_ms", production * 1e3},
                    {"variants", rows}};
  if (a.json) {
    fmt::print("{}\n", out.dump());
    return holds ? 0 : 1;
  }
  fmt::print("{} {}×{}, depth {}, heads {}; production {:.3f} ms\n{:<22} {:>9} {:>9} {:>9}  share of {}\n", l.name,
             sizes.rows, sizes.columns, sizes.depth, sizes.heads, production * 1e3, "variant", "ms", "TFLOP/s", "GB/s",
             out["share_of"].get<std::string>());
  for (const json& row : rows)
    fmt::print("{:<22} {:>9.3f} {:>9.2f} {:>9.1f}  {:>5.1f} %{}  {}\n", row["variant"].get<std::string>(),
               row["ms"].get<double>(), row["tflop_per_s"].get<double>(), row["gb_per_s"].get<double>(),
               100 * row["share"].get<double>(), row["ok"].get<bool>() ? "" : "  WRONG", row["idea"].get<std::string>());
  return holds ? 0 : 1;
}

int run_device_attention(Device device, bool as_json) {
  json rows = json::array();
  for (int64_t dim : {64, 128})
    for (int64_t tokens : {1024, 2048, 4096})
      for (bool causal : {false, true}) {
        const int64_t heads = 2048 / dim, batch = 16384 / tokens;
        const Shape shape{batch, tokens, heads, dim};
        const Tensor q = drawn_on(device, shape, DType::kBF16), k = q.clone(), v = q.clone();
        const Tensor dout = q.clone();
        SdpaMask mask;
        mask.causal = causal;
        const double scale = 1 / std::sqrt(static_cast<double>(dim));
        const SdpaOut out = sdpa_forward(q, k, v, mask, scale);
        const double forward = time_of(device, [&] { sdpa_forward(q, k, v, mask, scale); }).median;
        const double backward = time_of(device, [&] {
                                  sdpa_backward({q, k, v, out.out, out.log_sum, mask, scale}, dout,
                                                {true, true, true, false});
                                }).median;
        const double pairs = static_cast<double>(batch * heads * tokens) * static_cast<double>(tokens) *
                             (causal ? 0.5 : 1);
        const double flops = 4 * pairs * static_cast<double>(dim);
        rows.push_back({{"dim", dim},
                        {"tokens", tokens},
                        {"batch", batch},
                        {"heads", heads},
                        {"causal", causal},
                        {"forward_ms", forward * 1e3},
                        {"backward_ms", backward * 1e3},
                        {"forward_tflop_per_s", flops / forward * 1e-12},
                        {"backward_tflop_per_s", 2.5 * flops / backward * 1e-12}});
      }
  if (as_json) {
    fmt::print("{}\n", json({{"bench", "attention"}, {"rows", rows}}).dump());
    return 0;
  }
  fmt::print("{:>4} {:>6} {:>6} {:>6} {:>7} {:>11} {:>8} {:>11} {:>8}\n", "D", "T", "B", "H", "causal", "forward ms",
             "TFLOP/s", "backward ms", "TFLOP/s");
  for (const json& r : rows)
    fmt::print("{:>4} {:>6} {:>6} {:>6} {:>7} {:>11.3f} {:>8.1f} {:>11.3f} {:>8.1f}\n", r["dim"].get<int>(),
               r["tokens"].get<int>(), r["batch"].get<int>(), r["heads"].get<int>(), r["causal"].get<bool>(),
               r["forward_ms"].get<double>(), r["forward_tflop_per_s"].get<double>(), r["backward_ms"].get<double>(),
               r["backward_tflop_per_s"].get<double>());
  return 0;
}

int run_bench_kernels(const BenchDevice& a) {
  const Device device = cuda_device("kernels", a.device);
  const double ceiling = copy_bandwidth(device);
  const int64_t rows = a.rows ? a.rows : 32768, columns = a.columns ? a.columns : 2048;
  const Tensor x = drawn_on(device, {rows, columns}, DType::kBF16), dy = x.clone();
  const Tensor w = drawn_on(device, {columns}, DType::kBF16);
  const double size = static_cast<double>(x.bytes());
  const RmsNormOut rms = rms_norm_forward(x, w, 1e-5f);
  const LayerNormOut layer = layer_norm_forward(x, w, w, 1e-5f);
  const Tensor y = softmax_forward(x, false);
  Tensor p = drawn_on(device, {rows * columns}, DType::kF32), m = p.clone();
  Tensor v = Tensor::full(p.shape(), 1, DType::kF32, device);
  const Tensor g = p.clone();
  AdamWStep step;
  // Bytes are those that the kernel's definition must move: inputs once, outputs once.
  struct Kernel {
    const char* name;
    double bytes;
    std::function<void()> call;
  };
  const std::vector<Kernel> kernels = {
      {"add", 3 * size, [&] { binary_forward(BinaryOp::k_add, x, dy); }},
      {"gelu", 2 * size, [&] { unary_forward(UnaryOp::k_gelu, x); }},
      {"rms_norm forward", 2 * size, [&] { rms_norm_forward(x, w, 1e-5f); }},
      {"rms_norm backward, dx", 3 * size, [&] { rms_norm_backward(x, w, rms.r, dy, true, false); }},
      {"layer_norm forward", 2 * size, [&] { layer_norm_forward(x, w, w, 1e-5f); }},
      {"layer_norm backward, dx", 3 * size,
       [&] { layer_norm_backward(x, w, layer, dy, {true, false, false}); }},
      {"softmax forward", 2 * size, [&] { softmax_forward(x, false); }},
      {"softmax backward", 3 * size, [&] { softmax_backward(y, dy, false); }},
      {"bf16 to f32", 3 * size, [&] { x.to(DType::kF32); }},
      {"adamw", 28.0 * static_cast<double>(p.numel()), [&] { adamw_step(p, g, m, v, step); }},
      {"norms", 4.0 * static_cast<double>(g.numel()), [&] { norms({g}); }}};
  json list = json::array();
  for (const Kernel& kernel : kernels) {
    const double t = time_of(device, kernel.call).median, rate = kernel.bytes / t;
    list.push_back({{"kernel", kernel.name},
                    {"mb", kernel.bytes / 1e6},
                    {"us", t * 1e6},
                    {"gb_per_s", rate * 1e-9},
                    {"share_of_copy", rate / ceiling}});
  }
  if (a.json) {
    fmt::print("{}\n", json({{"bench", "kernels"},
                             {"rows", rows},
                             {"columns", columns},
                             {"copy_gb_per_s", ceiling * 1e-9},
                             {"kernels", list}})
                           .dump());
    return 0;
  }
  fmt::print("bf16 {}×{}, copy {:.0f} GB/s\n{:<26} {:>9} {:>9} {:>9}\n", rows, columns, ceiling * 1e-9, "kernel", "us",
             "GB/s", "of copy");
  for (const json& k : list)
    fmt::print("{:<26} {:>9.1f} {:>9.1f} {:>7.1f} %\n", k["kernel"].get<std::string>(), k["us"].get<double>(),
               k["gb_per_s"].get<double>(), 100 * k["share_of_copy"].get<double>());
  return 0;
}

}  // namespace ocellus
