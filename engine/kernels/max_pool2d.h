// Largest values of windows.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// PoolShape — a square window and how it moves; what it sees outside of the picture does not
/// count.
struct PoolShape {
  int64_t kernel = 2, stride = 2, padding = 0;
  int64_t out(int64_t size) const {
    return size + 2 * padding < kernel ? 0 : (size + 2 * padding - kernel) / stride + 1;
  }
};

struct MaxPoolOut {
  Tensor y;      // [B, C, OH, OW]
  Tensor where;  // [B, C, OH, OW] i32: place of the largest value in its plane, the first of equals
};

/// max_pool2d_forward — y[b, c, i, j] = max of x over the window at (i·s - p, j·s - p).  x [B, C,
/// H, W].
MaxPoolOut max_pool2d_forward(OnCpu, const Tensor& x, PoolShape shape);
CUDA_TWIN MaxPoolOut max_pool2d_forward(OnCuda, const Tensor& x, PoolShape shape);
inline MaxPoolOut max_pool2d_forward(const Tensor& x, PoolShape shape) {
  return on_device("max_pool2d", x.device(),
                   [&](auto d) { return max_pool2d_forward(d, x, shape); });
}

/// max_pool2d_backward — dy added up at the places that were largest.
Tensor max_pool2d_backward(OnCpu, const Tensor& dy, const Tensor& where, const Shape& x_shape,
                           PoolShape shape);
CUDA_TWIN Tensor max_pool2d_backward(OnCuda, const Tensor& dy, const Tensor& where,
                                     const Shape& x_shape, PoolShape shape);
inline Tensor max_pool2d_backward(const Tensor& dy, const Tensor& where, const Shape& x_shape,
                                  PoolShape shape) {
  return on_device("max_pool2d", dy.device(),
                   [&](auto d) { return max_pool2d_backward(d, dy, where, x_shape, shape); });
}

}  // namespace ocellus
