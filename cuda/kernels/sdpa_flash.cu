// Attention, forward, bf16, on tensor cores: mma.sync fed by ldmatrix from tiles that cp.async
// brings in while the former ones are multiplied.   Dao 2023, arXiv:2307.08691. Parallelisation: a
// block a tile of 64 queries of one head, a warp 16 of them; tiles of 64 keys and values, two
// stages each. Scores of a warp never leave its registers: the accumulators of q·kᵀ are, as they
// lie, the left operand of p·v. Head sizes that are no multiple of 16 are padded with zeros.
// Traffic: q and out once, k and v once for every tile of queries; 4·D FLOP a pair in a visible
// tile. Shared memory: five tiles of 64·(D + 8)·2 bytes: 46 KB for D = 64, 87 KB for D = 128.
#include "cuda/kernels/sdpa_flash.h"

#include "cuda/device/mma.cuh"
#include "cuda/kernels/sdpa.cuh"

namespace ocellus::sdpa_cuda {
namespace {

constexpr int kRowsOf = 64;             // queries of a block, and keys of a tile
constexpr int kChunk = 8;               // bf16 in 16 bytes
constexpr int kKeyTiles = kRowsOf / 8;  // accumulators of a warp's scores

/// A tile in shared memory. Rows are 16 bytes longer than needed: eight of them at one column then
/// lie in different banks, as ldmatrix wants.
template <int kDim>
struct Tile {
  static constexpr int kStep = kDim + kChunk;
  static constexpr size_t kBytes = sizeof(bf16) * kRowsOf * kStep;
  bf16* data;
  __device__ bf16* at(int row, int column) const { return data + row * kStep + column; }
};

/// Starts the copy of rows first … of a head; zeros beyond `count` rows and beyond the head size.
/// Rows that cannot be copied 16 bytes at a time are moved one by one, at once.
template <int kDim>
__device__ void start_copy(const Tile<kDim>& to, const Rows<bf16>& from, int b, int h,
                           int64_t first, int64_t count, int dim, bool vectors) {
  if (vectors) {
    for (int at = static_cast<int>(threadIdx.x); at < kRowsOf * (kDim / kChunk); at += kThreads) {
      const int row = at / (kDim / kChunk), column = at % (kDim / kChunk) * kChunk;
      const bool valid = first + row < count && column < dim;
      cp_async16(to.at(row, column), valid ? from.row(b, first + row, h) + column : from.data,
                 valid);
    }
  } else {
    for (int at = static_cast<int>(threadIdx.x); at < kRowsOf * kDim; at += kThreads) {
      const int row = at / kDim, column = at % kDim;
      const bool valid = first + row < count && column < dim;
      *to.at(row, column) = valid ? from.row(b, first + row, h)[column] : bf16(0.0f);
    }
  }
}

struct Arguments {
  Rows<bf16> q, k, v;
  Mask<bf16> mask;
  Sizes s;
  float scale;
  bool vectors;
  bf16* out;
  float* log_sums;
};

/// The first tile of keys from `key` on that some query of the block may see.
__device__ inline int64_t next_tile(const Arguments& a, int64_t first, int64_t key) {
  while (key < a.s.keys && a.mask.hides_keys(first, first + kRowsOf, key, key + kRowsOf))
    key += kRowsOf;
  return key;
}

/// Scores of 16 queries and 64 keys: scores[n] are those of keys 8·n … 8·n + 7.
template <int kDim>
__device__ void multiply_keys(const uint32_t (&q)[kDim / 16][4], const Tile<kDim>& keys,
                              float (&scores)[kKeyTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8, r = lane % 8;
#pragma unroll
  for (int n = 0; n < kKeyTiles; n += 2) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[n][i] = scores[n + 1][i] = 0;
#pragma unroll
    for (int d = 0; d < kDim / 16; ++d) {
      uint32_t b[4];  // both halves of 16 columns, for two times eight keys
      ldmatrix_x4<false>(b, keys.at(n * 8 + matrix / 2 * 8 + r, d * 16 + matrix % 2 * 8));
      mma_m16n8k16(scores[n], q[d], b[0], b[1]);
      mma_m16n8k16(scores[n + 1], q[d], b[2], b[3]);
    }
  }
}

/// total += p·values; p are scores after the softmax.
template <int kDim>
__device__ void multiply_values(const float (&p)[kKeyTiles][4], const Tile<kDim>& values,
                                float (&total)[kDim / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8, r = lane % 8;
#pragma unroll
  for (int k = 0; k < kKeyTiles; k += 2) {
    const uint32_t a[4] = {pack_bf16(p[k][0], p[k][1]), pack_bf16(p[k][2], p[k][3]),
                           pack_bf16(p[k + 1][0], p[k + 1][1]),
                           pack_bf16(p[k + 1][2], p[k + 1][3])};
#pragma unroll
    for (int d = 0; d < kDim / 8; d += 2) {
      uint32_t b[4];
      ldmatrix_x4<true>(b, values.at(k * 8 + matrix % 2 * 8 + r, d * 8 + matrix / 2 * 8));
      mma_m16n8k16(total[d], a, b[0], b[1]);
      mma_m16n8k16(total[d + 1], a, b[2], b[3]);
    }
  }
}

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
  int64_t key = next_tile(a, first, 0);
  start_copy(queries, a.q, b, h, first, s.queries, s.dim, a.vectors);
  start_stage(0, key);

  // A lane holds rows g and g + 8 of its warp's queries, in both halves of each accumulator.
  uint32_t q[kDim / 16][4];
  float total[kDim / 8][4] = {}, max[2] = {kHidden, kHidden}, sum[2] = {};
  bool loaded = false;
  for (int stage = 0; key < s.keys; stage ^= 1) {
    const int64_t next = next_tile(a, first, key + kRowsOf);
    start_stage(stage ^ 1, next);
    cp_async_wait<1>();
    __syncthreads();
    if (!loaded) {  // once, when the first group has arrived
      loaded = true;
      const int matrix = lane / 8, r = lane % 8;
#pragma unroll
      for (int d = 0; d < kDim / 16; ++d)
        ldmatrix_x4<false>(q[d], queries.at(owned + matrix % 2 * 8 + r, d * 16 + matrix / 2 * 8));
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

/// True if 16 bytes at a time reach all rows.
bool in_vectors(const Tensor& x) {
  if (reinterpret_cast<uintptr_t>(x.raw()) % 16 != 0 || x.dim(3) % kChunk != 0) return false;
  for (int i = 0; i < 3; ++i)
    if (x.dim(i) > 1 && x.strides()[i] % kChunk != 0) return false;
  return true;
}

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
  if (s.dim <= 32) return start<32>(device, a, q.dim(0));
  if (s.dim <= 64) return start<64>(device, a, q.dim(0));
  if (s.dim <= 96) return start<96>(device, a, q.dim(0));
  start<128>(device, a, q.dim(0));
}

}  // namespace ocellus::sdpa_cuda
