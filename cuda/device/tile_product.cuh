// C[m, n] = Σ over k of A(m, k)·B(k, n) where A and B are functions: an implicit matrix product,
// for operands that are never laid out as matrices (the windows of a convolution). Parallelisation:
// a block of 256 threads makes a tile of 64×64, each thread 4×4 of it; k in steps of 16 through
// shared memory (8 KiB). Each element read serves 64 products, so per step a block reads 2·64·16
// elements and multiplies 64·64·16 times: 32 FLOPs an element, bound by the CUDA cores. Sums in f32
// in order of k.
#pragma once
#include "cuda/device/launch.h"

namespace ocellus {

inline constexpr int kProductTile = 64, kProductStep = 16, kProductThreads = 256;

/// Terms — a struct with int64_t members rows, columns (of C) and
///   RowPlace row(int64_t m), ColumnPlace column(int64_t n): what of an index can be worked out
///   once float a(RowPlace, int64_t k), float b(ColumnPlace, int64_t k): operands, 0 where there is
///   none void store(int64_t m, int64_t n, float sum)
/// `part` numbers the groups, pictures or shares of k, one a block in z: it is set before use.
template <class Terms>
__global__ void tile_product_kernel(Terms all) {
  const Terms t = all.at(blockIdx.z);
  SHARED(a_tile, float[kProductStep * kProductTile]);
  SHARED(b_tile, float[kProductStep * kProductTile]);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kProductTile, first = thread / kProductTile;  // what it loads
  const int top = thread / 16 * 4, left = thread % 16 * 4;                // what it sums
  constexpr int kLoads = kProductThreads / kProductTile;
  const int64_t tiles_across = (t.columns + kProductTile - 1) / kProductTile;
  const int64_t tiles = (t.rows + kProductTile - 1) / kProductTile * tiles_across;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t m0 = tile / tiles_across * kProductTile, n0 = tile % tiles_across * kProductTile;
    const bool has_row = m0 + lane < t.rows, has_column = n0 + lane < t.columns;
    const auto row = t.row(has_row ? m0 + lane : 0);
    const auto column = t.column(has_column ? n0 + lane : 0);
    float sum[4][4] = {};
    for (int64_t k0 = t.k_begin; k0 < t.k_end; k0 += kProductStep) {
#pragma unroll
      for (int step = first; step < kProductStep; step += kLoads) {
        const int64_t k = k0 + step;
        const bool inside = k < t.k_end;
        a_tile[step * kProductTile + lane] = inside && has_row ? t.a(row, k) : 0.0f;
        b_tile[step * kProductTile + lane] = inside && has_column ? t.b(column, k) : 0.0f;
      }
      __syncthreads();
#pragma unroll
      for (int step = 0; step < kProductStep; ++step) {
        float a[4], b[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = a_tile[step * kProductTile + top + i];
#pragma unroll
        for (int j = 0; j < 4; ++j) b[j] = b_tile[step * kProductTile + left + j];
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sum[i][j] += a[i] * b[j];
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (m0 + top + i < t.rows && n0 + left + j < t.columns)
          t.store(m0 + top + i, n0 + left + j, sum[i][j]);
  }
}

/// tile_product(op, device, terms, parts) — runs it for parts 0 … parts - 1, terms.at(part) each.
template <class Terms>
void tile_product(const char* op, int device, const Terms& terms, int64_t parts) {
  const int64_t tiles = (terms.rows + kProductTile - 1) / kProductTile *
                        ((terms.columns + kProductTile - 1) / kProductTile);
  if (tiles == 0 || parts == 0) return;
  LaunchShape shape = grid_for(device, tiles, 1, kProductThreads);
  shape.grid_z = static_cast<unsigned>(parts);
  launch(op, device, tile_product_kernel<Terms>, shape, terms);
}

}  // namespace ocellus
