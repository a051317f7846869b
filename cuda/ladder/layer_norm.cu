// Layer norm of rows, f32, in four steps; bound by memory, 8 bytes an element at least.
//   01  a thread a row: mean, variance, result, each a reading of x a row apart
//   02  a block a row: coalesced, the same three readings
//   03  mean and variance in one reading (Welford)
//   04  16 bytes a thread and access
#include "cuda/device/block_reduce.cuh"
#include "cuda/device/rows.cuh"
#include "cuda/ladder/ladder.h"
#include "engine/kernels/layer_norm.h"
#include "engine/rows/monoids.h"

namespace ocellus {
namespace {

constexpr float kEps = 1e-5f;

struct LayerNorm {
  const float *x, *weight, *bias;
  float* y;
  int64_t rows, columns;
};

__global__ void thread_kernel(LayerNorm n) {
  for (int64_t row = grid_thread(); row < n.rows; row += grid_threads()) {
    const float* from = n.x + row * n.columns;
    float sum = 0, squares = 0;
    for (int64_t i = 0; i < n.columns; ++i) sum += from[i];
    const float mean = sum / static_cast<float>(n.columns);
    for (int64_t i = 0; i < n.columns; ++i) squares += (from[i] - mean) * (from[i] - mean);
    const float r = math::rsqrt(squares / static_cast<float>(n.columns) + kEps);
    for (int64_t i = 0; i < n.columns; ++i)
      n.y[row * n.columns + i] = (from[i] - mean) * r * n.weight[i] + n.bias[i];
  }
}

__device__ inline void write_row(const LayerNorm& n, int64_t row, float mean, float r) {
  const float* from = n.x + row * n.columns;
  for (int64_t i = threadIdx.x; i < n.columns; i += blockDim.x)
    n.y[row * n.columns + i] = (from[i] - mean) * r * n.weight[i] + n.bias[i];
}

__global__ void block_kernel(LayerNorm n) {
  for (int64_t row = blockIdx.x; row < n.rows; row += gridDim.x) {
    const float* from = n.x + row * n.columns;
    Sum<float> sum, squares;
    for (int64_t i = threadIdx.x; i < n.columns; i += blockDim.x) sum.push(from[i]);
    const float mean = block_reduce(sum).value / static_cast<float>(n.columns);
    for (int64_t i = threadIdx.x; i < n.columns; i += blockDim.x)
      squares.push((from[i] - mean) * (from[i] - mean));
    const float variance = block_reduce(squares).value / static_cast<float>(n.columns);
    write_row(n, row, mean, math::rsqrt(variance + kEps));
  }
}

__global__ void welford_kernel(LayerNorm n) {
  for (int64_t row = blockIdx.x; row < n.rows; row += gridDim.x) {
    const float* from = n.x + row * n.columns;
    Welford<float> w;
    for (int64_t i = threadIdx.x; i < n.columns; i += blockDim.x) w.push(from[i]);
    w = block_reduce(w);
    write_row(n, row, w.mean, math::rsqrt(w.m2 / w.count + kEps));
  }
}

__global__ void vector_kernel(LayerNorm n) {
  for (int64_t row = blockIdx.x; row < n.rows; row += gridDim.x) {
    const float* from = n.x + row * n.columns;
    Welford<float> w;
    for_elements(from, n.columns, [&](float value, int64_t) { w.push(value); });
    w = block_reduce(w);
    const float r = math::rsqrt(w.m2 / w.count + kEps);
    for_vectors<float>(n.columns, [&](int64_t i, int64_t left) {
      Vec128<float> v = load128(from + i, left);
      const Vec128<float> weight = load128(n.weight + i, left), bias = load128(n.bias + i, left);
#pragma unroll
      for (int j = 0; j < Vec128<float>::kSize; ++j)
        v.values[j] = (v.values[j] - w.mean) * r * weight.values[j] + bias.values[j];
      store128(n.y + row * n.columns + i, left, v);
    });
  }
}

Tensor run_rows(OnCuda device, const Tensors& in, LaunchShape shape, void (*kernel)(LayerNorm)) {
  Tensor y = Tensor::empty(in[0].shape(), DType::kF32, device_of(device), "ladder");
  launch("ladder layer_norm", device.index, kernel, shape,
         LayerNorm{in[0].data<float>(), in[1].data<float>(), in[2].data<float>(),
                   y.mutable_data<float>("ladder"), in[0].dim(0), in[0].dim(1)});
  return y;
}

}  // namespace

Ladder layer_norm_ladder(OnCuda device) {
  Ladder l;
  l.name = "layer_norm";
  l.bound_by_memory = true;
  l.tolerance = 1e-5;
  l.inputs = [](LadderSizes s) {
    return std::vector<LadderInput>{
        {{s.rows, s.columns}, DType::kF32}, {{s.columns}, DType::kF32}, {{s.columns}, DType::kF32}};
  };
  l.production = [](const Tensors& in) { return layer_norm_forward(in[0], in[1], in[2], kEps).y; };
  l.flops = [](LadderSizes s) { return 8.0 * static_cast<double>(s.rows * s.columns); };
  l.bytes = [](LadderSizes s) { return 8.0 * static_cast<double>(s.rows * s.columns); };
  const auto block_a_row = [device](void (*kernel)(LayerNorm)) {
    return [device, kernel](const Tensors& in) {
      return run_rows(device, in, grid_for(device.index, in[0].dim(0), 1), kernel);
    };
  };
  l.variants = {
      {"01 thread a row", "the definition",
       [device](const Tensors& in) {
         return run_rows(device, in, grid_for(device.index, in[0].dim(0), 128, 128), thread_kernel);
       }},
      {"02 block a row", "coalesced; reductions by shuffles", block_a_row(block_kernel)},
      {"03 welford", "mean and variance in one reading", block_a_row(welford_kernel)},
      {"04 vectors", "16 bytes an access, block as wide as the row", [device](const Tensors& in) {
         return run_rows(device, in, row_shape<float>(device.index, in[0].dim(0), in[0].dim(1)),
                         vector_kernel);
       }}};
  return l;
}

}  // namespace ocellus
