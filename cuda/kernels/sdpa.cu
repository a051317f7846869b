// Attention, forward, without the matrix of scores.   Dao et al. 2022, arXiv:2205.14135.
// Parallelisation: a block a tile of 32 queries of one head, a warp eight of them; tiles of 32 keys
// and values pass through shared memory. A lane is a key while scores are formed, a column while
// values are added. Running maximum and sum of a query are in registers of its warp
// (OnlineSoftmax). Traffic: q and out once, k and v once for every tile of queries. 4·D FLOP a
// visible pair, on the CUDA cores. bf16 with heads of up to 128 goes to tensor cores instead
// (sdpa_flash.cu).
#include "engine/kernels/sdpa.h"

#include "cuda/kernels/sdpa.cuh"
#include "cuda/kernels/sdpa_flash.h"

namespace ocellus {
namespace sdpa_cuda {
namespace {

template <class T, int kColumns>
__global__ void forward_kernel(Rows<T> q, Rows<T> k, Rows<T> v, Mask<T> mask, Sizes s, float scale,
                               T* out, float* log_sums) {
  DYNAMIC_SHARED(memory);
  const int step = s.dim + 1;
  float* floats = reinterpret_cast<float*>(memory);
  const TileView queries{floats, step}, keys{floats + kTile * step, step},
      values{floats + 2 * kTile * step, step};
  float* weights = floats + 3 * kTile * step + threadIdx.x / kWarp * kWarp;  // of this warp
  const int b = static_cast<int>(blockIdx.z), h = static_cast<int>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int owned = static_cast<int>(threadIdx.x) / kWarp * kOwned;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile;

  load_tile(queries, q, b, h, first, s.queries, s.dim, scale);
  float max[kOwned], sum[kOwned], total[kOwned][kColumns];
#pragma unroll
  for (int r = 0; r < kOwned; ++r) {
    max[r] = kHidden;
    sum[r] = 0;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) total[r][c] = 0;
  }

  for (int64_t key = 0; key < s.keys; key += kTile) {
    if (mask.hides_tile(first, first + kTile, key)) continue;  // the same in all threads
    __syncthreads();                                           // the former tile has been read
    load_tile(keys, k, b, h / s.group, key, s.keys, s.dim);
    load_tile(values, v, b, h / s.group, key, s.keys, s.dim);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kOwned; ++r) {
      const float plain = dot(queries.row(owned + r), keys.row(lane), s.dim);
      const float score = mask.apply(s, b, h, first + owned + r, key + lane, plain);
      if (__all_sync(kAllLanes, score == kHidden)) continue;
      const float top = math::max(max[r], warp_max(score));
      const float factor = math::exp(max[r] - top), p = math::exp(score - top);
      max[r] = top;
      sum[r] = sum[r] * factor + warp_sum(p);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) total[r][c] *= factor;
      weights[lane] = p;
      __syncwarp();
      add_rows(total[r], weights, values, s.dim);
      __syncwarp();  // all have read the weights
    }
  }

#pragma unroll
  for (int r = 0; r < kOwned; ++r) {
    const int64_t i = first + owned + r;
    if (i >= s.queries) continue;
    const float inverse =
        sum[r] > 0 ? 1 / sum[r] : sum[r];  // 0 for a row that sees nothing; NaN stays
    T* to = out + ((b * s.queries + i) * s.heads + h) * s.dim;
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      if (lane + c * kWarp < s.dim) to[lane + c * kWarp] = static_cast<T>(total[r][c] * inverse);
    if (lane == 0)
      log_sums[(static_cast<int64_t>(b) * s.heads + h) * s.queries + i] =
          sum[r] == 0 ? -kHidden : max[r] + math::log(sum[r]);
  }
}

}  // namespace
}  // namespace sdpa_cuda

SdpaOut sdpa_forward(OnCuda device, const Tensor& q_any, const Tensor& k_any, const Tensor& v_any,
                     const SdpaMask& mask, double scale) {
  using namespace sdpa_cuda;
  check_same_device("sdpa", device, {&q_any, &k_any, &v_any});
  const Tensor q = with_unit_rows(q_any), k = with_unit_rows(k_any), v = with_unit_rows(v_any);
  const Sizes s = sizes_of(q, k);
  SdpaOut result;
  result.out = Tensor::empty(q.shape(), q.dtype(), device_of(device), "sdpa");
  result.log_sum =
      Tensor::empty({q.dim(0), q.dim(2), q.dim(1)}, DType::kF32, device_of(device), "sdpa");
  if (result.out.numel() == 0) return result;
  if (q.dtype() == DType::kBF16 && q.dim(3) <= kFlashMostDim) {
    flash_forward(device, q, k, v, mask, scale, result);
    return result;
  }
  const MaskTensors tensors(device, mask, {q.dim(0), q.dim(2), q.dim(1), k.dim(1)});
  const size_t shared = 3 * tile_bytes(s.dim) + sizeof(float) * kThreads;
  on_cuda_float("sdpa", q.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    on_columns(s.dim, [&](auto columns) {
      launch("sdpa_forward", device.index, forward_kernel<T, decltype(columns)::value>,
             shape_of(s.queries, s.heads, q.dim(0), shared), Rows<T>(q), Rows<T>(k), Rows<T>(v),
             tensors.pointers<T>(), s, static_cast<float>(scale),
             result.out.mutable_data<T>("sdpa"), result.log_sum.mutable_data<float>("sdpa"));
    });
  });
  return result;
}

}  // namespace ocellus
