// The two losses of image-text pairs over a matrix of similarities.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// What a contrastive forward pass leaves; l = e^s·similarity (+ bias), all numbers f32 (f64).
struct ContrastiveOut {
  Tensor loss;  // []
  Tensor
      dlogits;  // [N, N]: ∂loss/∂l, in the memory of the similarities; undefined if not asked for
  double dscale = 0;  // ∂loss/∂s = Σ dlogits·e^s·similarity
  double dbias = 0;   // ∂loss/∂bias = Σ dlogits
};

/// sigmoid_contrastive_forward — Σ_ij softplus(-z_ij·l_ij), l = e^s·similarity + bias, z = 1 on the
/// diagonal and -1 elsewhere.  similarity [N, N] contiguous f32 or f64; overwritten if `gradient`.
ContrastiveOut sigmoid_contrastive_forward(OnCpu, Tensor similarity, double log_scale, double bias,
                                           bool gradient);
CUDA_TWIN ContrastiveOut sigmoid_contrastive_forward(OnCuda, Tensor similarity, double log_scale,
                                                     double bias, bool gradient);
inline ContrastiveOut sigmoid_contrastive_forward(const Tensor& similarity, double log_scale,
                                                  double bias, bool gradient) {
  return on_device("sigmoid_contrastive", similarity.device(), [&](auto device) {
    return sigmoid_contrastive_forward(device, similarity, log_scale, bias, gradient);
  });
}

/// softmax_contrastive_forward — ½·Σ_i (log Σ_j e^{l_ij} - l_ii) + ½·Σ_j (log Σ_i e^{l_ij} - l_jj),
/// l = e^s·similarity.  similarity [N, N] contiguous f32 or f64; overwritten if `gradient`.
ContrastiveOut softmax_contrastive_forward(OnCpu, Tensor similarity, double log_scale,
                                           bool gradient);
CUDA_TWIN ContrastiveOut softmax_contrastive_forward(OnCuda, Tensor similarity, double log_scale,
                                                     bool gradient);
inline ContrastiveOut softmax_contrastive_forward(const Tensor& similarity, double log_scale,
                                                  bool gradient) {
  return on_device("softmax_contrastive", similarity.device(), [&](auto device) {
    return softmax_contrastive_forward(device, similarity, log_scale, gradient);
  });
}

}  // namespace ocellus
