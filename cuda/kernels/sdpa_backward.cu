// Gradients of attention: probabilities are computed again by tiles from the saved log-sums.
// Dao 2023, arXiv:2307.08691.  With p = e^{score - log_sum} and δ = Σ_d dout·out of a query:
//   dv = pᵀ·dout,  ds = p·(dout·vᵀ - δ),  dq = scale·ds·k,  dk = scale·dsᵀ·q,  dbias = ds.
// Parallelisation: as sdpa.cu; one kernel owns queries and walks over keys (dq), one owns keys and
// walks over the queries of all heads that share them (dk, dv). Scores are formed twice, and
// nothing is added by atomics: the same bits in every run. 14·D FLOP a visible pair. bf16 with
// heads of up to 128 goes to tensor cores instead (sdpa_flash_backward.cu).
#include "cuda/kernels/sdpa.cuh"
#include "cuda/kernels/sdpa_flash.h"
#include "engine/kernels/reduce.h"

namespace ocellus {
namespace sdpa_cuda {
namespace {

template <class T>
struct Inputs {
  Rows<T> q, k, v, out, dout;
  Mask<T> mask;
  Sizes s;
  float scale;
  const float *log_sums, *deltas;  // [B, H, Tq]
};

// δ of every query and head; a warp each.
template <class T>
__global__ void delta_kernel(Rows<T> out, Rows<T> dout, Sizes s, int64_t count, float* deltas) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t at = grid_thread() / kWarp; at < count; at += grid_threads() / kWarp) {
    const int64_t i = at % s.queries;
    const int h = static_cast<int>(at / s.queries % s.heads);
    const int b = static_cast<int>(at / s.queries / s.heads);
    const T *a = out.row(b, i, h), *c = dout.row(b, i, h);
    float sum = 0;
    for (int d = lane; d < s.dim; d += kWarp)
      sum += static_cast<float>(a[d]) * static_cast<float>(c[d]);
    sum = warp_sum(sum);
    if (lane == 0) deltas[at] = sum;
  }
}

// Of one pair, from rows in shared memory: its probability, the gradient of its score, and that of
// the score before the soft cap.
struct Pair {
  float p, ds, before_cap;
};
template <class T>
__device__ Pair pair_of(const Inputs<T>& in, int b, int h, int64_t i, int64_t j, const float* q,
                        const float* k, const float* v, const float* dout) {
  const float plain = in.scale * dot(q, k, in.s.dim);
  const float score = in.mask.apply(in.s, b, h, i, j, plain);
  if (score == kHidden) return {0, 0, 0};
  const int64_t at = (static_cast<int64_t>(b) * in.s.heads + h) * in.s.queries + i;
  const float p = math::exp(score - in.log_sums[at]);
  const float ds = p * (dot(dout, v, in.s.dim) - in.deltas[at]);
  if (in.mask.softcap <= 0) return {p, ds, ds};
  const float t = in.mask.capped(plain);
  return {p, ds, ds * (1 - t * t)};
}

// dq; where `dscores` [B, H, Tq, Tk] is given, ds goes there too (zero before).
template <class T, int kColumns>
__global__ void dq_kernel(Inputs<T> in, T* dq, float* dscores) {
  DYNAMIC_SHARED(memory);
  const Sizes& s = in.s;
  const int step = s.dim + 1;
  float* floats = reinterpret_cast<float*>(memory);
  const TileView queries{floats, step}, douts{floats + kTile * step, step},
      keys{floats + 2 * kTile * step, step}, values{floats + 3 * kTile * step, step};
  float* weights = floats + 4 * kTile * step + threadIdx.x / kWarp * kWarp;
  const int b = static_cast<int>(blockIdx.z), h = static_cast<int>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int owned = static_cast<int>(threadIdx.x) / kWarp * kOwned;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile;

  load_tile(queries, in.q, b, h, first, s.queries, s.dim);
  load_tile(douts, in.dout, b, h, first, s.queries, s.dim);
  float total[kOwned][kColumns] = {};
  for (int64_t key = 0; key < s.keys; key += kTile) {
    if (in.mask.hides_tile(first, first + kTile, key)) continue;
    __syncthreads();
    load_tile(keys, in.k, b, h / s.group, key, s.keys, s.dim);
    load_tile(values, in.v, b, h / s.group, key, s.keys, s.dim);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kOwned; ++r) {
      const int row = owned + r;
      const int64_t i = first + row, j = key + lane;
      const Pair pair = pair_of(in, b, h, i, j, queries.row(row), keys.row(lane), values.row(lane),
                                douts.row(row));
      if (dscores && i < s.queries && j < s.keys)
        dscores[((static_cast<int64_t>(b) * s.heads + h) * s.queries + i) * s.keys + j] = pair.ds;
      weights[lane] = pair.before_cap;
      __syncwarp();
      add_rows(total[r], weights, keys, s.dim);
      __syncwarp();
    }
  }
  if (!dq) return;
#pragma unroll
  for (int r = 0; r < kOwned; ++r) {
    const int64_t i = first + owned + r;
    if (i >= s.queries) continue;
    T* to = dq + ((b * s.queries + i) * s.heads + h) * s.dim;
#pragma unroll
    for (int c = 0; c < kColumns; ++c)
      if (lane + c * kWarp < s.dim) to[lane + c * kWarp] = static_cast<T>(total[r][c] * in.scale);
  }
}

// dk and dv of a tile of keys; a lane is a query here.
template <class T, int kColumns>
__global__ void dkv_kernel(Inputs<T> in, T* dk, T* dv) {
  DYNAMIC_SHARED(memory);
  const Sizes& s = in.s;
  const int step = s.dim + 1;
  float* floats = reinterpret_cast<float*>(memory);
  const TileView queries{floats, step}, douts{floats + kTile * step, step},
      keys{floats + 2 * kTile * step, step}, values{floats + 3 * kTile * step, step};
  float* weights = floats + 4 * kTile * step + threadIdx.x / kWarp * 2 * kWarp;
  const int b = static_cast<int>(blockIdx.z), kv_head = static_cast<int>(blockIdx.y);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int owned = static_cast<int>(threadIdx.x) / kWarp * kOwned;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile;

  load_tile(keys, in.k, b, kv_head, first, s.keys, s.dim);
  load_tile(values, in.v, b, kv_head, first, s.keys, s.dim);
  float dkeys[kOwned][kColumns] = {}, dvalues[kOwned][kColumns] = {};
  for (int h = kv_head * s.group; h < (kv_head + 1) * s.group; ++h)
    for (int64_t query = 0; query < s.queries; query += kTile) {
      if (in.mask.hides_tile(query, query + kTile, first)) continue;
      __syncthreads();
      load_tile(queries, in.q, b, h, query, s.queries, s.dim);
      load_tile(douts, in.dout, b, h, query, s.queries, s.dim);
      __syncthreads();
#pragma unroll
      for (int r = 0; r < kOwned; ++r) {
        const int row = owned + r;
        const Pair pair = pair_of(in, b, h, query + lane, first + row, queries.row(lane),
                                  keys.row(row), values.row(row), douts.row(lane));
        weights[lane] = pair.p;
        weights[kWarp + lane] = pair.before_cap;
        __syncwarp();
        add_rows(dvalues[r], weights, douts, s.dim);
        add_rows(dkeys[r], weights + kWarp, queries, s.dim);
        __syncwarp();
      }
    }
  const int kv_heads = s.heads / s.group;
#pragma unroll
  for (int r = 0; r < kOwned; ++r) {
    const int64_t j = first + owned + r;
    if (j >= s.keys) continue;
    const int64_t at = ((b * s.keys + j) * kv_heads + kv_head) * s.dim;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int d = lane + c * kWarp;
      if (d >= s.dim) continue;
      dk[at + d] = static_cast<T>(dkeys[r][c] * in.scale);
      dv[at + d] = static_cast<T>(dvalues[r][c]);
    }
  }
}

// --- host ---

template <class T>
void run(OnCuda device, const SdpaSaved& saved, const Tensor& dout, const MaskTensors& mask,
         std::array<bool, 4> needs, Tensors& d) {
  const Sizes s = sizes_of(saved.q, saved.k);
  const int64_t batch = saved.q.dim(0), rows = batch * s.heads * s.queries;
  Tensor deltas = Tensor::empty({rows}, DType::kF32, device_of(device), "sdpa");
  launch("sdpa_delta", device.index, delta_kernel<T>,
         grid_for(device.index, rows, kBlockThreads / kWarp), Rows<T>(saved.out), Rows<T>(dout), s,
         rows, deltas.mutable_data<float>("sdpa"));
  const Inputs<T> in{Rows<T>(saved.q),
                     Rows<T>(saved.k),
                     Rows<T>(saved.v),
                     Rows<T>(saved.out),
                     Rows<T>(dout),
                     mask.pointers<T>(),
                     s,
                     static_cast<float>(saved.scale),
                     saved.log_sum.data<float>(),
                     deltas.data<float>()};
  Tensor dscores;
  if (needs[3])
    dscores =
        Tensor::zeros({batch, s.heads, s.queries, s.keys}, DType::kF32, device_of(device), "sdpa");
  if (needs[0]) d[0] = Tensor::empty(saved.q.shape(), saved.q.dtype(), device_of(device), "sdpa");
  if (needs[1] || needs[2])
    for (int i : {1, 2})
      d[i] = Tensor::empty(saved.k.shape(), saved.k.dtype(), device_of(device), "sdpa");
  const auto sum_bias = [&] {
    if (needs[3])
      d[3] = sum_to(dscores, saved.mask.bias.shape(), 1, "sdpa").to(saved.mask.bias.dtype());
  };
  if (dtype_of<T> == DType::kBF16 && s.dim <= kFlashMostDim) {
    flash_backward(device, saved, dout, deltas, dscores, d);
    return sum_bias();
  }
  on_columns(s.dim, [&](auto columns) {
    constexpr int kColumns = decltype(columns)::value;
    if (needs[0] || needs[3])
      launch("sdpa_dq", device.index, dq_kernel<T, kColumns>,
             shape_of(s.queries, s.heads, batch, 4 * tile_bytes(s.dim) + sizeof(float) * kThreads),
             in, needs[0] ? d[0].mutable_data<T>("sdpa") : nullptr,
             needs[3] ? dscores.mutable_data<float>("sdpa") : nullptr);
    if (!needs[1] && !needs[2]) return;
    launch("sdpa_dkv", device.index, dkv_kernel<T, kColumns>,
           shape_of(s.keys, s.heads / s.group, batch,
                    4 * tile_bytes(s.dim) + 2 * sizeof(float) * kThreads),
           in, d[1].mutable_data<T>("sdpa"), d[2].mutable_data<T>("sdpa"));
  });
  sum_bias();
}

}  // namespace
}  // namespace sdpa_cuda

Tensors sdpa_backward(OnCuda device, const SdpaSaved& saved_any, const Tensor& dout_any,
                      std::array<bool, 4> needs) {
  using namespace sdpa_cuda;
  SdpaSaved saved = saved_any;
  check_same_device("sdpa", device, {&saved.q, &saved.k, &saved.v, &saved.out, &dout_any});
  for (Tensor* x : {&saved.q, &saved.k, &saved.v, &saved.out}) *x = with_unit_rows(*x);
  const Tensor dout = with_unit_rows(dout_any);
  Tensors gradients(4);
  if (saved.q.numel() == 0 || saved.k.numel() == 0) {  // no pair, no gradient
    const Tensor* inputs[] = {&saved.q, &saved.k, &saved.v, &saved.mask.bias};
    for (size_t i = 0; i < 4; ++i)
      if (needs[i])
        gradients[i] =
            Tensor::zeros(inputs[i]->shape(), saved.q.dtype(), device_of(device), "sdpa");
    return gradients;
  }
  const MaskTensors mask(device, saved.mask,
                         {saved.q.dim(0), saved.q.dim(2), saved.q.dim(1), saved.k.dim(1)});
  on_cuda_float("sdpa", saved.q.dtype(), [&](auto tag) {
    run<typename decltype(tag)::type>(device, saved, dout, mask, needs, gradients);
  });
  return gradients;
}

}  // namespace ocellus
