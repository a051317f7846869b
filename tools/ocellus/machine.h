// What the machine can do, measured: for doctor and bench.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace ocellus {

/// GB/s of copying 64 MiB, read plus write counted, median of 5.
double measure_copy_bandwidth();
/// GFLOP/s of one square product of side `n`, f32, median of 5.
double measure_gflops(int64_t n);
/// GFLOP/s of the shapes of training, forms NT (forward), NN (dX) and TN (dW): a list of
/// {"shape", "nt", "nn", "tn"}.
nlohmann::json measure_products();

}  // namespace ocellus
