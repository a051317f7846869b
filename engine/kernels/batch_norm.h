// Normalisation of channels by the statistics of a batch, and its gradients.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

struct ChannelStatistics {
  Tensor mean;      // [C] f32 (f64)
  Tensor variance;  // [C] f32 (f64), divided by the count
};

/// channel_statistics — over batch and picture, in two passes a plane.  x [B, C, H, W].
ChannelStatistics channel_statistics(OnCpu, const Tensor& x);
CUDA_TWIN ChannelStatistics channel_statistics(OnCuda, const Tensor& x);
inline ChannelStatistics channel_statistics(const Tensor& x) {
  return on_device("batch_norm", x.device(), [&](auto d) { return channel_statistics(d, x); });
}

/// batch_norm_forward — y = (x - mean)/√(variance + eps)·weight + bias by channel.  x [B, C, H, W],
/// all others [C].
Tensor batch_norm_forward(OnCpu, const Tensor& x, const Tensor& weight, const Tensor& bias,
                          const ChannelStatistics& statistics, float eps);
CUDA_TWIN Tensor batch_norm_forward(OnCuda, const Tensor& x, const Tensor& weight,
                                    const Tensor& bias, const ChannelStatistics& statistics,
                                    float eps);
inline Tensor batch_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                 const ChannelStatistics& statistics, float eps) {
  return on_device("batch_norm", x.device(),
                   [&](auto d) { return batch_norm_forward(d, x, weight, bias, statistics, eps); });
}

struct BatchNormGrads {
  Tensor dx, dweight, dbias;
};

/// batch_norm_backward — with x̂ = (x - mean)·r, r = 1/√(variance + eps), g = dy·w:  dw = Σ dy·x̂, db
/// = Σ dy, dx = g·r, and where the statistics are those of x itself (`through_statistics`) dx =
/// r·(g - mean(g) - x̂·mean(g·x̂)).
BatchNormGrads batch_norm_backward(OnCpu, const Tensor& x, const Tensor& weight,
                                   const ChannelStatistics& statistics, float eps, const Tensor& dy,
                                   bool through_statistics);
CUDA_TWIN BatchNormGrads batch_norm_backward(OnCuda, const Tensor& x, const Tensor& weight,
                                             const ChannelStatistics& statistics, float eps,
                                             const Tensor& dy, bool through_statistics);
inline BatchNormGrads batch_norm_backward(const Tensor& x, const Tensor& weight,
                                          const ChannelStatistics& statistics, float eps,
                                          const Tensor& dy, bool through_statistics) {
  return on_device("batch_norm", x.device(), [&](auto d) {
    return batch_norm_backward(d, x, weight, statistics, eps, dy, through_statistics);
  });
}

}  // namespace ocellus
