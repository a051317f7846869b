// ocellus bench attention.
#pragma once
#include <cstdint>
#include <string>

namespace ocellus {

struct BenchAttention {
  std::string device = "auto", dtype = "f32";
  int64_t batch = 0, heads = 0, kv_heads = 0, tokens = 0, head_dim = 0;  // 0: the list of shapes
  int64_t repeat = 7, threads = 0, seed = 0;
  bool causal = false, json = false;
};

/// bench attention — forward and backward of sdpa: medians, GFLOP/s (4·D·pairs forward, twice that
/// backward) and the share of the rate of a square product.
int run_bench_attention(const BenchAttention& options);

}  // namespace ocellus
