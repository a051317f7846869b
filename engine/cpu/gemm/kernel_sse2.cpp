#if defined(__x86_64__)
#include <cstdint>

#include "engine/cpu/gemm/kernels.h"

namespace ocellus::gemm_detail {
namespace {

constexpr int kVectorBytes = 16;
constexpr int kTileRows = 4;

#include "engine/cpu/gemm/kernel.inc"

}  // namespace

const Kernels kSse2Kernels{"sse2", kernel_set<float>(), kernel_set<double>()};

}  // namespace ocellus::gemm_detail
#endif
