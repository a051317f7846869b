// Matrix products by cuBLASLt, in row-major terms.
#pragma once
#include <cstdint>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/tensor.h"

namespace ocellus {

/// DeviceMatrix — elements row·step + column of row-major storage, or of its transpose.
struct DeviceMatrix {
  const void* data = nullptr;
  int64_t step = 0;         // elements from one stored row to the next
  bool transposed = false;  // the stored matrix is the transpose of what is meant
};

/// device_matrix(m) — a matrix of rank 2 as an operand. `m` is replaced by a contiguous copy where
/// neither it nor its transpose has rows without gaps.
DeviceMatrix device_matrix(Tensor& m);

/// product — C[m, n] = A[m, k]·B[k, n] (+ bias[n] before rounding) (+ C where `accumulate`).
/// A, B and bias of `dtype`, C contiguous of the same; f32, bf16 (accumulated in f32) or f64.
/// Algorithms are chosen once for each geometry. Throws Error naming the geometry if there is none.
void product(OnCuda device, DType dtype, int64_t m, int64_t n, int64_t k, const DeviceMatrix& a,
             const DeviceMatrix& b, void* c, const void* bias = nullptr, bool accumulate = false);

}  // namespace ocellus
