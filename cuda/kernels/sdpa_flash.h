// The tensor-core form of the attention forward pass.
#pragma once
#include "engine/kernels/sdpa.h"

namespace ocellus::sdpa_cuda {

/// Largest head size of the form; smaller ones are padded with zeros in shared memory.
inline constexpr int64_t kFlashMostDim = 128;

/// flash_forward — sdpa_forward for bf16 and head sizes up to kFlashMostDim; rows of q, k and v
/// have unit stride. Writes result.out and result.log_sum.
void flash_forward(OnCuda device, const Tensor& q, const Tensor& k, const Tensor& v,
                   const SdpaMask& mask, double scale, SdpaOut& result);

}  // namespace ocellus::sdpa_cuda
