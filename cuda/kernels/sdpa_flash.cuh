// What the attention kernels on tensor cores share: tiles of 64 rows in shared memory, filled by
// cp.async, and the products of 16 rows of a warp with such a tile.
#pragma once
#include "cuda/device/mma.cuh"
#include "cuda/kernels/sdpa.cuh"

namespace ocellus::sdpa_cuda {

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

/// The first tile of keys from `key` on that some query of the 64 from `first` on may see.
__device__ inline int64_t next_tile(const Mask<bf16>& mask, const Sizes& s, int64_t first,
                                    int64_t key) {
  while (key < s.keys && mask.hides_keys(first, first + kRowsOf, key, key + kRowsOf))
    key += kRowsOf;
  return key;
}

/// Rows row … row + 15 and columns column … column + 15 of a tile, as a left operand.
template <int kDim>
__device__ void load_left(uint32_t (&a)[4], const Tile<kDim>& tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8, r = lane % 8;
  ldmatrix_x4<false>(a, tile.at(row + matrix % 2 * 8 + r, column + matrix / 2 * 8));
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

/// As multiply_keys, with the left rows row … row + 15 of a tile: registers are for other things.
template <int kDim>
__device__ void multiply_rows(const Tile<kDim>& left, int row, const Tile<kDim>& right,
                              float (&scores)[kKeyTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8, r = lane % 8;
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[n][i] = 0;
#pragma unroll
  for (int d = 0; d < kDim / 16; ++d) {
    uint32_t a[4];
    load_left(a, left, row, d * 16);
#pragma unroll
    for (int n = 0; n < kKeyTiles; n += 2) {
      uint32_t b[4];
      ldmatrix_x4<false>(b, right.at(n * 8 + matrix / 2 * 8 + r, d * 16 + matrix % 2 * 8));
      mma_m16n8k16(scores[n], a, b[0], b[1]);
      mma_m16n8k16(scores[n + 1], a, b[2], b[3]);
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

/// True if 16 bytes at a time reach all rows.
inline bool in_vectors(const Tensor& x) {
  if (reinterpret_cast<uintptr_t>(x.raw()) % 16 != 0 || x.dim(3) % kChunk != 0) return false;
  for (int i = 0; i < 3; ++i)
    if (x.dim(i) > 1 && x.strides()[i] % kChunk != 0) return false;
  return true;
}

/// f(IntTag<padded head size>) for a head size of up to kFlashMostDim.
template <class F>
void on_flash_dim(int dim, F&& f) {
  if (dim <= 32) return f(IntTag<32>{});
  if (dim <= 64) return f(IntTag<64>{});
  if (dim <= 96) return f(IntTag<96>{});
  f(IntTag<128>{});
}

}  // namespace ocellus::sdpa_cuda
