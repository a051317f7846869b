// The data half of `ocellus bench`.
#pragma once
#include <cstdint>
#include <string>

namespace ocellus {

struct BenchData {
  std::string images;  // a folder of JPEG and PNG files, searched to the bottom
  int64_t size = 224, repeat = 5, threads = 1;
  bool json = false;
};

/// bench data — pictures per second from files to numbers: read, decode, bicubic resize to a
/// square, normalise; with the field names of other benches of input pipelines.
int run_bench_data(const BenchData& options);

}  // namespace ocellus
