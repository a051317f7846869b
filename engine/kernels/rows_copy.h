// Moving rows: by index, and behind other shapes.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// reshaped_view — the same elements in another shape; one dimension may be -1. A view of x where
/// strides can express it (splitting a dimension always; merging those that lie without a gap),
/// else a copy.
Tensor reshaped_view(const Tensor& x, const Shape& shape);

/// gather_rows_forward — y[i] = x[ids[i]];  x [N, C], ids [M] i32 or i64 → [M, C]. ShapeError
/// naming the position of an id outside of [0, N).
Tensor gather_rows_forward(OnCpu, const Tensor& x, const Tensor& ids);
CUDA_TWIN Tensor gather_rows_forward(OnCuda, const Tensor& x, const Tensor& ids);
inline Tensor gather_rows_forward(const Tensor& x, const Tensor& ids) {
  return on_device("gather_rows", x.device(),
                   [&](auto d) { return gather_rows_forward(d, x, ids); });
}

/// scatter_add_rows — y = zeros [count, C] with y[ids[i]] += rows[i], in order of i; sums in f32
/// (f64).
Tensor scatter_add_rows(OnCpu, const Tensor& rows, const Tensor& ids, int64_t count);
CUDA_TWIN Tensor scatter_add_rows(OnCuda, const Tensor& rows, const Tensor& ids, int64_t count);
inline Tensor scatter_add_rows(const Tensor& rows, const Tensor& ids, int64_t count) {
  return on_device("gather_rows", rows.device(),
                   [&](auto d) { return scatter_add_rows(d, rows, ids, count); });
}

/// replace_rows — a copy of base [N, C] with row ids[i] replaced by rows[i], or by zeros if `rows`
/// is undefined. ShapeError for ids outside of [0, N) or named twice.
Tensor replace_rows(OnCpu, const Tensor& base, const Tensor& ids, const Tensor& rows);
CUDA_TWIN Tensor replace_rows(OnCuda, const Tensor& base, const Tensor& ids, const Tensor& rows);
inline Tensor replace_rows(const Tensor& base, const Tensor& ids, const Tensor& rows) {
  return on_device("scatter_rows", base.device(),
                   [&](auto d) { return replace_rows(d, base, ids, rows); });
}

}  // namespace ocellus
