// Output layer and cross-entropy in one, by chunks of rows: the logits of all rows never exist.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// What the forward pass leaves: the loss, and the gradients for a cotangent of 1.
struct LinearCrossEntropyOut {
  Tensor loss;        // [] f32 (f64): Σ over counted rows
  int64_t count = 0;  // n: rows whose label is not `ignore`
  Tensor rows;        // [n] i64: which rows of x those are
  Tensor drows;       // [n, C] f32 (f64): gradient of those rows of x; undefined if not asked for
  Tensor dweight;     // [V, C] f32 (f64); undefined if not asked for, or if n = 0
};

/// linear_cross_entropy_forward — Σ_i log Σ_v e^{z_iv} - z_{i, labels_i} with z = x·weightᵀ.
///
/// x [N, C], weight [V, C] of x's dtype (or bf16 with x f32), labels [N]. Only rows with a label
/// are gathered and computed; `chunk` of them at a time (0: linear_cross_entropy_chunk). A chunk
/// costs three products (logits, drows, dweight) and three passes over its logits, which stay in
/// f32. Weight gradients are added up in f32 in order of the chunks.
LinearCrossEntropyOut linear_cross_entropy_forward(OnCpu, const Tensor& x, const Tensor& weight,
                                                   const Tensor& labels, int64_t ignore,
                                                   int64_t chunk, bool need_dx, bool need_dweight);
CUDA_TWIN LinearCrossEntropyOut linear_cross_entropy_forward(OnCuda, const Tensor& x,
                                                             const Tensor& weight,
                                                             const Tensor& labels, int64_t ignore,
                                                             int64_t chunk, bool need_dx,
                                                             bool need_dweight);
inline LinearCrossEntropyOut linear_cross_entropy_forward(const Tensor& x, const Tensor& weight,
                                                          const Tensor& labels, int64_t ignore,
                                                          int64_t chunk, bool need_dx,
                                                          bool need_dweight) {
  return on_device("linear_cross_entropy", x.device(), [&](auto device) {
    return linear_cross_entropy_forward(device, x, weight, labels, ignore, chunk, need_dx,
                                        need_dweight);
  });
}

/// scatter_scaled_rows — out [total, C] in `dtype`: out[ids[i]] = factor·rows[i], all other rows 0;
/// ids are distinct and rising.
Tensor scatter_scaled_rows(OnCpu, const Tensor& rows, const Tensor& ids, int64_t total,
                           double factor, DType dtype);
CUDA_TWIN Tensor scatter_scaled_rows(OnCuda, const Tensor& rows, const Tensor& ids, int64_t total,
                                     double factor, DType dtype);
inline Tensor scatter_scaled_rows(const Tensor& rows, const Tensor& ids, int64_t total,
                                  double factor, DType dtype) {
  return on_device("linear_cross_entropy", rows.device(), [&](auto device) {
    return scatter_scaled_rows(device, rows, ids, total, factor, dtype);
  });
}

/// linear_cross_entropy_chunk — rows a chunk, a function of V alone: about 4 MB of f32 logits, at
/// most 512 rows, and no fewer than 128, since every chunk reads the whole weight and its gradient.
/// (Measured for V of 512 … 32768; from 128 to 512 rows the time differs by a tenth.)
inline int64_t linear_cross_entropy_chunk(int64_t classes) {
  const int64_t rows = (int64_t{1} << 20) / (classes > 0 ? classes : 1);
  return rows < 128 ? 128 : rows > 512 ? 512 : rows;
}

}  // namespace ocellus
