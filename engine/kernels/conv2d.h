// Two-dimensional convolution and its gradients.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// ConvShape — how a convolution moves over a picture; the same in both directions.
struct ConvShape {
  int64_t stride = 1, padding = 0;  // zeros around the picture
  int64_t groups = 1;               // input and output channels are cut into so many groups
  /// Output elements along an axis of `size` for a kernel of `kernel`; 0 or less if it does not
  /// fit.
  int64_t out(int64_t size, int64_t kernel) const {
    return size + 2 * padding < kernel ? 0 : (size + 2 * padding - kernel) / stride + 1;
  }
};

/// conv2d_forward — y[b, o, i, j] = bias[o] + Σ_{c, u, v} weight[o, c, u, v]·x[b, c', i·s + u - p,
/// j·s
/// + v - p], c' = channel c of o's group.  x [B, C, H, W], weight [O, C/groups, KH, KW], bias [O]
/// or undefined → [B, O, OH, OW]. Sums in f32 (f64). A picture's windows are laid out as a matrix
/// (im2col) and multiplied; one channel per group (depthwise) is summed in place.
Tensor conv2d_forward(OnCpu, const Tensor& x, const Tensor& weight, const Tensor& bias,
                      ConvShape shape);
CUDA_TWIN Tensor conv2d_forward(OnCuda, const Tensor& x, const Tensor& weight, const Tensor& bias,
                                ConvShape shape);
inline Tensor conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias,
                             ConvShape shape) {
  return on_device("conv2d", x.device(),
                   [&](auto d) { return conv2d_forward(d, x, weight, bias, shape); });
}

/// conv2d_backward_input — dx of `x_shape`: the transposed map of dy.
Tensor conv2d_backward_input(OnCpu, const Tensor& dy, const Tensor& weight, const Shape& x_shape,
                             ConvShape shape);
CUDA_TWIN Tensor conv2d_backward_input(OnCuda, const Tensor& dy, const Tensor& weight,
                                       const Shape& x_shape, ConvShape shape);
inline Tensor conv2d_backward_input(const Tensor& dy, const Tensor& weight, const Shape& x_shape,
                                    ConvShape shape) {
  return on_device("conv2d", dy.device(),
                   [&](auto d) { return conv2d_backward_input(d, dy, weight, x_shape, shape); });
}

/// conv2d_backward_weight — dweight of `weight_shape` in `dtype`, summed over the batch in order.
Tensor conv2d_backward_weight(OnCpu, const Tensor& dy, const Tensor& x, const Shape& weight_shape,
                              ConvShape shape, DType dtype);
CUDA_TWIN Tensor conv2d_backward_weight(OnCuda, const Tensor& dy, const Tensor& x,
                                        const Shape& weight_shape, ConvShape shape, DType dtype);
inline Tensor conv2d_backward_weight(const Tensor& dy, const Tensor& x, const Shape& weight_shape,
                                     ConvShape shape, DType dtype) {
  return on_device("conv2d", dy.device(), [&](auto d) {
    return conv2d_backward_weight(d, dy, x, weight_shape, shape, dtype);
  });
}

/// channel_sums — Σ over all but dimension 1;  x [B, C, H, W] → [C] in `dtype`.
Tensor channel_sums(OnCpu, const Tensor& x, DType dtype);
CUDA_TWIN Tensor channel_sums(OnCuda, const Tensor& x, DType dtype);
inline Tensor channel_sums(const Tensor& x, DType dtype) {
  return on_device("conv2d", x.device(), [&](auto d) { return channel_sums(d, x, dtype); });
}

}  // namespace ocellus
