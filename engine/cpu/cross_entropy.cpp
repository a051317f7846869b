#include "engine/kernels/cross_entropy.h"

#include <algorithm>

#include "engine/cpu/row_blocks.h"
#include "engine/cpu/strided_loop.h"
#include "engine/rows/softmax_row.h"

namespace ocellus {
namespace {

}  // namespace

std::vector<int64_t> checked_labels(const char* op, const Tensor& labels, int64_t rows,
                                    int64_t classes, int64_t ignore) {
  check<ShapeError>(labels.shape() == Shape{rows}, "{}: labels must be [{}] (one a row), got {}",
                    op, rows, to_string(labels.shape()));
  check<DTypeError>(labels.dtype() == DType::kI64 || labels.dtype() == DType::kI32,
                    "{}: labels must be i32 or i64, got {}", op, dtype_name(labels.dtype()));
  std::vector<int64_t> list = labels.to_vector<int64_t>();
  for (size_t i = 0; i < list.size(); ++i)
    check<ShapeError>(list[i] == ignore || (0 <= list[i] && list[i] < classes),
                      "{}: labels[{}] is {}, must be in [0, {}) or {} (ignored)", op, i, list[i],
                      classes, ignore);
  return list;
}

CrossEntropyOut cross_entropy_forward(OnCpu, const Tensor& logits_any, const Tensor& labels,
                                      int64_t ignore) {
  const Tensor logits = logits_any.contiguous();
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  const auto list = checked_labels("cross_entropy", labels, rows, classes, ignore);
  CrossEntropyOut out;
  out.count = rows - std::count(list.begin(), list.end(), ignore);
  on_float("cross_entropy", logits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    out.log_sum = Tensor::empty({rows}, dtype_of<A>, kCpu, "cross_entropy");
    const T* x = logits.data<T>();
    A* log_sum = out.log_sum.mutable_data<A>("cross_entropy");
    std::vector<A> losses(static_cast<size_t>(rows));
    parallel_for(rows, exponential_rows_per_chunk(classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t label = list[static_cast<size_t>(i)];
        const T* row = x + i * classes;
        log_sum[i] = label == ignore ? A(0) : softmax_of_row(row, classes).log_sum();
        losses[static_cast<size_t>(i)] =
            label == ignore ? A(0) : log_sum[i] - static_cast<A>(row[label]);
      }
    });
    double sum = 0;
    for (A loss : losses) sum += static_cast<double>(loss);
    out.loss = Tensor::scalar(sum, dtype_of<A>);
  });
  return out;
}

Tensor cross_entropy_backward(OnCpu, const Tensor& logits_any, const Tensor& labels,
                              const Tensor& log_sum, const Tensor& dloss, int64_t ignore) {
  const Tensor logits = logits_any.contiguous();
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  const auto list = checked_labels("cross_entropy", labels, rows, classes, ignore);
  Tensor dlogits = Tensor::empty({rows, classes}, logits.dtype(), kCpu, "cross_entropy");
  on_float("cross_entropy", logits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* x = logits.data<T>();
    T* dx = dlogits.mutable_data<T>("cross_entropy");
    const A* sums = log_sum.data<A>();
    const A seed = static_cast<A>(dloss.item());
    parallel_for(rows, exponential_rows_per_chunk(classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* row = x + i * classes;
        T* to = dx + i * classes;
        const int64_t label = list[static_cast<size_t>(i)];
        if (label == ignore) {
          std::fill_n(to, classes, T{});
          continue;
        }
        const A shift = sums[i];
#pragma omp simd
        for (int64_t v = 0; v < classes; ++v)
          to[v] = static_cast<T>(seed * math::exp(static_cast<A>(row[v]) - shift));
        // e^{…} - 1 where the label is: the element is formed anew, so that bf16 rounds once.
        to[label] = static_cast<T>(seed * (math::exp(static_cast<A>(row[label]) - shift) - A(1)));
      }
    });
  });
  return dlogits;
}

}  // namespace ocellus
