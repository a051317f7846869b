// Internal: a product as the back ends get it, and what they share.
#pragma once
#include <algorithm>
#include <cstdint>

#include "engine/cpu/gemm/gemm.h"
#include "engine/cpu/gemm/workspace.h"

namespace ocellus::gemm_detail {

template <class TA, class TB, class TC>
struct Product {
  int64_t m, n, k;
  Operand<TA> a;
  Operand<TB> b;
  TC* c;
  int64_t ldc;
  bool accumulate;
  Epilogue<AccT<TC>> epilogue;
};

// A part of C.
struct Region {
  int64_t row, rows, column, columns;
};

// The epilogue on the part `region`, which starts at c.
template <class T>
void apply_epilogue(const Epilogue<T>& epilogue, T* c, int64_t ldc, const Region& region) {
  if (epilogue.bias != nullptr) {
    const T* bias = epilogue.bias + region.column;
    for (int64_t i = 0; i < region.rows; ++i)
      for (int64_t j = 0; j < region.columns; ++j) c[i * ldc + j] += bias[j];
  }
  if (epilogue.apply != nullptr)
    epilogue.apply(epilogue.context, c, ldc, region.row, region.rows, region.column,
                   region.columns);
}

// For a C of bf16: cuts `region` into parts small enough for the cache, calls multiply(part, c,
// ldc) with an f32 copy of the part, and rounds that back. So an element is rounded once, after all
// K blocks and the epilogue.
template <class TA, class TB, class TC, class F>
void for_each_rounded_part(const Product<TA, TB, TC>& p, const Region& region, F&& multiply) {
  using T = AccT<TC>;
  constexpr int64_t kRows = 240, kColumns = 256;
  const int64_t row_end = region.row + region.rows;
  const int64_t column_end = region.column + region.columns;
  for (int64_t column = region.column; column < column_end; column += kColumns)
    for (int64_t row = region.row; row < row_end; row += kRows) {
      const Region part{row, std::min(kRows, row_end - row), column,
                        std::min(kColumns, column_end - column)};
      T* const values = workspaces().c.at_least<T>(part.rows * part.columns);
      if (p.accumulate)
        for (int64_t i = 0; i < part.rows; ++i)
          for (int64_t j = 0; j < part.columns; ++j)
            values[i * part.columns + j] = static_cast<T>(p.c[(row + i) * p.ldc + column + j]);
      multiply(part, values, part.columns);
      for (int64_t i = 0; i < part.rows; ++i)
        for (int64_t j = 0; j < part.columns; ++j)
          p.c[(row + i) * p.ldc + column + j] = TC(values[i * part.columns + j]);
    }
}

// Defined in eigen_gemm.cpp, for the types that gemm takes.
template <class TA, class TB, class TC>
void multiply_with_eigen(const Product<TA, TB, TC>& p);

}  // namespace ocellus::gemm_detail
