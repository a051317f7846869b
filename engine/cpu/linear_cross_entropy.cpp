#include "engine/kernels/linear_cross_entropy.h"

#include <algorithm>

#include "engine/cpu/row_blocks.h"
#include "engine/cpu/strided_loop.h"
#include "engine/cpu/tensor_gemm.h"
#include "engine/kernels/cross_entropy.h"
#include "engine/rows/softmax_row.h"

namespace ocellus {
namespace {

constexpr const char* kName = "linear_cross_entropy";

// The rows of x at `rows`, contiguous; x itself if they are all and lie so.
template <class T>
Tensor gathered(const Tensor& x, const std::vector<int64_t>& rows) {
  const int64_t count = static_cast<int64_t>(rows.size()), columns = x.dim(1);
  if (count == x.dim(0) && x.is_contiguous()) return x;
  Tensor out = Tensor::empty({count, columns}, x.dtype(), kCpu, kName);
  const int64_t row_step = x.strides()[0], column_step = x.strides()[1];
  const T* from = x.data<T>();
  T* to = out.mutable_data<T>(kName);
  const int64_t grain = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns));
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = from + rows[static_cast<size_t>(i)] * row_step;
      for (int64_t j = 0; j < columns; ++j) to[i * columns + j] = row[j * column_step];
    }
  });
  return out;
}

// Loss of every row of a chunk; with `gradient` the logits become softmax - onehot.
template <class A>
void losses_of_chunk(A* logits, int64_t rows, int64_t classes, const int64_t* labels, bool gradient,
                     A* losses) {
  parallel_for(rows, exponential_rows_per_chunk(classes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      A* row = logits + i * classes;
      const A target = row[labels[i]];
      if (!gradient) {
        losses[i] = softmax_of_row(row, classes).log_sum() - target;
        continue;
      }
      const A top = reduce_row<Max<A>>(classes, [row](int64_t v) { return row[v]; }).value;
#pragma omp simd
      for (int64_t v = 0; v < classes; ++v) row[v] = math::exp(row[v] - top);
      const A sum = reduce_row<Sum<A>>(classes, [row](int64_t v) { return row[v]; }).value;
      losses[i] = OnlineSoftmax<A>{top, sum}.log_sum() - target;
      const A scale = A(1) / sum;
#pragma omp simd
      for (int64_t v = 0; v < classes; ++v) row[v] *= scale;
      row[labels[i]] -= A(1);
    }
  });
}

}  // namespace

LinearCrossEntropyOut linear_cross_entropy_forward(OnCpu, const Tensor& x, const Tensor& weight,
                                                   const Tensor& labels, int64_t ignore,
                                                   int64_t chunk, bool need_dx, bool need_dweight) {
  const int64_t columns = x.dim(1), classes = weight.dim(0);
  const auto all_labels = checked_labels(kName, labels, x.dim(0), classes, ignore);
  std::vector<int64_t> rows, targets;
  for (size_t i = 0; i < all_labels.size(); ++i)
    if (all_labels[i] != ignore) {
      rows.push_back(static_cast<int64_t>(i));
      targets.push_back(all_labels[i]);
    }
  const int64_t count = static_cast<int64_t>(rows.size());
  LinearCrossEntropyOut out;
  out.count = count;
  out.rows = Tensor::from(rows, {count});
  on_product(kName, x.dtype(), weight.dtype(), [&](auto x_tag, auto weight_tag) {
    using TX = typename decltype(x_tag)::type;
    using TW = typename decltype(weight_tag)::type;
    using A = AccT<TX>;
    const Tensor input = gathered<TX>(x, rows);
    if (need_dx) out.drows = Tensor::empty({count, columns}, dtype_of<A>, kCpu, kName);
    if (need_dweight && count > 0)
      out.dweight = Tensor::empty({classes, columns}, dtype_of<A>, kCpu, kName);
    const int64_t step = std::min(std::max<int64_t>(1, count),
                                  chunk > 0 ? chunk : linear_cross_entropy_chunk(classes));
    Tensor buffer = Tensor::empty({step, classes}, dtype_of<A>, kCpu, kName);
    A* logits = buffer.mutable_data<A>(kName);
    const Operand<TW> w = operand<TW>(weight);
    std::vector<A> losses(static_cast<size_t>(count));
    for (int64_t begin = 0; begin < count; begin += step) {
      const int64_t n = std::min(step, count - begin);
      const Operand<TX> part{input.data<TX>() + begin * columns, columns, 1};
      gemm(n, classes, columns, part, w.transposed(), logits, classes);
      losses_of_chunk(logits, n, classes, targets.data() + begin, need_dx || need_dweight,
                      losses.data() + begin);
      const Operand<A> dlogits{logits, classes, 1};
      if (need_dx)
        gemm(n, columns, classes, dlogits, w, out.drows.mutable_data<A>(kName) + begin * columns,
             columns);
      if (need_dweight)
        gemm(classes, columns, n, dlogits.transposed(), part, out.dweight.mutable_data<A>(kName),
             columns, begin > 0);
    }
    double sum = 0;
    for (A loss : losses) sum += static_cast<double>(loss);
    out.loss = Tensor::scalar(sum, dtype_of<A>);
  });
  return out;
}

Tensor scatter_scaled_rows(OnCpu, const Tensor& rows, const Tensor& ids, int64_t total,
                           double factor, DType dtype) {
  const int64_t columns = rows.dim(1), count = rows.dim(0);
  // Source of each row of the result, -1 for a row of zeros.
  std::vector<int64_t> source(static_cast<size_t>(total), -1);
  const int64_t* list = ids.data<int64_t>();
  for (int64_t i = 0; i < count; ++i) source[static_cast<size_t>(list[i])] = i;
  Tensor out = Tensor::empty({total, columns}, dtype, kCpu, kName);
  on_float(kName, dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const A* from = rows.data<A>();
    T* to = out.mutable_data<T>(kName);
    const A scale = static_cast<A>(factor);
    const int64_t grain = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns));
    parallel_for(total, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = source[static_cast<size_t>(i)];
        T* row = to + i * columns;
        if (at < 0) {
          std::fill_n(row, columns, T{});
          continue;
        }
        const A* value = from + at * columns;
#pragma omp simd
        for (int64_t j = 0; j < columns; ++j) row[j] = static_cast<T>(scale * value[j]);
      }
    });
  });
  return out;
}

}  // namespace ocellus
