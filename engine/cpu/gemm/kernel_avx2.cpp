#if defined(__x86_64__)
#include <cstdint>

#include "engine/cpu/gemm/kernels.h"

namespace ocellus::gemm_detail {
namespace {

constexpr int kVectorBytes = 32;
constexpr int kTileRows = 6;

#include "engine/cpu/gemm/kernel.inc"

}  // namespace

const Kernels kAvx2Kernels{"avx2", kernel_set<float>(), kernel_set<double>()};

}  // namespace ocellus::gemm_detail
#endif
