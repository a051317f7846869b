// The back end `eigen`: portable, and what the tests hold the own kernel against. Eigen is called
// single-threaded on parts of C that are cut by shape alone, so its bits do not depend on the
// threads.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>
#include <algorithm>
#include <type_traits>

#include "engine/cpu/gemm/product.h"
#include "engine/parallel.h"

namespace ocellus::gemm_detail {
namespace {

template <class T, int kOrder>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, kOrder>;
template <class T, int kOrder>
using ConstMap = Eigen::Map<const Matrix<T, kOrder>, 0, Eigen::OuterStride<>>;
template <class T>
using ResultMap = Eigen::Map<Matrix<T, Eigen::RowMajor>, 0, Eigen::OuterStride<>>;

// A part of an operand in a layout that Eigen multiplies without a copy of its own.
template <class T>
struct View {
  const T* data;
  int64_t outer;
  bool row_major;
};

// In place where the rows (or, if `columns_too`, the columns) are dense and the type is right;
// otherwise copied, row-major.
template <class T, class Source>
View<T> view(const Operand<Source>& from, int64_t row, int64_t rows, int64_t column,
             int64_t columns, bool columns_too, Workspace& copy) {
  const Source* data = from.data + row * from.row_stride + column * from.column_stride;
  if constexpr (std::is_same_v<T, Source>) {
    if (from.column_stride == 1 && from.row_stride >= columns) return {data, from.row_stride, true};
    if (columns_too && from.row_stride == 1 && from.column_stride >= rows)
      return {data, from.column_stride, false};
  }
  T* to = copy.at_least<T>(rows * columns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      to[i * columns + j] = static_cast<T>(data[i * from.row_stride + j * from.column_stride]);
  return {to, columns, true};
}

template <class T, int kOrderB>
void product(const View<T>& a, const View<T>& b, T* c, int64_t ldc, const Region& region, int64_t k,
             bool accumulate) {
  const ConstMap<T, Eigen::RowMajor> left(a.data, region.rows, k, Eigen::OuterStride<>(a.outer));
  const ConstMap<T, kOrderB> right(b.data, k, region.columns, Eigen::OuterStride<>(b.outer));
  ResultMap<T> result(c, region.rows, region.columns, Eigen::OuterStride<>(ldc));
  if (!accumulate) result.setZero();
  result.noalias() += left * right;
}

template <class TA, class TB, class T>
void multiply_part(const Operand<TA>& operand_a, const Operand<TB>& operand_b, int64_t k, T* c,
                   int64_t ldc, const Region& region, bool accumulate) {
  // A is small beside the product and always brought to rows: every layout of it compiles for seconds.
  const View<T> a = view<T>(operand_a, region.row, region.rows, 0, k, false, workspaces().a);
  const View<T> b = view<T>(operand_b, 0, k, region.column, region.columns, true, workspaces().b);
  auto* const multiply = b.row_major ? product<T, Eigen::RowMajor> : product<T, Eigen::ColMajor>;
  multiply(a, b, c, ldc, region, k, accumulate);
}

}  // namespace

template <class TA, class TB, class TC>
void multiply_with_eigen(const Product<TA, TB, TC>& p) {
  using T = AccT<TC>;
  constexpr int64_t kRows = 256, kColumns = 256;
  const int64_t row_parts = (p.m + kRows - 1) / kRows;
  const int64_t column_parts = (p.n + kColumns - 1) / kColumns;
  parallel_for(row_parts * column_parts, 1, [&](int64_t index, int64_t) {
    const int64_t row = index % row_parts * kRows, column = index / row_parts * kColumns;
    const Region region{row, std::min(kRows, p.m - row), column, std::min(kColumns, p.n - column)};
    const auto finish = [&](const Region& part, T* c, int64_t ldc) {
      multiply_part(p.a, p.b, p.k, c, ldc, part, p.accumulate);
      apply_epilogue(p.epilogue, c, ldc, part);
    };
    if constexpr (std::is_same_v<TC, T>)
      finish(region, p.c + row * p.ldc + column, p.ldc);
    else
      for_each_rounded_part(p, region, finish);
  });
}

#define EIGEN_GEMM(TA, TB, TC) template void multiply_with_eigen(const Product<TA, TB, TC>&);
EIGEN_GEMM(double, double, double)
EIGEN_GEMM(float, float, float)
EIGEN_GEMM(float, float, bf16)
EIGEN_GEMM(float, bf16, float)
EIGEN_GEMM(float, bf16, bf16)
EIGEN_GEMM(bf16, float, float)
EIGEN_GEMM(bf16, float, bf16)
EIGEN_GEMM(bf16, bf16, float)
EIGEN_GEMM(bf16, bf16, bf16)
#undef EIGEN_GEMM

}  // namespace ocellus::gemm_detail
