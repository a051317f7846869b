// The largest value of each window, and the gradient's way back.
// Parallelisation: a thread an element of the result. Forward reads the window (from L1 where
// windows overlap), writes value and place. Backward gathers: each place of x looks at the windows
// that contain it, so nothing is added by atomics and sums have the order of the windows.
#include "engine/kernels/max_pool2d.h"

#include "cuda/device/launch.h"

namespace ocellus {
namespace {

struct PoolSizes {
  int64_t height, width, rows, columns, kernel, stride, padding;
  PoolSizes(const Shape& x, PoolShape s)
      : height(x[2]),
        width(x[3]),
        rows(s.out(x[2])),
        columns(s.out(x[3])),
        kernel(s.kernel),
        stride(s.stride),
        padding(s.padding) {}
};

template <class T>
__global__ void forward_kernel(PoolSizes z, const T* x, int64_t count, T* y, int32_t* where) {
  for (int64_t n = grid_thread(); n < count; n += grid_threads()) {
    const int64_t line = n / z.columns, top = line % z.rows * z.stride - z.padding,
                  left = n % z.columns * z.stride - z.padding;
    const T* plane = x + line / z.rows * z.height * z.width;
    const int64_t first_row = top < 0 ? 0 : top, first_column = left < 0 ? 0 : left;
    int64_t best = first_row * z.width + first_column;
    float largest = static_cast<float>(plane[best]);
    for (int64_t u = first_row; u < top + z.kernel && u < z.height; ++u)
      for (int64_t v = first_column; v < left + z.kernel && v < z.width; ++v) {
        const float value = static_cast<float>(plane[u * z.width + v]);
        if (value > largest || value != value) {  // a NaN wins, so that it is seen
          largest = value;
          best = u * z.width + v;
        }
      }
    y[n] = plane[best];
    where[n] = static_cast<int32_t>(best);
  }
}

template <class T>
__global__ void backward_kernel(PoolSizes z, const T* dy, const int32_t* where, int64_t count,
                                T* dx) {
  for (int64_t n = grid_thread(); n < count; n += grid_threads()) {
    const int64_t plane = n / (z.height * z.width), place = n % (z.height * z.width);
    const int64_t row = place / z.width + z.padding, column = place % z.width + z.padding;
    // Windows i with i·stride ≤ row < i·stride + kernel.
    const int64_t first_i = row < z.kernel ? 0 : (row - z.kernel) / z.stride + 1;
    const int64_t first_j = column < z.kernel ? 0 : (column - z.kernel) / z.stride + 1;
    float sum = 0.0f;
    for (int64_t i = first_i; i * z.stride <= row && i < z.rows; ++i)
      for (int64_t j = first_j; j * z.stride <= column && j < z.columns; ++j) {
        const int64_t window = (plane * z.rows + i) * z.columns + j;
        if (where[window] == place) sum += static_cast<float>(dy[window]);
      }
    dx[n] = static_cast<T>(sum);
  }
}

}  // namespace

MaxPoolOut max_pool2d_forward(OnCuda device, const Tensor& x_any, PoolShape shape) {
  const Tensor x = x_any.contiguous();
  const PoolSizes z(x.shape(), shape);
  const Shape out_shape{x.dim(0), x.dim(1), z.rows, z.columns};
  MaxPoolOut out{Tensor::empty(out_shape, x.dtype(), device_of(device), "max_pool2d"),
                 Tensor::empty(out_shape, DType::kI32, device_of(device), "max_pool2d")};
  on_cuda_float("max_pool2d", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t count = out_shape.numel();
    if (count > 0)
      launch("max_pool2d_forward", device.index, forward_kernel<T>,
             grid_for(device.index, count, kBlockThreads), z, x.data<T>(), count,
             out.y.mutable_data<T>("max_pool2d"), out.where.mutable_data<int32_t>("max_pool2d"));
  });
  return out;
}

Tensor max_pool2d_backward(OnCuda device, const Tensor& dy_any, const Tensor& where,
                           const Shape& x_shape, PoolShape shape) {
  check_same_device("max_pool2d", device, {&dy_any, &where});
  const Tensor dy = dy_any.contiguous();
  Tensor dx = Tensor::empty(x_shape, dy.dtype(), device_of(device), "max_pool2d");
  on_cuda_float("max_pool2d", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t count = x_shape.numel();
    if (count > 0)
      launch("max_pool2d_backward", device.index, backward_kernel<T>,
             grid_for(device.index, count, kBlockThreads), PoolSizes(x_shape, shape), dy.data<T>(),
             where.data<int32_t>(), count, dx.mutable_data<T>("max_pool2d"));
  });
  return dx;
}

}  // namespace ocellus
