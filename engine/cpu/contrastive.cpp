#include "engine/kernels/contrastive.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/row_blocks.h"
#include "engine/cpu/strided_loop.h"
#include "engine/kernels/cross_entropy.h"
#include "engine/rows/softmax_row.h"

namespace ocellus {
namespace {

// Sums of one row. Rows are merged in their order, whichever thread had them.
struct RowSums {
  double loss = 0, dscale = 0, dbias = 0;
};

RowSums total(const std::vector<RowSums>& rows) {
  RowSums sum;
  for (const RowSums& row : rows) {
    sum.loss += row.loss;
    sum.dscale += row.dscale;
    sum.dbias += row.dbias;
  }
  return sum;
}

ContrastiveOut result(const RowSums& sums, const Tensor& dlogits, bool gradient) {
  return {Tensor::scalar(sums.loss, dlogits.dtype()), gradient ? dlogits : Tensor(), sums.dscale,
          sums.dbias};
}

// softplus by the vectorised exponential: log1p(e) of e in (0, 1] as 2·atanh(e/(2 + e)), whose
// series in the square of at most 1/9 needs few terms in float; exact for double.
inline float softplus_fast(float x) {
  const float e = math::exp(-math::abs(x)), u = e / (2.0f + e), s = u * u;
  float p = 1.0f / 13.0f;
  p = p * s + 1.0f / 11.0f;
  p = p * s + 1.0f / 9.0f;
  p = p * s + 1.0f / 7.0f;
  p = p * s + 1.0f / 5.0f;
  p = p * s + 1.0f / 3.0f;
  p = p * s + 1.0f;
  return math::max(x, 0.0f) + 2.0f * u * p;
}
inline double softplus_fast(double x) { return math::softplus(x); }

template <class A>
RowSums sigmoid_row(A* row, int64_t n, int64_t diagonal, A scale, A bias, bool gradient) {
  RowSums sums;
  sums.loss = static_cast<double>(reduce_row<Sum<A>>(n, [=](int64_t j) {
                                    const A l = scale * row[j] + bias;
                                    return softplus_fast(j == diagonal ? -l : l);
                                  }).value);
  if (!gradient) return sums;
  A dscale = 0, dbias = 0;
#pragma omp simd reduction(+ : dscale, dbias)
  for (int64_t j = 0; j < n; ++j) {
    const A scaled = scale * row[j], sign = j == diagonal ? A(-1) : A(1);
    const A g = sign * math::sigmoid(sign * (scaled + bias));
    dscale += g * scaled;
    dbias += g;
    row[j] = g;
  }
  sums.dscale = static_cast<double>(dscale);
  sums.dbias = static_cast<double>(dbias);
  return sums;
}

// log Σ_i e^{scale·x[i, j]} of every column, 64 columns at a time so that rows are read in lines.
template <class A>
std::vector<A> column_log_sums(const A* x, int64_t n, A scale) {
  constexpr int64_t kColumns = 64;
  std::vector<A> log_sums(static_cast<size_t>(n));
  parallel_for(
      (n + kColumns - 1) / kColumns, exponential_rows_per_chunk(n * kColumns),
      [&](int64_t first, int64_t last) {
        for (int64_t block = first; block < last; ++block) {
          const int64_t begin = block * kColumns, width = std::min(kColumns, n - begin);
          A top[kColumns], sum[kColumns];
          for (int64_t j = 0; j < width; ++j) top[j] = scale * x[begin + j], sum[j] = 0;
          for (int64_t i = 1; i < n; ++i)
#pragma omp simd
            for (int64_t j = 0; j < width; ++j)
              top[j] = math::max(top[j], scale * x[i * n + begin + j]);
          for (int64_t i = 0; i < n; ++i)
#pragma omp simd
            for (int64_t j = 0; j < width; ++j)
              sum[j] += math::exp(scale * x[i * n + begin + j] - top[j]);
          for (int64_t j = 0; j < width; ++j)
            log_sums[static_cast<size_t>(begin + j)] = OnlineSoftmax<A>{top[j], sum[j]}.log_sum();
        }
      });
  return log_sums;
}

template <class A>
RowSums softmax_row(A* row, int64_t n, int64_t diagonal, A scale, const A* column_log_sum,
                    bool gradient) {
  const A top = reduce_row<Max<A>>(n, [=](int64_t j) { return scale * row[j]; }).value;
  const A sum =
      reduce_row<Sum<A>>(n, [=](int64_t j) { return math::exp(scale * row[j] - top); }).value;
  const A log_sum = OnlineSoftmax<A>{top, sum}.log_sum();
  RowSums sums;
  sums.loss = 0.5 * (static_cast<double>(log_sum) + static_cast<double>(column_log_sum[diagonal])) -
              static_cast<double>(scale * row[diagonal]);
  if (!gradient) return sums;
  A dscale = 0;
#pragma omp simd reduction(+ : dscale)
  for (int64_t j = 0; j < n; ++j) {
    const A l = scale * row[j];
    const A both = math::exp(l - log_sum) + math::exp(l - column_log_sum[j]);
    const A g = A(0.5) * both - (j == diagonal ? A(1) : A(0));
    dscale += g * l;
    row[j] = g;
  }
  sums.dscale = static_cast<double>(dscale);
  return sums;
}

}  // namespace

ContrastiveOut sigmoid_contrastive_forward(OnCpu, Tensor similarity, double log_scale, double bias,
                                           bool gradient) {
  const int64_t n = similarity.dim(0);
  std::vector<RowSums> rows(static_cast<size_t>(n));
  on_dtype<f32, f64>("sigmoid_contrastive", similarity.dtype(), [&](auto tag) {
    using A = typename decltype(tag)::type;
    A* x = similarity.mutable_data<A>("sigmoid_contrastive");
    const A scale = static_cast<A>(std::exp(log_scale)), offset = static_cast<A>(bias);
    parallel_for(n, exponential_rows_per_chunk(n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        rows[static_cast<size_t>(i)] = sigmoid_row(x + i * n, n, i, scale, offset, gradient);
    });
  });
  return result(total(rows), similarity, gradient);
}

ContrastiveOut softmax_contrastive_forward(OnCpu, Tensor similarity, double log_scale,
                                           bool gradient) {
  const int64_t n = similarity.dim(0);
  std::vector<RowSums> rows(static_cast<size_t>(n));
  on_dtype<f32, f64>("softmax_contrastive", similarity.dtype(), [&](auto tag) {
    using A = typename decltype(tag)::type;
    A* x = similarity.mutable_data<A>("softmax_contrastive");
    const A scale = static_cast<A>(std::exp(log_scale));
    const std::vector<A> column_log_sum = column_log_sums(x, n, scale);
    parallel_for(n, exponential_rows_per_chunk(n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        rows[static_cast<size_t>(i)] =
            softmax_row(x + i * n, n, i, scale, column_log_sum.data(), gradient);
    });
  });
  return result(total(rows), similarity, gradient);
}

}  // namespace ocellus
