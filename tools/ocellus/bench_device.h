// ocellus bench ladder, attention and kernels: times on a device.
#pragma once
#include <cstdint>
#include <string>

#include "engine/device.h"

namespace ocellus {

/// A clock for timings, in seconds.
double steady_seconds();

struct BenchDevice {
  std::string ladder, device = "auto";
  int64_t rows = 0, columns = 0, depth = 0, heads = 0;  // 0: sizes that fill a large GPU
  bool json = false;
};

int run_bench_ladder(const BenchDevice& a);
/// `bench attention` on a GPU, at the lengths that attention kernels are judged by there.
int run_device_attention(Device device, bool json);
int run_bench_kernels(const BenchDevice& a);

}  // namespace ocellus
