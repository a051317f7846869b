// Internal: cuts a product into blocks for a kernel set. Nothing here may change the order in which
// an element of C is added up; everything here may follow the cache, the strides and the threads.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "engine/cpu/gemm/kernels.h"
#include "engine/cpu/gemm/product.h"
#include "engine/cpu/gemm/workspace.h"
#include "engine/parallel.h"

namespace ocellus::gemm_detail {

// Length of the K blocks. A constant of the arithmetic, never a cache size: it decides the bits.
inline int64_t k_block(int64_t k) {
  const int64_t blocks = std::max<int64_t>((k + 383) / 384, 1);
  return (k + blocks - 1) / blocks;
}

/// l2_bytes — size of the L2 cache of a processor; 512 KiB where the system does not say.
int64_t l2_bytes();

// Whether `depth` cache lines that lie `stride` bytes apart stay in an L1 cache of 64 sets of 8
// lines. A stride of a large power of two puts them into few sets.
inline bool fits_l1(int64_t depth, int64_t stride) {
  constexpr int64_t kLine = 64, kSets = 64, kWays = 8;
  int64_t sets = kSets;
  for (int64_t lines = stride; lines % (2 * kLine) == 0 && sets > 1; lines /= 2) sets /= 2;
  return depth <= sets * kWays * 3 / 4;
}

// How a region is worked on. Packing pays where the panels are used often enough.
struct Plan {
  bool a_in_place, b_in_place;
  int64_t row_block;     // rows of A that stay in L2 while column panels pass
  int64_t column_group;  // columns of B that are packed at a time
};

template <class TA, class TB, class TC>
Plan make_plan(const KernelSet<AccT<TC>>& kernels, const Product<TA, TB, TC>& p, int64_t rows,
               int64_t columns) {
  using T = AccT<TC>;
  constexpr int64_t kSize = sizeof(T);
  constexpr int64_t kManyColumns = 320;  // from here on packed A is a little faster, even row-major
  const int64_t depth = k_block(p.k);
  Plan plan;
  plan.a_in_place = std::is_same_v<TA, T> && columns <= kManyColumns &&
                    (p.a.column_stride == 1 ||
                     (p.a.row_stride == 1 && (columns <= 2 * kernels.columns ||
                                              fits_l1(depth, p.a.column_stride * kSize))));
  plan.b_in_place = std::is_same_v<TB, T> && p.b.column_stride == 1 &&
                    (rows <= 2 * kernels.rows || fits_l1(depth, p.b.row_stride * kSize));
  const int64_t block_rows = l2_bytes() / 4 / (depth * kSize);
  plan.row_block = std::max(block_rows / kernels.rows, int64_t{1}) * kernels.rows;
  plan.column_group = 4 * kernels.columns;
  return plan;
}

// The functions for a type of operand.
template <class T>
struct Functions {  // T = Source
  static auto pack_a(const KernelSet<T>& kernels) { return kernels.pack_a; }
  static auto pack_b(const KernelSet<T>& kernels) { return kernels.pack_b; }
  static auto row_product(const KernelSet<T>& kernels) { return kernels.row_product; }
  static const T* bits(const T* data) { return data; }
};
template <>
struct Functions<bf16> {
  static auto pack_a(const KernelSet<float>& kernels) { return kernels.pack_a_bf16; }
  static auto pack_b(const KernelSet<float>& kernels) { return kernels.pack_b_bf16; }
  static auto row_product(const KernelSet<float>& kernels) { return kernels.row_product_bf16; }
  static const uint16_t* bits(const bf16* data) { return reinterpret_cast<const uint16_t*>(data); }
};

// One region of C, whose values of the type computed in are at c.
template <class TA, class TB, class TC>
class RegionProduct {
  using T = AccT<TC>;

 public:
  RegionProduct(const KernelSet<T>& kernels, const Product<TA, TB, TC>& product,
                const Region& region, T* c, int64_t ldc)
      : kernels_(kernels),
        p_(product),
        plan_(make_plan(kernels, product, region.rows, region.columns)),
        region_(region),
        c_(c),
        ldc_(ldc) {}

  void run() {
    const int64_t depth = k_block(p_.k);
    for (int64_t k = 0; k < p_.k; k += depth) {
      k_ = k;
      x_.depth = std::min(depth, p_.k - k);
      x_.add = p_.accumulate || k > 0;
      last_ = k + x_.depth == p_.k;
      read_a();
      if (region_.rows == 1 && (p_.b.column_stride == 1 || p_.b.row_stride == 1)) {
        one_row();
        continue;
      }
      // In place, B is read in whole vectors: what is left at the right is packed.
      const int64_t in_place =
          plan_.b_in_place ? region_.columns / kernels_.vector * kernels_.vector : 0;
      if (in_place > 0) columns(0, in_place, true);
      for (int64_t j = in_place; j < region_.columns; j += plan_.column_group)
        columns(j, std::min(plan_.column_group, region_.columns - j), false);
    }
  }

 private:
  void read_a() {
    const T* in_place = nullptr;
    const TA* a = p_.a.data + region_.row * p_.a.row_stride + k_ * p_.a.column_stride;
    if constexpr (std::is_same_v<TA, T>) in_place = a;
    x_.a_row = p_.a.row_stride;
    x_.a_k = p_.a.column_stride;
    x_.a_panel = 0;
    if (!plan_.a_in_place) {
      const int64_t panels = (region_.rows + kernels_.rows - 1) / kernels_.rows;
      T* packed = workspaces().a.at_least<T>(panels * kernels_.rows * x_.depth + kPackSlack);
      using Use = Functions<TA>;
      Use::pack_a(kernels_)(region_.rows, x_.depth, Use::bits(a), p_.a.row_stride,
                            p_.a.column_stride, packed);
      in_place = packed;
      x_.a_row = 1;
      x_.a_k = kernels_.rows;
      x_.a_panel = kernels_.rows * x_.depth;
    }
    a_ = in_place;
  }

  void one_row() {
    using Use = Functions<TB>;
    const TB* b = p_.b.data + k_ * p_.b.row_stride + region_.column * p_.b.column_stride;
    Use::row_product(kernels_)(region_.columns, x_.depth, a_, x_.a_k, Use::bits(b),
                               p_.b.column_stride, p_.b.row_stride, c_, x_.add);
    if (last_) apply_epilogue(p_.epilogue, c_, ldc_, region_);
  }

  void columns(int64_t column, int64_t count, bool in_place) {
    const TB* b = p_.b.data + k_ * p_.b.row_stride + (region_.column + column) * p_.b.column_stride;
    if constexpr (std::is_same_v<TB, T>) {
      x_.b = b;
      x_.b_k = p_.b.row_stride;
      x_.b_panel = kernels_.columns;
    }
    if (!in_place) {
      const int64_t panels = (count + kernels_.columns - 1) / kernels_.columns;
      T* packed = workspaces().b.at_least<T>(panels * kernels_.columns * x_.depth + kPackSlack);
      using Use = Functions<TB>;
      Use::pack_b(kernels_)(count, x_.depth, Use::bits(b), p_.b.column_stride, p_.b.row_stride,
                            packed);
      x_.b = packed;
      x_.b_k = kernels_.columns;
      x_.b_panel = kernels_.columns * x_.depth;
    }
    x_.columns = count;
    x_.ldc = ldc_;
    for (int64_t row = 0; row < region_.rows; row += plan_.row_block) {
      x_.rows = std::min(plan_.row_block, region_.rows - row);
      // row_block is a multiple of a tile's rows.
      x_.a = a_ + (x_.a_panel != 0 ? row / kernels_.rows * x_.a_panel : row * x_.a_row);
      x_.c = c_ + row * ldc_ + column;
      kernels_.block(x_);
      if (last_)
        apply_epilogue(p_.epilogue, x_.c, ldc_,
                       {region_.row + row, x_.rows, region_.column + column, count});
    }
  }

  const KernelSet<T>& kernels_;
  const Product<TA, TB, TC>& p_;
  const Plan plan_;
  const Region region_;
  T* const c_;
  const int64_t ldc_;
  int64_t k_ = 0;
  bool last_ = false;
  const T* a_ = nullptr;
  Block<T> x_{};
};

// The part `region` of C.
template <class TA, class TB, class TC>
void multiply_region(const KernelSet<AccT<TC>>& kernels, const Product<TA, TB, TC>& p,
                     const Region& region) {
  if constexpr (std::is_same_v<TC, AccT<TC>>) {
    TC* c = p.c + region.row * p.ldc + region.column;
    RegionProduct(kernels, p, region, c, p.ldc).run();
  } else {
    for_each_rounded_part(p, region, [&](const Region& part, AccT<TC>* c, int64_t ldc) {
      RegionProduct(kernels, p, part, c, ldc).run();
    });
  }
}

// How many parts the rows and the columns of C are cut into. A row cut packs B once more, a column
// cut packs A once more.
struct Grid {
  int64_t rows, columns;
};
Grid make_grid(int64_t row_tiles, int64_t column_tiles, int64_t tile_rows, int64_t tile_columns,
               int64_t tasks, int threads);

template <class TA, class TB, class TC>
void multiply(const KernelSet<AccT<TC>>& kernels, Product<TA, TB, TC> p) {
  // A stride that is never used is free: let it be one that needs no packing.
  if (p.m == 1) p.a.row_stride = 1;
  if (p.k == 1) p.a.column_stride = 1;
  if (p.n == 1) p.b.column_stride = 1;
  constexpr double kSerialFlop = 1.5e6, kTaskFlop = 2.5e5;
  const double flop =
      2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  const int threads = in_parallel() || flop < kSerialFlop ? 1 : num_threads();
  if (threads == 1) {
    multiply_region(kernels, p, {0, p.m, 0, p.n});
    return;
  }
  // About four tasks a thread, so that a thread that is held up does not hold up all.
  const int64_t tasks = static_cast<int64_t>(std::min(4.0 * threads, flop / kTaskFlop));
  const int64_t row_tiles = (p.m + kernels.rows - 1) / kernels.rows;
  const int64_t column_tiles = (p.n + kernels.columns - 1) / kernels.columns;
  const Grid grid =
      make_grid(row_tiles, column_tiles, kernels.rows, kernels.columns, tasks, threads);
  const int64_t row_step = (row_tiles + grid.rows - 1) / grid.rows * kernels.rows;
  const int64_t column_step = (column_tiles + grid.columns - 1) / grid.columns * kernels.columns;
  const int64_t row_parts = (p.m + row_step - 1) / row_step;
  const int64_t column_parts = (p.n + column_step - 1) / column_step;
  parallel_for(row_parts * column_parts, 1, [&](int64_t task, int64_t) {
    const int64_t row = task % row_parts * row_step, column = task / row_parts * column_step;
    multiply_region(
        kernels, p,
        {row, std::min(row_step, p.m - row), column, std::min(column_step, p.n - column)});
  });
}

}  // namespace ocellus::gemm_detail
