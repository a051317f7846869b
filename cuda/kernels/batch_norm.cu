// Normalisation of channels over batch and picture, and its gradients.
// Statistics: a block a channel and share of the pictures (at most 16 shares, by shape alone), then
// a thread a channel merges the shares in order; Welford's monoid in one reading of x. y and dx: a
// thread an element, numbers of the channel from L1. Traffic: statistics read x once, forward reads
// x and writes y, backward reads x and dy twice and writes dx. No atomics.
#include "engine/kernels/batch_norm.h"

#include "cuda/device/block_reduce.cuh"
#include "engine/rows/monoids.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

struct Planes {
  int64_t batch, channels, size, share;  // pictures of a share
  explicit Planes(const Tensor& x)
      : batch(x.dim(0)), channels(x.dim(1)), size(x.dim(2) * x.dim(3)), share((batch + 15) / 16) {}
  int64_t shares() const { return share == 0 ? 0 : (batch + share - 1) / share; }
  int64_t count() const { return batch * size; }
};

/// Σ dy and Σ dy·(x - mean) of a channel.
struct GradientSums {
  float dy = 0, product = 0;
  HD void merge(const GradientSums& other) {
    dy += other.dy;
    product += other.product;
  }
};

// partial[share, channel] = push over all places of the channel in the share's pictures.
template <class Monoid, class Push>
__global__ void partial_kernel(Planes p, Push push, Monoid* partial) {
  const int64_t begin = blockIdx.y * p.share;
  const int64_t end = begin + p.share < p.batch ? begin + p.share : p.batch;
  for (int64_t c = blockIdx.x; c < p.channels; c += gridDim.x) {
    Monoid of_thread;
    for (int64_t b = begin; b < end; ++b)
      for (int64_t i = threadIdx.x; i < p.size; i += blockDim.x)
        push(of_thread, c, (b * p.channels + c) * p.size + i);
    const Monoid of_block = block_reduce(of_thread);
    if (threadIdx.x == 0) partial[blockIdx.y * p.channels + c] = of_block;
  }
}
template <class Monoid, class Write>
__global__ void merge_kernel(const Monoid* partial, int64_t shares, int64_t channels, Write write) {
  for (int64_t c = grid_thread(); c < channels; c += grid_threads()) {
    Monoid total;
    for (int64_t share = 0; share < shares; ++share) total.merge(partial[share * channels + c]);
    write(total, c);
  }
}

template <class Monoid, class Push, class Write>
void reduce_channels(const char* op, OnCuda device, const Planes& p, const Push& push,
                     const Write& write) {
  if (p.channels == 0) return;
  const int64_t words = static_cast<int64_t>(sizeof(Monoid) / sizeof(float));
  Tensor partial =
      Tensor::empty({p.shares(), p.channels, words}, DType::kF32, device_of(device), op);
  auto* to = reinterpret_cast<Monoid*>(partial.mutable_data<float>(op));
  LaunchShape shape = grid_for(device.index, p.channels, 1);
  shape.grid_y = static_cast<unsigned>(p.shares());
  launch(op, device.index, partial_kernel<Monoid, Push>, shape, p, push, to);
  launch(op, device.index, merge_kernel<Monoid, Write>,
         grid_for(device.index, p.channels, kBlockThreads), to, p.shares(), p.channels, write);
}

template <class T>
struct PushValue {
  const T* x;
  __device__ void operator()(Welford<float>& w, int64_t, int64_t i) const {
    w.push(static_cast<float>(x[i]));
  }
};
struct WriteStatistics {
  float *mean, *variance;
  __device__ void operator()(const Welford<float>& w, int64_t c) const {
    mean[c] = w.mean;
    variance[c] = w.m2 / w.count;
  }
};
template <class T>
struct PushGradient {
  const T *x, *dy;
  const float* mean;
  __device__ void operator()(GradientSums& s, int64_t c, int64_t i) const {
    const float g = static_cast<float>(dy[i]);
    s.dy += g;
    s.product += g * (static_cast<float>(x[i]) - mean[c]);
  }
};
/// Gradients of weight and bias; and the two numbers that dx takes from the whole channel.
struct WriteGradients {
  const float* variance;
  float eps, count;  // count 0: the statistics are constants
  float *dweight, *dbias, *mean_dy, *slope;
  __device__ void operator()(const GradientSums& s, int64_t c) const {
    const float r = math::rsqrt(variance[c] + eps);
    dbias[c] = s.dy;
    dweight[c] = s.product * r;
    mean_dy[c] = count > 0.0f ? s.dy / count : 0.0f;
    slope[c] = count > 0.0f ? s.product * r * r / count : 0.0f;
  }
};

struct ChannelNumbers {
  const float *mean, *variance, *weight;
  float eps;
};

template <class T>
__global__ void forward_kernel(const T* x, ChannelNumbers n, const float* bias, int64_t channels,
                               int64_t size, int64_t count, T* y) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t c = i / size % channels;
    const float scale = math::rsqrt(n.variance[c] + n.eps) * n.weight[c];
    y[i] = static_cast<T>((static_cast<float>(x[i]) - n.mean[c]) * scale + bias[c]);
  }
}
template <class T>
__global__ void backward_kernel(const T* x, const T* dy, ChannelNumbers n, const float* mean_dy,
                                const float* slope, int64_t channels, int64_t size, int64_t count,
                                T* dx) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t c = i / size % channels;
    const float scale = math::rsqrt(n.variance[c] + n.eps) * n.weight[c];
    const float centred = static_cast<float>(x[i]) - n.mean[c];
    dx[i] = static_cast<T>(scale * (static_cast<float>(dy[i]) - mean_dy[c] - centred * slope[c]));
  }
}

Tensor channel_numbers(OnCuda device, int64_t channels) {
  return Tensor::empty({channels}, DType::kF32, device_of(device), "batch_norm");
}
float* write(Tensor& tensor) { return tensor.mutable_data<float>("batch_norm"); }

/// All of a channel in f32, contiguous.
struct Given {
  Tensor mean, variance, weight;
  Given(const ChannelStatistics& s, const Tensor& w)
      : mean(s.mean.to(DType::kF32).contiguous()),
        variance(s.variance.to(DType::kF32).contiguous()),
        weight(w.to(DType::kF32).contiguous()) {}
  ChannelNumbers numbers(float eps) const {
    return {mean.data<float>(), variance.data<float>(), weight.data<float>(), eps};
  }
};

}  // namespace

ChannelStatistics channel_statistics(OnCuda device, const Tensor& x_any) {
  const Tensor x = x_any.contiguous();
  const Planes p(x);
  ChannelStatistics out{channel_numbers(device, p.channels), channel_numbers(device, p.channels)};
  on_cuda_float("batch_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    reduce_channels<Welford<float>>("batch_norm_statistics", device, p, PushValue<T>{x.data<T>()},
                                    WriteStatistics{write(out.mean), write(out.variance)});
  });
  return out;
}

Tensor batch_norm_forward(OnCuda device, const Tensor& x_any, const Tensor& weight,
                          const Tensor& bias_any, const ChannelStatistics& statistics, float eps) {
  check_same_device("batch_norm", device,
                    {&x_any, &weight, &bias_any, &statistics.mean, &statistics.variance});
  const Tensor x = x_any.contiguous(), bias = bias_any.to(DType::kF32).contiguous();
  const Planes p(x);
  const Given given(statistics, weight);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device_of(device), "batch_norm");
  on_cuda_float("batch_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (x.numel() > 0)
      launch("batch_norm_forward", device.index, forward_kernel<T>,
             grid_for(device.index, x.numel(), kBlockThreads), x.data<T>(), given.numbers(eps),
             bias.data<float>(), p.channels, p.size, x.numel(), y.mutable_data<T>("batch_norm"));
  });
  return y;
}

BatchNormGrads batch_norm_backward(OnCuda device, const Tensor& x_any, const Tensor& weight,
                                   const ChannelStatistics& statistics, float eps,
                                   const Tensor& dy_any, bool through_statistics) {
  check_same_device("batch_norm", device,
                    {&x_any, &weight, &statistics.mean, &statistics.variance, &dy_any});
  const Tensor x = x_any.contiguous(), dy = dy_any.contiguous();
  const Planes p(x);
  const Given given(statistics, weight);
  BatchNormGrads out{Tensor::empty(x.shape(), x.dtype(), device_of(device), "batch_norm"),
                     channel_numbers(device, p.channels), channel_numbers(device, p.channels)};
  Tensor mean_dy = channel_numbers(device, p.channels), slope = channel_numbers(device, p.channels);
  on_cuda_float("batch_norm", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const float count = through_statistics ? static_cast<float>(p.count()) : 0.0f;
    reduce_channels<GradientSums>(
        "batch_norm_sums", device, p,
        PushGradient<T>{x.data<T>(), dy.data<T>(), given.mean.data<float>()},
        WriteGradients{given.variance.data<float>(), eps, count, write(out.dweight),
                       write(out.dbias), write(mean_dy), write(slope)});
    if (x.numel() > 0)
      launch("batch_norm_backward", device.index, backward_kernel<T>,
             grid_for(device.index, x.numel(), kBlockThreads), x.data<T>(), dy.data<T>(),
             given.numbers(eps), mean_dy.data<float>(), slope.data<float>(), p.channels, p.size,
             x.numel(), out.dx.mutable_data<T>("batch_norm"));
  });
  return out;
}

}  // namespace ocellus
