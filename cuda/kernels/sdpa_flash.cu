// Attention, forward, bf16, on tensor cores: mma.sync fed by ldmatrix from tiles that cp.async
// brings in while the former ones are multiplied.   Dao 2023, arXiv:2307.08691. Parallelisation: a
// block a tile of 64 queries of one head, a warp 16 of them; tiles of 64 keys and values, two
// stages each. Scores of a warp never leave its registers: the accumulators of q·kᵀ are, as they
// lie, the left operand of p·v. Head sizes that are no multiple of 16 are padded with zeros.
// Traffic: q and out once, k and v once for every tile of queries; 4·D FLOP a pair in a visible
// tile. Shared memory: five tiles of 64·(D + 8)·2 bytes: 46 KB for D = 64, 87 KB for D = 128.
#include "cuda/kernels/sdpa_flash.h"

#include "cuda/kernels/sdpa_flash.cuh"

namespace ocellus::sdpa_cuda {
namespace {

struct Arguments {
  Rows<bf16> q, k, v;
  Mask<bf16> mask;
  Sizes s;
  float scale;
  bool vectors;
  bf16* out;
  float* log_sums;
};

template <int kDim>
__global__ void __launch_bounds__(kThreads) flash_kernel(Arguments a) {
  DYNAMIC_SHARED(memory);
  const auto tile = [&](int number) {
    return Tile<kDim>{reinterpret_cast<bf16*>(memory + number * Tile<kDim>::kBytes)};
  };
  const Tile<kDim> queries = tile(0);
  const Sizes& s = a.s;
  const int b = static_cast<int>(blockIdx.z), h = static_cast<int>(blockIdx.y),
            kv_head = h / s.group;
  const int lane = static_cast<int>(threadIdx.x) % kWarp,
            owned = static_cast<int>(threadIdx.x) / kWarp * 16;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRowsOf;

  const auto start_stage = [&](int stage, int64_t key) {
    if (key < s.keys) {
      start_copy(tile(1 + stage), a.k, b, kv_head, key, s.keys, s.dim, a.vectors);
      start_copy(tile(3 + stage), a.v, b, kv_head, key, s.keys, s.dim, a.vectors);
    }
    cp_async_commit();  // an empty group too, so that waits count alike
  };
  int64_t key = next_tile(a.mask, s, first, 0);
  start_copy(queries, a.q, b, h, first, s.queries, s.dim, a.vectors);
  start_stage(0, key);

  // A lane holds rows g and g + 8 of its warp's queries, in both halves of each accumulator.
  uint32_t q[kDim / 16][4];
  float total[kDim / 8][4] = {}, max[2] = {kHidden, kHidden}, sum[2] = {};
  bool loaded = false;
  for (int stage = 0; key < s.keys; stage ^= 1) {
    const int64_t next = next_tile(a.mask, s, first, key + kRowsOf);
    start_stage(stage ^ 1, next);
    cp_async_wait<1>();
    __syncthreads();
    if (!loaded) {  // once, when the first group has arrived
      loaded = true;
#pragma unroll
      for (int d = 0; d < kDim / 16; ++d) load_left(q[d], queries, owned, d * 16);
    }

    float p[kKeyTiles][4];
    multiply_keys(q, tile(1 + stage), p);
    float top[2] = {max[0], max[1]};
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t query = first + owned + lane / 4 + i / 2 * 8;
        p[n][i] =
            a.mask.apply(s, b, h, query, key + n * 8 + lane % 4 * 2 + i % 2, p[n][i] * a.scale);
        top[i / 2] = math::max(p[n][i], top[i / 2]);
      }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int n = 1; n < 4; n *= 2)
        top[half] = math::max(__shfl_xor_sync(kAllLanes, top[half], n), top[half]);
      const float shift = top[half] == kHidden ? 0 : top[half];  // a row that has seen nothing yet
      const float factor = math::exp(max[half] - shift);
      max[half] = top[half];
      sum[half] *= factor;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          p[n][i] = math::exp(p[n][i] - shift);
          sum[half] += p[n][i];
        }
#pragma unroll
      for (int d = 0; d < kDim / 8; ++d) {
        total[d][2 * half] *= factor;
        total[d][2 * half + 1] *= factor;
      }
    }
    multiply_values(p, tile(3 + stage), total);
    __syncthreads();  // the tile may be overwritten
    key = next;
  }
  cp_async_wait<0>();

#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int n = 1; n < 4; n *= 2) sum[half] += __shfl_xor_sync(kAllLanes, sum[half], n);
    const int64_t query = first + owned + lane / 4 + half * 8;
    if (query >= s.queries) continue;  // no barrier or exchange of all lanes depends on it below
    const float inverse = sum[half] > 0 ? 1 / sum[half] : sum[half];
    bf16* to = a.out + ((b * s.queries + query) * s.heads + h) * s.dim;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = d * 8 + lane % 4 * 2 + i;
        if (column < s.dim) to[column] = bf16(total[d][2 * half + i] * inverse);
      }
    if (lane % 4 == 0)
      a.log_sums[(static_cast<int64_t>(b) * s.heads + h) * s.queries + query] =
          sum[half] == 0 ? -kHidden : max[half] + math::log(sum[half]);
  }
}

// --- host ---

template <int kDim>
void start(OnCuda device, const Arguments& a, int64_t batch) {
  LaunchShape shape = shape_of(0, a.s.heads, batch, 5 * Tile<kDim>::kBytes);
  shape.grid = static_cast<unsigned>((a.s.queries + kRowsOf - 1) / kRowsOf);
  launch("sdpa_flash_forward", device.index, flash_kernel<kDim>, shape, a);
}

}  // namespace

void flash_forward(OnCuda device, const Tensor& q, const Tensor& k, const Tensor& v,
                   const SdpaMask& mask, double scale, SdpaOut& result) {
  const Sizes s = sizes_of(q, k);
  const MaskTensors tensors(device, mask, {q.dim(0), q.dim(2), q.dim(1), k.dim(1)});
  const Arguments a{Rows<bf16>(q),
                    Rows<bf16>(k),
                    Rows<bf16>(v),
                    tensors.pointers<bf16>(),
                    s,
                    static_cast<float>(scale),
                    in_vectors(q) && in_vectors(k) && in_vectors(v),
                    result.out.mutable_data<bf16>("sdpa"),
                    result.log_sum.mutable_data<float>("sdpa")};
  on_flash_dim(s.dim, [&](auto dim) { start<decltype(dim)::value>(device, a, q.dim(0)); });
}

}  // namespace ocellus::sdpa_cuda
