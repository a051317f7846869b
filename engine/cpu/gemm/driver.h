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

// How the operands are read, and the sizes of the blocks.
struct Plan {
  bool a_in_place, b_in_place;
  int64_t row_block;     // rows of A that stay in L2 while column panels pass
  int64_t column_group;  // columns of B that are packed at a time
};

// Measuring only; goes when the sizes are settled.
int TUNE(const char* name, int value);

template <class TA, class TB, class TC>
Plan make_plan(const KernelSet<AccT<TC>>& kernels, const Product<TA, TB, TC>& p) {
  using T = AccT<TC>;
  Plan plan;
  static const int a_mode = TUNE("GA", 2), b_mode = TUNE("GB", 2), mcb = TUNE("GMC", 128),
                   ncp = TUNE("GNC", 4), mth = TUNE("GMT", 128);
  plan.a_in_place =
      std::is_same_v<TA, T> && (p.a.row_stride == 1 || p.a.column_stride == 1) && a_mode != 0;
  plan.b_in_place = std::is_same_v<TB, T> && p.b.column_stride == 1 &&
                    (b_mode == 1 || (b_mode == 2 && p.m <= mth));
  const int64_t depth = k_block(p.k);
  plan.row_block =
      std::max<int64_t>(mcb * 1024 / (depth * static_cast<int64_t>(sizeof(T))), kernels.rows) /
      kernels.rows * kernels.rows;
  plan.column_group = ncp * kernels.columns;
  return plan;
}

// Packs elements of the type computed in, or bf16 on the way.
template <class T>
void pack(Pack<T, T> same, Pack<T, uint16_t>, int64_t lanes, int64_t depth, const T* from,
          int64_t lane_stride, int64_t k_stride, T* to) {
  same(lanes, depth, from, lane_stride, k_stride, to);
}
inline void pack(Pack<float, float>, Pack<float, uint16_t> widening, int64_t lanes, int64_t depth,
                 const bf16* from, int64_t lane_stride, int64_t k_stride, float* to) {
  widening(lanes, depth, reinterpret_cast<const uint16_t*>(from), lane_stride, k_stride, to);
}

// One region of C, whose values of the type computed in are at c.
template <class TA, class TB, class TC>
class RegionProduct {
  using T = AccT<TC>;

 public:
  RegionProduct(const KernelSet<T>& kernels, const Product<TA, TB, TC>& product, const Plan& plan,
                const Region& region, T* c, int64_t ldc)
      : kernels_(kernels), p_(product), plan_(plan), region_(region), c_(c), ldc_(ldc) {}

  void run() {
    const int64_t depth = k_block(p_.k);
    for (int64_t k = 0; k < p_.k; k += depth) {
      k_ = k;
      x_.depth = std::min(depth, p_.k - k);
      x_.add = p_.accumulate || k > 0;
      last_ = k + x_.depth == p_.k;
      read_a();
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
      pack(kernels_.pack_a, kernels_.pack_a_bf16, region_.rows, x_.depth, a, p_.a.row_stride,
           p_.a.column_stride, packed);
      in_place = packed;
      x_.a_row = 1;
      x_.a_k = kernels_.rows;
      x_.a_panel = kernels_.rows * x_.depth;
    }
    a_ = in_place;
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
      pack(kernels_.pack_b, kernels_.pack_b_bf16, count, x_.depth, b, p_.b.column_stride,
           p_.b.row_stride, packed);
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
  const Plan& plan_;
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
                     const Plan& plan, const Region& region) {
  if constexpr (std::is_same_v<TC, AccT<TC>>) {
    TC* c = p.c + region.row * p.ldc + region.column;
    RegionProduct(kernels, p, plan, region, c, p.ldc).run();
  } else {
    for_each_rounded_part(p, region, [&](const Region& part, AccT<TC>* c, int64_t ldc) {
      RegionProduct(kernels, p, plan, part, c, ldc).run();
    });
  }
}

// Cuts C into tasks: about four a thread, so that a thread that is held up does not hold up all; as
// wide as high where that matters, in units of tiles. Panels that a cut makes two tasks pack are
// weighed: a row cut packs B once more, a column cut A.
template <class TA, class TB, class TC>
void multiply(const KernelSet<AccT<TC>>& kernels, Product<TA, TB, TC> p) {
  if (p.m == 1) p.a.row_stride = 1;
  if (p.k == 1) p.a.column_stride = 1;
  if (p.n == 1) p.b.column_stride = 1;
  const Plan plan = make_plan(kernels, p);
  const double flop =
      2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  static const int tpt = TUNE("GTPT", 4), ser = TUNE("GSER", 1000), amin = TUNE("GMINT", 250);
  const int threads = in_parallel() || flop < ser * 1e3 ? 1 : num_threads();
  if (threads == 1) {
    multiply_region(kernels, p, plan, {0, p.m, 0, p.n});
    return;
  }
  const int64_t wanted = std::max<int64_t>(
      std::min<int64_t>(tpt * threads, static_cast<int64_t>(flop / (1e3 * amin))), threads);
  const int64_t row_tiles = (p.m + kernels.rows - 1) / kernels.rows;
  const int64_t column_tiles = (p.n + kernels.columns - 1) / kernels.columns;
  int64_t best_rows = 1, best_columns = 1;
  double best = 1e300;
  for (int64_t r = 1; r <= std::min(wanted, row_tiles); ++r) {
    const int64_t c = std::min((wanted + r - 1) / r, column_tiles);
    // Work of the longest queue, in tiles, and what is packed or read again.
    const double tiles =
        static_cast<double>((row_tiles + r - 1) / r * ((column_tiles + c - 1) / c));
    const double rounds = static_cast<double>((r * c + threads - 1) / threads);
    const double area = static_cast<double>(kernels.rows * kernels.columns);
    const double cost = tiles * rounds * area * 2 +
                        static_cast<double>(r * p.n) * (plan.b_in_place ? 1 : 10) / threads +
                        static_cast<double>(c * p.m) * (plan.a_in_place ? 1 : 10) / threads;
    if (cost < best) best = cost, best_rows = r, best_columns = c;
  }
  const int64_t row_step = (row_tiles + best_rows - 1) / best_rows * kernels.rows;
  const int64_t column_step = (column_tiles + best_columns - 1) / best_columns * kernels.columns;
  const int64_t row_parts = (p.m + row_step - 1) / row_step;
  const int64_t column_parts = (p.n + column_step - 1) / column_step;
  parallel_for(row_parts * column_parts, 1, [&](int64_t begin, int64_t) {
    const int64_t row = begin % row_parts * row_step, column = begin / row_parts * column_step;
    multiply_region(
        kernels, p, plan,
        {row, std::min(row_step, p.m - row), column, std::min(column_step, p.n - column)});
  });
}

}  // namespace ocellus::gemm_detail
