// Dropout: the mask is a function of key and index, drawn again wherever it is needed.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/random.h"
#include "engine/tensor.h"

namespace ocellus {

/// dropout_threshold — element i is kept iff key.word(i) ≥ p·2³², an integer comparison: the same
/// mask on every device. 0 keeps all.
inline uint32_t dropout_threshold(double p) { return static_cast<uint32_t>(p * 0x1p32); }

/// dropout_forward — y[i] = x[i]/(1 - p) where element i (row-major) is kept, else 0; 0 ≤ p < 1.
/// Its own backward, with dy for x.  Any strides → contiguous, x's shape and dtype. Saves nothing.
/// Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
Tensor dropout_forward(OnCpu, const Tensor& x, double p, RngKey key);
CUDA_TWIN Tensor dropout_forward(OnCuda, const Tensor& x, double p, RngKey key);
inline Tensor dropout_forward(const Tensor& x, double p, RngKey key) {
  return on_device("dropout", x.device(),
                   [&](auto device) { return dropout_forward(device, x, p, key); });
}

}  // namespace ocellus
