// Internal: the kernels of this processor.
#pragma once
#include "engine/cpu/gemm/kernels.h"

namespace ocellus::gemm_detail {

/// kernels — chosen at the first call; null on a processor that is not x86-64.
const Kernels* kernels();

}  // namespace ocellus::gemm_detail
