// Convolution of pictures and its gradients, as implicit products (device/tile_product.cuh): the
// windows are addressed, never laid out. With M = channels out of a group, T = taps·channels in:
//   forward   y[M, B·OH·OW] = weight[M, T]·windows[T, B·OH·OW]        a group a block in z
//   dx        [T / taps, B·H·W] gathers dy through the taps that reach a place
//   dweight   [M, T] = dy·windowsᵀ; B·OH·OW is cut into shares whose sums are added in order
// 2·M·T·B·OH·OW FLOPs each on the CUDA cores. One channel in per group (depthwise) has no product
// to speak of: a thread an element, bound by memory (x from L1/L2, y written once). No atomics.
// cuDNN's tensor-core kernels are faster for wide channels; this one needs no library.
#include "engine/kernels/conv2d.h"

#include <limits>

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/column_sums.cuh"
#include "cuda/device/tile_product.cuh"
#include "engine/rows/monoids.h"

namespace ocellus {
namespace {

/// Geometry of one convolution, by value to kernels. Extents of a picture fit 32 bits.
struct ConvSizes {
  int batch, channels, height, width, out_channels, out_height, out_width;
  int group_in, group_out, kernel_h, kernel_w, stride, padding, groups;

  ConvSizes(const Shape& x, const Shape& w, ConvShape s) {
    for (const Shape* shape : {&x, &w})
      for (int i = 0; i < 4; ++i)
        check<ShapeError>((*shape)[i] <= std::numeric_limits<int>::max() / 2,
                          "conv2d: dimensions must be below 2^30, got {}", to_string(*shape));
    const auto narrow = [](int64_t value) { return static_cast<int>(value); };
    batch = narrow(x[0]), channels = narrow(x[1]), height = narrow(x[2]), width = narrow(x[3]);
    out_channels = narrow(w[0]), kernel_h = narrow(w[2]), kernel_w = narrow(w[3]);
    out_height = narrow(s.out(x[2], w[2])), out_width = narrow(s.out(x[3], w[3]));
    group_in = narrow(w[1]), group_out = narrow(w[0] / s.groups);
    stride = narrow(s.stride), padding = narrow(s.padding), groups = narrow(s.groups);
  }
  HD int64_t plane() const { return static_cast<int64_t>(height) * width; }
  HD int64_t out_plane() const { return static_cast<int64_t>(out_height) * out_width; }
  HD int64_t taps() const { return static_cast<int64_t>(group_in) * kernel_h * kernel_w; }
  bool depthwise() const { return group_in == 1 && groups > 1; }
};

/// A place of a plane of every picture: which picture, row, column.
struct Place {
  int64_t picture;
  int row, column;
};
__device__ inline Place place_of(int64_t n, int height, int width) {
  const int64_t line = n / width;
  return {line / height, static_cast<int>(line % height), static_cast<int>(n % width)};
}
/// A tap of a group: channel, row, column of the kernel.
struct TapPlace {
  int channel, row, column;
};
__device__ inline TapPlace tap_of(int64_t k, const ConvSizes& z) {
  const int tap = static_cast<int>(k), line = tap / z.kernel_w;
  return {line / z.kernel_h, line % z.kernel_h, tap % z.kernel_w};
}
/// What a tap sees of `plane` from output place (i, j): 0 outside of the picture.
template <class T>
__device__ float seen(const T* plane, const ConvSizes& z, int i, int j, int u, int v) {
  const int row = i * z.stride + u - z.padding, column = j * z.stride + v - z.padding;
  if (row < 0 || row >= z.height || column < 0 || column >= z.width) return 0.0f;
  return static_cast<float>(plane[static_cast<int64_t>(row) * z.width + column]);
}
/// dy of the output place whose tap (u, v) falls on place (row, column) of the picture; 0 if none.
template <class T>
__device__ float reaching(const T* plane, const ConvSizes& z, int row, int column, int u, int v) {
  const int i = row + z.padding - u, j = column + z.padding - v;
  if (i < 0 || j < 0 || i % z.stride != 0 || j % z.stride != 0) return 0.0f;
  if (i / z.stride >= z.out_height || j / z.stride >= z.out_width) return 0.0f;
  return static_cast<float>(plane[static_cast<int64_t>(i / z.stride) * z.out_width + j / z.stride]);
}

// --- the three products ---

template <class T>
struct ForwardTerms {
  ConvSizes z;
  const T *x, *w, *bias;
  T* y;
  int64_t rows, columns, k_begin = 0, k_end = 0;

  __device__ ForwardTerms at(unsigned group) const {
    ForwardTerms t = *this;
    t.x += static_cast<int64_t>(group) * z.group_in * z.plane();
    t.w += static_cast<int64_t>(group) * z.group_out * z.taps();
    t.y += static_cast<int64_t>(group) * z.group_out * z.out_plane();
    if (bias) t.bias += static_cast<int64_t>(group) * z.group_out;
    return t;
  }
  __device__ int64_t row(int64_t m) const { return m * z.taps(); }
  __device__ Place column(int64_t n) const { return place_of(n, z.out_height, z.out_width); }
  __device__ float a(int64_t row, int64_t k) const { return static_cast<float>(w[row + k]); }
  __device__ float b(const Place& p, int64_t k) const {
    const TapPlace tap = tap_of(k, z);
    const T* plane = x + (p.picture * z.channels + tap.channel) * z.plane();
    return seen(plane, z, p.row, p.column, tap.row, tap.column);
  }
  __device__ void store(int64_t m, int64_t n, float sum) const {
    if (bias) sum += static_cast<float>(bias[m]);
    y[(n / z.out_plane() * z.out_channels + m) * z.out_plane() + n % z.out_plane()] =
        static_cast<T>(sum);
  }
};

template <class T>
struct InputTerms {
  ConvSizes z;
  const T *dy, *w;
  T* dx;
  int64_t rows, columns, k_begin = 0, k_end = 0;

  __device__ InputTerms at(unsigned group) const {
    InputTerms t = *this;
    t.dy += static_cast<int64_t>(group) * z.group_out * z.out_plane();
    t.w += static_cast<int64_t>(group) * z.group_out * z.taps();
    t.dx += static_cast<int64_t>(group) * z.group_in * z.plane();
    return t;
  }
  // k runs over the channels out of the group and the taps of one channel in.
  __device__ int64_t row(int64_t m) const { return m * z.kernel_h * z.kernel_w; }
  __device__ Place column(int64_t n) const { return place_of(n, z.height, z.width); }
  __device__ float a(int64_t row, int64_t k) const {
    const int64_t window = static_cast<int64_t>(z.kernel_h) * z.kernel_w;
    return static_cast<float>(w[k / window * z.taps() + row + k % window]);
  }
  __device__ float b(const Place& p, int64_t k) const {
    const TapPlace tap = tap_of(k, z);
    const T* plane = dy + (p.picture * z.out_channels + tap.channel) * z.out_plane();
    return reaching(plane, z, p.row, p.column, tap.row, tap.column);
  }
  __device__ void store(int64_t m, int64_t n, float sum) const {
    dx[(n / z.plane() * z.channels + m) * z.plane() + n % z.plane()] = static_cast<T>(sum);
  }
};

template <class T>
struct WeightTerms {
  ConvSizes z;
  const T *dy, *x;
  float* sums;  // [shares, out_channels, taps]
  int64_t rows, columns, share;
  int64_t k_begin = 0, k_end = 0;

  // Part = share·groups + group.
  __device__ WeightTerms at(unsigned part) const {
    WeightTerms t = *this;
    const int64_t group = part % z.groups, which = part / z.groups, all = z.batch * z.out_plane();
    t.dy += group * z.group_out * z.out_plane();
    t.x += group * z.group_in * z.plane();
    t.sums += (which * z.out_channels + group * z.group_out) * z.taps();
    t.k_begin = which * share;
    t.k_end = t.k_begin + share < all ? t.k_begin + share : all;
    return t;
  }
  __device__ int64_t row(int64_t m) const { return m * z.out_plane(); }
  __device__ TapPlace column(int64_t n) const { return tap_of(n, z); }
  __device__ float a(int64_t row, int64_t k) const {
    return static_cast<float>(
        dy[k / z.out_plane() * z.out_channels * z.out_plane() + row + k % z.out_plane()]);
  }
  __device__ float b(const TapPlace& tap, int64_t k) const {
    const Place p = place_of(k, z.out_height, z.out_width);
    const T* plane = x + (p.picture * z.channels + tap.channel) * z.plane();
    return seen(plane, z, p.row, p.column, tap.row, tap.column);
  }
  __device__ void store(int64_t m, int64_t n, float sum) const { sums[m * z.taps() + n] = sum; }
};

// --- one channel in per group ---

template <class T>
__global__ void depthwise_kernel(ConvSizes z, const T* x, const T* w, const T* bias, int64_t count,
                                 T* y) {
  for (int64_t n = grid_thread(); n < count; n += grid_threads()) {
    const Place p = place_of(n, z.out_height, z.out_width);
    const int64_t o = p.picture % z.out_channels, picture = p.picture / z.out_channels;
    const T* plane = x + (picture * z.channels + o / z.group_out) * z.plane();
    const T* taps = w + o * z.taps();
    float sum = bias ? static_cast<float>(bias[o]) : 0.0f;
    for (int u = 0; u < z.kernel_h; ++u)
      for (int v = 0; v < z.kernel_w; ++v)
        sum += static_cast<float>(taps[u * z.kernel_w + v]) * seen(plane, z, p.row, p.column, u, v);
    y[n] = static_cast<T>(sum);
  }
}

template <class T>
__global__ void depthwise_input_kernel(ConvSizes z, const T* dy, const T* w, int64_t count, T* dx) {
  for (int64_t n = grid_thread(); n < count; n += grid_threads()) {
    const Place p = place_of(n, z.height, z.width);
    const int64_t channel = p.picture % z.channels, picture = p.picture / z.channels;
    float sum = 0.0f;
    for (int64_t o = channel * z.group_out; o < (channel + 1) * z.group_out; ++o) {
      const T* plane = dy + (picture * z.out_channels + o) * z.out_plane();
      for (int u = 0; u < z.kernel_h; ++u)
        for (int v = 0; v < z.kernel_w; ++v)
          sum += static_cast<float>(w[o * z.taps() + u * z.kernel_w + v]) *
                 reaching(plane, z, p.row, p.column, u, v);
    }
    dx[n] = static_cast<T>(sum);
  }
}

// A block a tap of a channel.
template <class T>
__global__ void depthwise_weight_kernel(ConvSizes z, const T* dy, const T* x, float* dw) {
  const int64_t items = z.out_channels * z.taps(), places = z.batch * z.out_plane();
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const int64_t o = item / z.taps();
    const int u = static_cast<int>(item % z.taps()) / z.kernel_w;
    const int v = static_cast<int>(item % z.taps()) % z.kernel_w;
    Sum<float> sum;
    for (int64_t k = threadIdx.x; k < places; k += blockDim.x) {
      const Place p = place_of(k, z.out_height, z.out_width);
      const T* plane = x + (p.picture * z.channels + o / z.group_out) * z.plane();
      const int64_t at = (p.picture * z.out_channels + o) * z.out_plane() + k % z.out_plane();
      sum.push(static_cast<float>(dy[at]) * seen(plane, z, p.row, p.column, u, v));
    }
    sum = block_reduce(sum);
    if (threadIdx.x == 0) dw[item] = sum.value;
  }
}

// partial[share, channel]: a block a channel and share of the pictures.
template <class T>
__global__ void channel_sums_kernel(const T* x, int64_t batch, int64_t channels, int64_t plane,
                                    int64_t share, float* partial) {
  const int64_t begin = blockIdx.y * share, end = begin + share < batch ? begin + share : batch;
  for (int64_t channel = blockIdx.x; channel < channels; channel += gridDim.x) {
    Sum<float> sum;
    for (int64_t b = begin; b < end; ++b)
      for (int64_t i = threadIdx.x; i < plane; i += blockDim.x)
        sum.push(static_cast<float>(x[(b * channels + channel) * plane + i]));
    sum = block_reduce(sum);
    if (threadIdx.x == 0) partial[blockIdx.y * channels + channel] = sum.value;
  }
}

/// [shares, columns] → [columns], added in order.
Tensor merged(OnCuda device, const Tensor& partial, int64_t columns, const Shape& shape) {
  Tensor sums = Tensor::empty(shape, DType::kF32, device_of(device), "conv2d");
  if (columns > 0)
    launch("conv2d_merge", device.index, merge_sums_kernel<float>,
           grid_for(device.index, columns, kColumnThreads, kColumnThreads), partial.data<float>(),
           partial.dim(0), columns, sums.mutable_data<float>("conv2d"));
  return sums;
}

}  // namespace

Tensor conv2d_forward(OnCuda device, const Tensor& x_any, const Tensor& weight_any,
                      const Tensor& bias_any, ConvShape shape) {
  check_same_device("conv2d", device, {&x_any, &weight_any, &bias_any});
  const Tensor x = x_any.contiguous(), weight = weight_any.contiguous();
  const Tensor bias = bias_any.defined() ? bias_any.to(x.dtype()).contiguous() : Tensor();
  const ConvSizes z(x.shape(), weight.shape(), shape);
  Tensor y = Tensor::empty({z.batch, z.out_channels, z.out_height, z.out_width}, x.dtype(),
                           device_of(device), "conv2d");
  on_cuda_float("conv2d", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* offsets = bias.defined() ? bias.data<T>() : nullptr;
    T* to = y.mutable_data<T>("conv2d");
    if (y.numel() == 0) return;
    if (z.depthwise())
      launch("conv2d_depthwise", device.index, depthwise_kernel<T>,
             grid_for(device.index, y.numel(), kBlockThreads), z, x.data<T>(), weight.data<T>(),
             offsets, y.numel(), to);
    else
      tile_product("conv2d_forward", device.index,
                   ForwardTerms<T>{z, x.data<T>(), weight.data<T>(), offsets, to, z.group_out,
                                   z.batch * z.out_plane(), 0, z.taps()},
                   z.groups);
  });
  return y;
}

Tensor conv2d_backward_input(OnCuda device, const Tensor& dy_any, const Tensor& weight_any,
                             const Shape& x_shape, ConvShape shape) {
  check_same_device("conv2d", device, {&dy_any, &weight_any});
  const Tensor dy = dy_any.contiguous(), weight = weight_any.contiguous();
  const ConvSizes z(x_shape, weight.shape(), shape);
  Tensor dx = Tensor::empty(x_shape, dy.dtype(), device_of(device), "conv2d");
  on_cuda_float("conv2d", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = dx.mutable_data<T>("conv2d");
    if (dx.numel() == 0) return;
    const int64_t terms = static_cast<int64_t>(z.group_out) * z.kernel_h * z.kernel_w;
    if (z.depthwise())
      launch("conv2d_depthwise_dx", device.index, depthwise_input_kernel<T>,
             grid_for(device.index, dx.numel(), kBlockThreads), z, dy.data<T>(), weight.data<T>(),
             dx.numel(), to);
    else
      tile_product("conv2d_dx", device.index,
                   InputTerms<T>{z, dy.data<T>(), weight.data<T>(), to, z.group_in,
                                 z.batch * z.plane(), 0, terms},
                   z.groups);
  });
  return dx;
}

Tensor conv2d_backward_weight(OnCuda device, const Tensor& dy_any, const Tensor& x_any,
                              const Shape& weight_shape, ConvShape shape, DType dtype) {
  check_same_device("conv2d", device, {&dy_any, &x_any});
  const Tensor dy = dy_any.contiguous(), x = x_any.contiguous();
  const ConvSizes z(x.shape(), weight_shape, shape);
  Tensor dw;
  on_cuda_float("conv2d", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t items = weight_shape.numel(), places = z.batch * z.out_plane();
    if (z.depthwise()) {
      dw = Tensor::empty(weight_shape, DType::kF32, device_of(device), "conv2d");
      if (items > 0)
        launch("conv2d_depthwise_dw", device.index, depthwise_weight_kernel<T>,
               grid_for(device.index, items, 1), z, dy.data<T>(), x.data<T>(),
               dw.mutable_data<float>("conv2d"));
      return;
    }
    // Shares depend on the shape alone: at most 64, none below 256 places.
    const int64_t share = std::max<int64_t>(256, (places + 63) / 64);
    const int64_t shares = std::max<int64_t>(1, (places + share - 1) / share);
    Tensor partial = Tensor::empty({shares, items}, DType::kF32, device_of(device), "conv2d");
    tile_product("conv2d_dw", device.index,
                 WeightTerms<T>{z, dy.data<T>(), x.data<T>(), partial.mutable_data<float>("conv2d"),
                                z.group_out, z.taps(), share},
                 shares * z.groups);
    dw = merged(device, partial, items, weight_shape);
  });
  return dw.to(dtype);
}

Tensor channel_sums(OnCuda device, const Tensor& x_any, DType dtype) {
  const Tensor x = x_any.contiguous();
  const int64_t batch = x.dim(0), channels = x.dim(1), plane = x.dim(2) * x.dim(3);
  const int64_t share = std::max<int64_t>(1, (batch + 15) / 16);
  const int64_t shares = std::max<int64_t>(1, (batch + share - 1) / share);
  Tensor partial = Tensor::empty({shares, channels}, DType::kF32, device_of(device), "conv2d");
  on_cuda_float("conv2d", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (channels == 0) return;
    LaunchShape grid = grid_for(device.index, channels, 1);
    grid.grid_y = static_cast<unsigned>(shares);
    launch("channel_sums", device.index, channel_sums_kernel<T>, grid, x.data<T>(), batch, channels,
           plane, share, partial.mutable_data<float>("conv2d"));
  });
  return merged(device, partial, channels, {channels}).to(dtype);
}

}  // namespace ocellus
