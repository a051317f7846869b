// Gradients of attention in bf16 on tensor cores; probabilities are computed again from the saved
// log-sums.   Dao 2023, arXiv:2307.08691.
// Parallelisation: one kernel owns 64 queries and walks over tiles of 64 keys (dq), one owns 64
// keys and walks over the queries of all heads that share them (dk, dv); a warp 16 rows of either.
// Scores and their gradients stay in registers: as accumulators they lie as left operands of the
// next product do. Nothing is added by atomics: the same bits in every run, for 14·D FLOP a pair in
// a visible tile instead of 10·D. Traffic: dq reads q, dout once and k, v once a tile of queries;
// dk, dv the other way round. Shared memory: six tiles of 64·(D + 8)·2 bytes (55 KB for D = 64),
// four of them (70 KB) for D = 128, where a block of sm_86 has room for no second stage.
#include "cuda/kernels/sdpa_flash.cuh"
#include "cuda/kernels/sdpa_flash.h"

namespace ocellus::sdpa_cuda {
namespace {

struct Arguments {
  Rows<bf16> q, k, v, dout;
  Mask<bf16> mask;
  Sizes s;
  float scale;
  bool vectors;
  const float *log_sums, *deltas;  // [B, H, Tq]
  bf16 *dq, *dk, *dv;              // dq may be null, if only dscores is wanted
  float* dscores;                  // [B, H, Tq, Tk] or null
};

/// Of one pair: its probability, the gradient of its score, and that before the soft cap.
struct Pair {
  float p, ds, before_cap;
};
__device__ inline Pair pair_of(const Arguments& a, int b, int h, int64_t i, int64_t j,
                               float product, float dp, float log_sum, float delta) {
  const float plain = product * a.scale;
  const float score = a.mask.apply(a.s, b, h, i, j, plain);
  if (score == kHidden) return {0, 0, 0};
  const float p = math::exp(score - log_sum), ds = p * (dp - delta);
  if (a.mask.softcap <= 0) return {p, ds, ds};
  const float t = a.mask.capped(plain);
  return {p, ds, ds * (1 - t * t)};
}

template <int kDim>
constexpr int kStagesOf = kDim > 96 ? 1 : 2;
template <int kDim>
constexpr size_t kSharedOf = (2 + 2 * kStagesOf<kDim>)*Tile<kDim>::kBytes;

/// The copies of one stage are awaited; with two stages those of the next are under way meanwhile.
template <int kDim>
__device__ void wait_for_stage() {
  cp_async_wait<kStagesOf<kDim> - 1>();
  __syncthreads();
}

/// Rows of a warp's accumulators to [.., T, heads, D], times `factor`.
template <int kDim>
__device__ void store_rows(const float (&total)[kDim / 8][4], int64_t first, int64_t count,
                           bf16* to, int64_t row_step, int dim, float factor) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row = first + lane / 4 + half * 8;
    if (row >= count) continue;
#pragma unroll
    for (int d = 0; d < kDim / 8; ++d)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = d * 8 + lane % 4 * 2 + i;
        if (column < dim) to[row * row_step + column] = bf16(total[d][2 * half + i] * factor);
      }
  }
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) dq_kernel(Arguments a) {
  DYNAMIC_SHARED(memory);
  const auto tile = [&](int number) {
    return Tile<kDim>{reinterpret_cast<bf16*>(memory + number * Tile<kDim>::kBytes)};
  };
  constexpr int kStages = kStagesOf<kDim>;
  const Sizes& s = a.s;
  const int b = static_cast<int>(blockIdx.z), h = static_cast<int>(blockIdx.y), kv = h / s.group;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int owned = static_cast<int>(threadIdx.x) / kWarp * 16;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRowsOf;
  const int64_t rows = (static_cast<int64_t>(b) * s.heads + h) * s.queries;
  const auto start_stage = [&](int stage, int64_t key) {
    if (key < s.keys) {
      start_copy(tile(2 + 2 * stage), a.k, b, kv, key, s.keys, s.dim, a.vectors);
      start_copy(tile(3 + 2 * stage), a.v, b, kv, key, s.keys, s.dim, a.vectors);
    }
    cp_async_commit();
  };

  float log_sum[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t i = first + owned + lane / 4 + half * 8;
    log_sum[half] = i < s.queries ? a.log_sums[rows + i] : 0.0f;
    delta[half] = i < s.queries ? a.deltas[rows + i] : 0.0f;
  }
  int64_t key = next_tile(a.mask, s, first, 0);
  start_copy(tile(0), a.q, b, h, first, s.queries, s.dim, a.vectors);
  start_copy(tile(1), a.dout, b, h, first, s.queries, s.dim, a.vectors);
  start_stage(0, key);
  float total[kDim / 8][4] = {};
  for (int stage = 0; key < s.keys; stage = (stage + 1) % kStages) {
    const int64_t next = next_tile(a.mask, s, first, key + kRowsOf);
    if constexpr (kStages > 1) start_stage(stage ^ 1, next);
    wait_for_stage<kDim>();
    float ds[kKeyTiles][4], dp[kKeyTiles][4];
    multiply_rows(tile(0), owned, tile(2 + 2 * stage), ds);
    multiply_rows(tile(1), owned, tile(3 + 2 * stage), dp);
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int64_t i = first + owned + lane / 4 + e / 2 * 8;
        const int64_t j = key + n * 8 + lane % 4 * 2 + e % 2;
        const Pair pair = pair_of(a, b, h, i, j, ds[n][e], dp[n][e], log_sum[e / 2], delta[e / 2]);
        if (a.dscores && i < s.queries && j < s.keys) a.dscores[(rows + i) * s.keys + j] = pair.ds;
        ds[n][e] = pair.before_cap;
      }
    multiply_values(ds, tile(2 + 2 * stage), total);
    __syncthreads();  // the stage may be overwritten
    if constexpr (kStages == 1) start_stage(0, next);
    key = next;
  }
  cp_async_wait<0>();
  if (a.dq)
    store_rows<kDim>(total, first + owned, s.queries, a.dq + (b * s.queries * s.heads + h) * s.dim,
                     static_cast<int64_t>(s.heads) * s.dim, s.dim, a.scale);
}

template <int kDim>
__global__ void __launch_bounds__(kThreads) dkv_kernel(Arguments a) {
  DYNAMIC_SHARED(memory);
  SHARED(numbers, float[2 * 2 * kRowsOf]);  // log-sums and deltas of a stage's queries
  const auto tile = [&](int number) {
    return Tile<kDim>{reinterpret_cast<bf16*>(memory + number * Tile<kDim>::kBytes)};
  };
  constexpr int kStages = kStagesOf<kDim>;
  const Sizes& s = a.s;
  const int b = static_cast<int>(blockIdx.z), kv = static_cast<int>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int owned = static_cast<int>(threadIdx.x) / kWarp * 16;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRowsOf;

  // Steps: the tiles of queries of each head of the group, those that see nothing left out.
  const int64_t tiles = (s.queries + kRowsOf - 1) / kRowsOf, steps = tiles * s.group;
  const auto next_step = [&](int64_t step) {
    while (step < steps) {
      const int64_t query = step % tiles * kRowsOf;
      if (!a.mask.hides_keys(query, query + kRowsOf, first, first + kRowsOf)) break;
      ++step;
    }
    return step;
  };
  const auto start_stage = [&](int stage, int64_t step) {
    if (step < steps) {
      const int h = kv * s.group + static_cast<int>(step / tiles);
      const int64_t query = step % tiles * kRowsOf;
      start_copy(tile(2 + 2 * stage), a.q, b, h, query, s.queries, s.dim, a.vectors);
      start_copy(tile(3 + 2 * stage), a.dout, b, h, query, s.queries, s.dim, a.vectors);
      const int64_t rows = (static_cast<int64_t>(b) * s.heads + h) * s.queries;
      for (int at = static_cast<int>(threadIdx.x); at < kRowsOf; at += kThreads) {
        const bool valid = query + at < s.queries;
        float* of_stage = numbers + stage * 2 * kRowsOf;
        of_stage[at] = valid ? a.log_sums[rows + query + at] : 0.0f;
        of_stage[kRowsOf + at] = valid ? a.deltas[rows + query + at] : 0.0f;
      }
    }
    cp_async_commit();
  };

  int64_t step = next_step(0);
  start_copy(tile(0), a.k, b, kv, first, s.keys, s.dim, a.vectors);
  start_copy(tile(1), a.v, b, kv, first, s.keys, s.dim, a.vectors);
  start_stage(0, step);
  float dkeys[kDim / 8][4] = {}, dvalues[kDim / 8][4] = {};
  for (int stage = 0; step < steps; stage = (stage + 1) % kStages) {
    const int64_t next = next_step(step + 1);
    if constexpr (kStages > 1) start_stage(stage ^ 1, next);
    wait_for_stage<kDim>();
    const int h = kv * s.group + static_cast<int>(step / tiles);
    const int64_t query = step % tiles * kRowsOf;
    float p[kKeyTiles][4], ds[kKeyTiles][4];  // rows are keys here, columns queries
    multiply_rows(tile(0), owned, tile(2 + 2 * stage), p);
    multiply_rows(tile(1), owned, tile(3 + 2 * stage), ds);
    const float* of_stage = numbers + stage * 2 * kRowsOf;
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int column = n * 8 + lane % 4 * 2 + e % 2;
        const Pair pair = pair_of(a, b, h, query + column, first + owned + lane / 4 + e / 2 * 8,
                                  p[n][e], ds[n][e], of_stage[column], of_stage[kRowsOf + column]);
        p[n][e] = pair.p;
        ds[n][e] = pair.before_cap;
      }
    multiply_values(p, tile(3 + 2 * stage), dvalues);
    multiply_values(ds, tile(2 + 2 * stage), dkeys);
    __syncthreads();
    if constexpr (kStages == 1) start_stage(0, next);
    step = next;
  }
  cp_async_wait<0>();
  const int64_t kv_heads = s.heads / s.group, at = (b * s.keys * kv_heads + kv) * s.dim;
  store_rows<kDim>(dkeys, first + owned, s.keys, a.dk + at, kv_heads * s.dim, s.dim, a.scale);
  store_rows<kDim>(dvalues, first + owned, s.keys, a.dv + at, kv_heads * s.dim, s.dim, 1);
}

LaunchShape blocks_of(int64_t rows, int64_t heads, int64_t batch, size_t shared_bytes) {
  LaunchShape shape = shape_of(0, heads, batch, shared_bytes);
  shape.grid = static_cast<unsigned>((rows + kRowsOf - 1) / kRowsOf);
  return shape;
}

}  // namespace

void flash_backward(OnCuda device, const SdpaSaved& saved, const Tensor& dout, const Tensor& deltas,
                    Tensor& dscores, Tensors& d) {
  const Sizes s = sizes_of(saved.q, saved.k);
  const int64_t batch = saved.q.dim(0);
  const MaskTensors tensors(device, saved.mask, {batch, s.heads, s.queries, s.keys});
  const auto written = [](Tensor& x) {
    return x.defined() ? x.mutable_data<bf16>("sdpa") : nullptr;
  };
  const Arguments a{
      Rows<bf16>(saved.q),
      Rows<bf16>(saved.k),
      Rows<bf16>(saved.v),
      Rows<bf16>(dout),
      tensors.pointers<bf16>(),
      s,
      static_cast<float>(saved.scale),
      in_vectors(saved.q) && in_vectors(saved.k) && in_vectors(saved.v) && in_vectors(dout),
      saved.log_sum.data<float>(),
      deltas.data<float>(),
      written(d[0]),
      written(d[1]),
      written(d[2]),
      dscores.defined() ? dscores.mutable_data<float>("sdpa") : nullptr};
  on_flash_dim(s.dim, [&](auto dim) {
    constexpr int kDim = decltype(dim)::value;
    if (d[0].defined() || dscores.defined())
      launch("sdpa_flash_dq", device.index, dq_kernel<kDim>,
             blocks_of(s.queries, s.heads, batch, kSharedOf<kDim>), a);
    if (d[1].defined())
      launch("sdpa_flash_dkv", device.index, dkv_kernel<kDim>,
             blocks_of(s.keys, s.heads / s.group, batch, kSharedOf<kDim>), a);
  });
}

}  // namespace ocellus::sdpa_cuda
