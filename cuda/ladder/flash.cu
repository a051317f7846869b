// Attention, out = softmax(q·kᵀ/√D)·v per head, bf16, in four steps.
//   01  scores of all pairs in memory: three kernels, 4·T² bytes a head written and read twice
//   02  a warp a query, softmax online: no scores in memory, but every query reads all keys and
//   values 03  tiles of 32 queries and 32 keys in shared memory (kernels/sdpa.cu, f32 sums on CUDA
//   cores) 04  tiles of 64 on the tensor cores, copies beside products (kernels/sdpa_flash.cu:
//   production)
#include <cmath>

#include "cuda/device/launch.h"
#include "cuda/device/warp.cuh"
#include "cuda/ladder/ladder.h"
#include "engine/kernels/sdpa.h"
#include "engine/rows/monoids.h"

namespace ocellus {
namespace {

constexpr int kMostColumns = 4;  // of a head of up to 128, a lane

struct Attention {
  const bf16 *q, *k, *v;  // [B, T, H, D], contiguous
  bf16* out;
  int64_t batch, tokens, heads, dim;
  float scale;
  __device__ int64_t at(int64_t b, int64_t t, int64_t h) const {
    return ((b * tokens + t) * heads + h) * dim;
  }
};

// --- 01 ---

__global__ void scores_kernel(Attention a, float* scores) {  // [B, H, T, T]
  const int64_t count = a.batch * a.heads * a.tokens * a.tokens;
  for (int64_t n = grid_thread(); n < count; n += grid_threads()) {
    const int64_t j = n % a.tokens, i = n / a.tokens % a.tokens;
    const int64_t h = n / a.tokens / a.tokens % a.heads, b = n / a.tokens / a.tokens / a.heads;
    const bf16 *q = a.q + a.at(b, i, h), *k = a.k + a.at(b, j, h);
    float sum = 0;
    for (int64_t d = 0; d < a.dim; ++d) sum += static_cast<float>(q[d]) * static_cast<float>(k[d]);
    scores[n] = sum * a.scale;
  }
}
__global__ void rows_kernel(float* scores, int64_t rows, int64_t columns) {  // a warp a row
  const int64_t lane = threadIdx.x % kWarp;
  for (int64_t row = grid_thread() / kWarp; row < rows; row += grid_threads() / kWarp) {
    float* s = scores + row * columns;
    OnlineSoftmax<float> total;
    for (int64_t i = lane; i < columns; i += kWarp) total.push(s[i]);
    total = warp_reduce(total);
    const float top = __shfl_sync(kAllLanes, total.max, 0);
    const float sum = __shfl_sync(kAllLanes, total.sum, 0);
    for (int64_t i = lane; i < columns; i += kWarp) s[i] = math::exp(s[i] - top) / sum;
  }
}
__global__ void values_kernel(Attention a, const float* p) {
  const int64_t count = a.batch * a.tokens * a.heads * a.dim;
  for (int64_t n = grid_thread(); n < count; n += grid_threads()) {
    const int64_t d = n % a.dim, h = n / a.dim % a.heads;
    const int64_t i = n / a.dim / a.heads % a.tokens, b = n / a.dim / a.heads / a.tokens;
    const float* row = p + ((b * a.heads + h) * a.tokens + i) * a.tokens;
    float sum = 0;
    for (int64_t j = 0; j < a.tokens; ++j)
      sum += row[j] * static_cast<float>(a.v[a.at(b, j, h) + d]);
    a.out[n] = static_cast<bf16>(sum);
  }
}

// --- 02 ---

__global__ void streaming_kernel(Attention a) {
  const int64_t lane = threadIdx.x % kWarp, rows = a.batch * a.tokens * a.heads;
  for (int64_t row = grid_thread() / kWarp; row < rows; row += grid_threads() / kWarp) {
    const int64_t h = row % a.heads, b = row / a.heads / a.tokens;
    float q[kMostColumns], total[kMostColumns] = {};
#pragma unroll
    for (int c = 0; c < kMostColumns; ++c)
      q[c] = lane + c * kWarp < a.dim
                 ? a.scale * static_cast<float>(a.q[row * a.dim + lane + c * kWarp])
                 : 0.0f;
    float top = -std::numeric_limits<float>::infinity(), sum = 0;
    for (int64_t j = 0; j < a.tokens; ++j) {
      const bf16 *k = a.k + a.at(b, j, h), *v = a.v + a.at(b, j, h);
      float score = 0;
#pragma unroll
      for (int c = 0; c < kMostColumns; ++c)
        if (lane + c * kWarp < a.dim) score += q[c] * static_cast<float>(k[lane + c * kWarp]);
#pragma unroll
      for (int n = kWarp / 2; n > 0; n /= 2) score += __shfl_xor_sync(kAllLanes, score, n);
      const float larger = math::max(score, top);
      const float factor = math::exp(top - larger), p = math::exp(score - larger);
      top = larger;
      sum = sum * factor + p;
#pragma unroll
      for (int c = 0; c < kMostColumns; ++c)
        if (lane + c * kWarp < a.dim)
          total[c] = total[c] * factor + p * static_cast<float>(v[lane + c * kWarp]);
    }
#pragma unroll
    for (int c = 0; c < kMostColumns; ++c)
      if (lane + c * kWarp < a.dim)
        a.out[row * a.dim + lane + c * kWarp] = static_cast<bf16>(total[c] / sum);
  }
}

// --- host ---

double scale_of(const Tensors& in) { return 1 / std::sqrt(static_cast<double>(in[0].dim(3))); }

Attention arguments_of(OnCuda device, const Tensors& in, Tensor& out) {
  out = Tensor::empty(in[0].shape(), DType::kBF16, device_of(device), "ladder");
  return {in[0].data<bf16>(),
          in[1].data<bf16>(),
          in[2].data<bf16>(),
          out.mutable_data<bf16>("ladder"),
          in[0].dim(0),
          in[0].dim(1),
          in[0].dim(2),
          in[0].dim(3),
          static_cast<float>(scale_of(in))};
}

Tensor with_scores(OnCuda device, const Tensors& in) {
  Tensor out;
  const Attention a = arguments_of(device, in, out);
  const int64_t rows = a.batch * a.heads * a.tokens;
  Tensor scores = Tensor::empty({rows, a.tokens}, DType::kF32, device_of(device), "ladder");
  float* s = scores.mutable_data<float>("ladder");
  launch("ladder scores", device.index, scores_kernel,
         grid_for(device.index, rows * a.tokens, kBlockThreads), a, s);
  launch("ladder softmax", device.index, rows_kernel,
         grid_for(device.index, rows, kBlockThreads / kWarp), s, rows, a.tokens);
  launch("ladder values", device.index, values_kernel,
         grid_for(device.index, rows * a.dim, kBlockThreads), a, s);
  return out;
}

Tensor streamed(OnCuda device, const Tensors& in) {
  Tensor out;
  const Attention a = arguments_of(device, in, out);
  launch("ladder streaming", device.index, streaming_kernel,
         grid_for(device.index, a.batch * a.tokens * a.heads, kBlockThreads / kWarp), a);
  return out;
}

Tensor in_f32(const Tensors& in) {
  return sdpa_forward(in[0].to(DType::kF32), in[1].to(DType::kF32), in[2].to(DType::kF32), {},
                      scale_of(in))
      .out.to(DType::kBF16);
}

}  // namespace

Ladder flash_ladder(OnCuda device) {
  Ladder l;
  l.name = "flash";
  l.tolerance = 0x1p-6;
  l.inputs = [](LadderSizes s) {
    check<ShapeError>(s.columns <= kMostColumns * kWarp,
                      "ladder flash: the head size must be at most {}, got {}",
                      kMostColumns * kWarp, s.columns);
    return std::vector<LadderInput>(3, {{s.depth, s.rows, s.heads, s.columns}, DType::kBF16});
  };
  l.production = [](const Tensors& in) {
    return sdpa_forward(in[0], in[1], in[2], {}, scale_of(in)).out;
  };
  l.flops = [](LadderSizes s) {
    return 4.0 * static_cast<double>(s.depth * s.heads * s.rows) * static_cast<double>(s.rows) *
           static_cast<double>(s.columns);
  };
  l.bytes = [](LadderSizes s) {
    return 8.0 * static_cast<double>(s.depth * s.heads * s.rows * s.columns);
  };
  l.variants = {{"01 scores in memory", "the definition",
                 [device](const Tensors& in) { return with_scores(device, in); }},
                {"02 streaming", "a warp a query, softmax online",
                 [device](const Tensors& in) { return streamed(device, in); }},
                {"03 tiles", "tiles of queries and keys in shared memory, f32",
                 [](const Tensors& in) { return in_f32(in); }},
                {"04 tensor cores", "mma.sync, scores in registers, cp.async", l.production}};
  return l;
}

}  // namespace ocellus
