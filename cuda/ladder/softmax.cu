// Softmax of rows, f32, in four steps; bound by memory, 8 bytes an element at least.
//   01  a thread a row: neighbouring threads read addresses a row apart, every access its own
//   sector 02  a block a row: coalesced; three readings of x (largest, sum, result) 03  largest and
//   sum in one reading (OnlineSoftmax): two readings of x 04  16 bytes a thread and access; no more
//   threads than the row has vectors
#include "cuda/device/block_reduce.cuh"
#include "cuda/device/online_softmax.cuh"
#include "cuda/ladder/ladder.h"
#include "engine/kernels/softmax.h"

namespace ocellus {
namespace {

__global__ void thread_kernel(const float* x, int64_t rows, int64_t columns, float* y) {
  for (int64_t row = grid_thread(); row < rows; row += grid_threads()) {
    const float* from = x + row * columns;
    float top = -std::numeric_limits<float>::infinity(), sum = 0;
    for (int64_t i = 0; i < columns; ++i) top = math::max(from[i], top);
    for (int64_t i = 0; i < columns; ++i) sum += math::exp(from[i] - top);
    for (int64_t i = 0; i < columns; ++i) y[row * columns + i] = math::exp(from[i] - top) / sum;
  }
}

__global__ void block_kernel(const float* x, int64_t rows, int64_t columns, float* y) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* from = x + row * columns;
    Max<float> top;
    for (int64_t i = threadIdx.x; i < columns; i += blockDim.x) top.push(from[i]);
    top = block_reduce(top);
    Sum<float> sum;
    for (int64_t i = threadIdx.x; i < columns; i += blockDim.x)
      sum.push(math::exp(from[i] - top.value));
    sum = block_reduce(sum);
    for (int64_t i = threadIdx.x; i < columns; i += blockDim.x)
      y[row * columns + i] = math::exp(from[i] - top.value) / sum.value;
  }
}

__global__ void online_kernel(const float* x, int64_t rows, int64_t columns, float* y) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* from = x + row * columns;
    OnlineSoftmax<float> total;
    for (int64_t i = threadIdx.x; i < columns; i += blockDim.x) total.push(from[i]);
    total = block_reduce(total);
    const float scale = 1 / total.sum;
    for (int64_t i = threadIdx.x; i < columns; i += blockDim.x)
      y[row * columns + i] = math::exp(from[i] - total.max) * scale;
  }
}

__global__ void vector_kernel(const float* x, int64_t rows, int64_t columns, float* y) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* from = x + row * columns;
    const OnlineSoftmax<float> total = block_reduce(softmax_part(from, columns));
    const float scale = 1 / total.sum;
    for_vectors<float>(columns, [&](int64_t i, int64_t n) {
      Vec128<float> v = load128(from + i, n);
#pragma unroll
      for (float& value : v.values) value = math::exp(value - total.max) * scale;
      store128(y + row * columns + i, n, v);
    });
  }
}

Tensor run_rows(OnCuda device, const Tensor& x, LaunchShape shape,
                void (*kernel)(const float*, int64_t, int64_t, float*)) {
  Tensor y = Tensor::empty(x.shape(), DType::kF32, device_of(device), "ladder");
  launch("ladder softmax", device.index, kernel, shape, x.data<float>(), x.dim(0), x.dim(1),
         y.mutable_data<float>("ladder"));
  return y;
}

}  // namespace

Ladder softmax_ladder(OnCuda device) {
  Ladder l;
  l.name = "softmax";
  l.bound_by_memory = true;
  l.tolerance = 1e-6;
  l.inputs = [](LadderSizes s) {
    return std::vector<LadderInput>{{{s.rows, s.columns}, DType::kF32}};
  };
  l.production = [](const Tensors& in) { return softmax_forward(in[0], false); };
  l.flops = [](LadderSizes s) { return 4.0 * static_cast<double>(s.rows * s.columns); };
  l.bytes = [](LadderSizes s) { return 8.0 * static_cast<double>(s.rows * s.columns); };
  const auto block_a_row = [device](void (*kernel)(const float*, int64_t, int64_t, float*)) {
    return [device, kernel](const Tensors& in) {
      return run_rows(device, in[0], grid_for(device.index, in[0].dim(0), 1), kernel);
    };
  };
  l.variants = {
      {"01 thread a row", "the definition",
       [device](const Tensors& in) {
         return run_rows(device, in[0], grid_for(device.index, in[0].dim(0), 128, 128),
                         thread_kernel);
       }},
      {"02 block a row", "coalesced; reductions by shuffles", block_a_row(block_kernel)},
      {"03 online", "largest and sum in one reading", block_a_row(online_kernel)},
      {"04 vectors", "16 bytes an access, block as wide as the row", [device](const Tensors& in) {
         return run_rows(device, in[0], row_shape<float>(device.index, in[0].dim(0), in[0].dim(1)),
                         vector_kernel);
       }}};
  return l;
}

}  // namespace ocellus
