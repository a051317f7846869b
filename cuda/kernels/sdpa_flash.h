// The tensor-core forms of attention.
#pragma once
#include "engine/kernels/sdpa.h"

namespace ocellus::sdpa_cuda {

/// Largest head size of the form; smaller ones are padded with zeros in shared memory.
inline constexpr int64_t kFlashMostDim = 128;

/// flash_forward — sdpa_forward for bf16 and head sizes up to kFlashMostDim; rows of q, k and v
/// have unit stride. Writes result.out and result.log_sum.
void flash_forward(OnCuda device, const Tensor& q, const Tensor& k, const Tensor& v,
                   const SdpaMask& mask, double scale, SdpaOut& result);

/// flash_backward — gradients of bf16 attention with heads of up to kFlashMostDim into those of
/// d[0] (dq), d[1] and d[2] (dk, dv: both or neither) that are defined, and the gradients of all
/// scores into `dscores` [B, H, Tq, Tk] f32 (zero before), if defined. deltas [B·H·Tq]: Σ_d
/// dout·out.
void flash_backward(OnCuda device, const SdpaSaved& saved, const Tensor& dout, const Tensor& deltas,
                    Tensor& dscores, Tensors& d);

}  // namespace ocellus::sdpa_cuda
