// GEMM, C[M, N] = A[M, K]·B[K, N], bf16 in, f32 sums and result, in five steps. What a step
// removes:
//   01  every product reads both operands from memory: 2 FLOP for 4 bytes from L1/L2
//   02  a tile of both in shared memory serves 32 threads: 32× fewer reads of L2, but each product
//       still reads two numbers of shared memory
//   03  a thread makes 4×4 results from 8 numbers: 4 times fewer reads of shared memory
//   04  the tensor cores multiply 16×8×16 at once; a warp's tile lies in its registers
//   05  cp.async brings the next tiles while these are multiplied
// cuBLASLt, the production product, is what they are held against.   Boehm 2022, "How to optimize a
// CUDA matmul kernel", has the same first steps.
#include "cuda/device/launch.h"
#include "cuda/device/mma.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/ladder/ladder.h"
#include "engine/kernels/matmul.h"

namespace ocellus {
namespace {

struct Gemm {
  const bf16 *a, *b;
  float* c;
  int64_t m, n, k;
};

// --- 01: a thread an element of C ---

__global__ void naive_kernel(Gemm g) {
  for (int64_t at = grid_thread(); at < g.m * g.n; at += grid_threads()) {
    const int64_t i = at / g.n, j = at % g.n;
    float sum = 0;
    for (int64_t l = 0; l < g.k; ++l)
      sum += static_cast<float>(g.a[i * g.k + l]) * static_cast<float>(g.b[l * g.n + j]);
    g.c[at] = sum;
  }
}

// --- 02: tiles of 32×32 in shared memory, a thread an element ---

constexpr int kSmall = 32;

__global__ void tile_kernel(Gemm g) {
  SHARED(a_tile, float[kSmall * kSmall]);
  SHARED(b_tile, float[kSmall * kSmall]);
  const int row = static_cast<int>(threadIdx.x) / kSmall,
            lane = static_cast<int>(threadIdx.x) % kSmall;
  const int64_t i = blockIdx.y * int64_t{kSmall} + row, j = blockIdx.x * int64_t{kSmall} + lane;
  float sum = 0;
  for (int64_t k0 = 0; k0 < g.k; k0 += kSmall) {
    const bool in_a = i < g.m && k0 + lane < g.k, in_b = j < g.n && k0 + row < g.k;
    a_tile[row * kSmall + lane] = in_a ? static_cast<float>(g.a[i * g.k + k0 + lane]) : 0.0f;
    b_tile[row * kSmall + lane] = in_b ? static_cast<float>(g.b[(k0 + row) * g.n + j]) : 0.0f;
    __syncthreads();
    for (int l = 0; l < kSmall; ++l) sum += a_tile[row * kSmall + l] * b_tile[l * kSmall + lane];
    __syncthreads();
  }
  if (i < g.m && j < g.n) g.c[i * g.n + j] = sum;
}

// --- 03: 64×64 of C a block, 4×4 a thread, in steps of 16 ---

constexpr int kTile = 64, kStep = 16, kRegisters = 4;

__global__ void register_kernel(Gemm g) {
  SHARED(a_tile, float[kStep * kTile]);  // transposed: a step's column of A lies together
  SHARED(b_tile, float[kStep * kTile]);
  const int thread = static_cast<int>(threadIdx.x);
  const int top = thread / 16 * kRegisters, left = thread % 16 * kRegisters;
  const int64_t i0 = blockIdx.y * int64_t{kTile}, j0 = blockIdx.x * int64_t{kTile};
  float sum[kRegisters][kRegisters] = {};
  for (int64_t k0 = 0; k0 < g.k; k0 += kStep) {
    for (int at = thread; at < kStep * kTile; at += 256) {
      const int a_row = at / kStep, a_column = at % kStep, b_row = at / kTile,
                b_column = at % kTile;
      const bool in_a = i0 + a_row < g.m && k0 + a_column < g.k;
      const bool in_b = k0 + b_row < g.k && j0 + b_column < g.n;
      a_tile[a_column * kTile + a_row] =
          in_a ? static_cast<float>(g.a[(i0 + a_row) * g.k + k0 + a_column]) : 0.0f;
      b_tile[at] = in_b ? static_cast<float>(g.b[(k0 + b_row) * g.n + j0 + b_column]) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int l = 0; l < kStep; ++l)
#pragma unroll
      for (int i = 0; i < kRegisters; ++i)
#pragma unroll
        for (int j = 0; j < kRegisters; ++j)
          sum[i][j] += a_tile[l * kTile + top + i] * b_tile[l * kTile + left + j];
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kRegisters; ++i)
#pragma unroll
    for (int j = 0; j < kRegisters; ++j)
      if (i0 + top + i < g.m && j0 + left + j < g.n)
        g.c[(i0 + top + i) * g.n + j0 + left + j] = sum[i][j];
}

// --- 04 and 05: tensor cores; 64×64 of C a block of four warps, 32×32 a warp, in steps of 32 ---

constexpr int kDepth = 32, kChunk = 8;                          // bf16 in 16 bytes
constexpr int kARow = kDepth + kChunk, kBRow = kTile + kChunk;  // apart by a bank
constexpr int kStage = kTile * kARow + kDepth * kBRow;          // elements of both tiles

/// Starts copies of 16 bytes where rows are whole vectors, else moves single elements.
__device__ inline void load_rows(bf16* to, int to_step, const bf16* from, int64_t row0,
                                 int64_t rows, int64_t column0, int64_t columns, int tile_rows,
                                 int tile_columns, bool vectors) {
  const int each = vectors ? kChunk : 1, across = tile_columns / each;
  for (int at = static_cast<int>(threadIdx.x); at < tile_rows * across; at += 128) {
    const int row = at / across, column = at % across * each;
    const bool valid = row0 + row < rows && column0 + column < columns;
    const bf16* source = valid ? from + (row0 + row) * columns + column0 + column : from;
    bf16* target = to + row * to_step + column;
    if (vectors)
      cp_async16(target, source, valid);
    else
      *target = valid ? *source : bf16(0.0f);
  }
}

__device__ inline void load_stage(const Gemm& g, bf16* stage, int64_t i0, int64_t j0, int64_t k0,
                                  bool vectors) {
  load_rows(stage, kARow, g.a, i0, g.m, k0, g.k, kTile, kDepth, vectors);
  load_rows(stage + kTile * kARow, kBRow, g.b, k0, g.k, j0, g.n, kDepth, kTile, vectors);
  cp_async_commit();
}

/// sum += the warp's 32×32 of the product of a stage.
__device__ inline void multiply_stage(const bf16* stage, int top, int left, float (&sum)[2][4][4]) {
  const bf16* b_tile = stage + kTile * kARow;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, matrix = lane / 8, r = lane % 8;
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    uint32_t a[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i)
      ldmatrix_x4<false>(a[i],
                         stage + (top + i * 16 + matrix % 2 * 8 + r) * kARow + k + matrix / 2 * 8);
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
      uint32_t b[4];
      ldmatrix_x4<true>(b,
                        b_tile + (k + matrix % 2 * 8 + r) * kBRow + left + j * 8 + matrix / 2 * 8);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        mma_m16n8k16(sum[i][j], a[i], b[0], b[1]);
        mma_m16n8k16(sum[i][j + 1], a[i], b[2], b[3]);
      }
    }
  }
}

template <int kStages>
__global__ void __launch_bounds__(128) tensor_core_kernel(Gemm g, bool vectors) {
  DYNAMIC_SHARED(memory);
  bf16* stages = reinterpret_cast<bf16*>(memory);
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  const int top = warp / 2 * 32, left = warp % 2 * 32;
  const int64_t i0 = blockIdx.y * int64_t{kTile}, j0 = blockIdx.x * int64_t{kTile};
  float sum[2][4][4] = {};
  int64_t next = 0;  // the first column of A that is not under way
  const auto start = [&](int stage) {
    if (next < g.k)
      load_stage(g, stages + stage * kStage, i0, j0, next, vectors);
    else
      cp_async_commit();  // empty, so that waits count alike
    next += kDepth;
  };
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) start(stage);
  int stage = 0;
  for (int64_t k0 = 0; k0 < g.k; k0 += kDepth) {
    start((stage + kStages - 1) % kStages);
    cp_async_wait<kStages - 1>();
    __syncthreads();
    multiply_stage(stages + stage * kStage, top, left, sum);
    __syncthreads();  // the stage may be overwritten
    stage = (stage + 1) % kStages;
  }
  cp_async_wait<0>();
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int64_t row = i0 + top + i * 16 + lane / 4 + e / 2 * 8;
        const int64_t column = j0 + left + j * 8 + lane % 4 * 2 + e % 2;
        if (row < g.m && column < g.n) g.c[row * g.n + column] = sum[i][j][e];
      }
}

// --- host ---

Tensor result_of(OnCuda device, const Tensors& in, Gemm& g) {
  Tensor c = Tensor::empty({in[0].dim(0), in[1].dim(1)}, DType::kF32, device_of(device), "ladder");
  g = {in[0].data<bf16>(), in[1].data<bf16>(), c.mutable_data<float>("ladder"),
       in[0].dim(0),       in[1].dim(1),       in[0].dim(1)};
  return c;
}

LaunchShape tiles_of(const Gemm& g, int tile, unsigned threads, size_t shared_bytes = 0) {
  LaunchShape shape;
  shape.grid = static_cast<unsigned>((g.n + tile - 1) / tile);
  shape.grid_y = static_cast<unsigned>((g.m + tile - 1) / tile);
  shape.threads = threads;
  shape.shared_bytes = shared_bytes;
  return shape;
}

template <int kStages>
Tensor on_tensor_cores(OnCuda device, const Tensors& in) {
  Gemm g{};
  Tensor c = result_of(device, in, g);
  const bool vectors = g.k % kChunk == 0 && g.n % kChunk == 0;
  launch("ladder gemm", device.index, tensor_core_kernel<kStages>,
         tiles_of(g, kTile, 128, kStages * kStage * sizeof(bf16)), g, vectors);
  return c;
}

}  // namespace

Ladder gemm_ladder(OnCuda device) {
  Ladder l;
  l.name = "gemm";
  l.inputs = [](LadderSizes s) {
    return std::vector<LadderInput>{{{s.rows, s.depth}, DType::kBF16},
                                    {{s.depth, s.columns}, DType::kBF16}};
  };
  l.production = [](const Tensors& in) { return matmul_forward(in[0], in[1], {}); };
  l.flops = [](LadderSizes s) {
    return 2.0 * static_cast<double>(s.rows) * static_cast<double>(s.columns) *
           static_cast<double>(s.depth);
  };
  l.bytes = [](LadderSizes s) {
    return static_cast<double>(2 * s.depth * (s.rows + s.columns) + 4 * s.rows * s.columns);
  };
  l.tolerance = 0x1p-7;  // the production result is rounded to bf16
  l.variants = {{"01 naive", "a thread an element of C",
                 [device](const Tensors& in) {
                   Gemm g{};
                   Tensor c = result_of(device, in, g);
                   launch("ladder gemm", device.index, naive_kernel,
                          grid_for(device.index, g.m * g.n, kBlockThreads), g);
                   return c;
                 }},
                {"02 shared tiles", "tiles of both operands in shared memory",
                 [device](const Tensors& in) {
                   Gemm g{};
                   Tensor c = result_of(device, in, g);
                   launch("ladder gemm", device.index, tile_kernel,
                          tiles_of(g, kSmall, kSmall * kSmall), g);
                   return c;
                 }},
                {"03 register tiles", "4×4 results a thread",
                 [device](const Tensors& in) {
                   Gemm g{};
                   Tensor c = result_of(device, in, g);
                   launch("ladder gemm", device.index, register_kernel, tiles_of(g, kTile, 256), g);
                   return c;
                 }},
                {"04 tensor cores", "mma.sync from shared memory",
                 [device](const Tensors& in) { return on_tensor_cores<1>(device, in); }},
                {"05 cp.async", "three stages: copies beside products",
                 [device](const Tensors& in) { return on_tensor_cores<3>(device, in); }}};
  return l;
}

}  // namespace ocellus
