#if defined(__x86_64__)
#include <cstdint>

#include "engine/cpu/gemm/kernels.h"

namespace ocellus::gemm_detail {
namespace {

constexpr int kVectorBytes = 64;
constexpr int kTileRows = 14;

#include "engine/cpu/gemm/kernel.inc"

}  // namespace

const Kernels kAvx512Kernels{"avx512", kernel_set<float>(), kernel_set<double>()};

}  // namespace ocellus::gemm_detail
#endif
