// Matrix products by cuBLASLt, in row-major terms.
#pragma once
#include <cstdint>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/tensor.h"

namespace ocellus {

/// DeviceMatrix — elements row·step + column of row-major storage, or of its transpose; one of a
/// batch that lies `batch_step` elements apart (0: the same for all).
struct DeviceMatrix {
  const void* data = nullptr;
  int64_t step = 0;         // elements from one stored row to the next
  bool transposed = false;  // the stored matrix is the transpose of what is meant
  int64_t batch_step = 0;
};

/// device_matrix(m) — a tensor [..., rows, columns] as an operand, leading dimensions as one batch.
/// `m` is replaced by a contiguous copy where neither it nor its transpose has rows without gaps,
/// or where the batch has no single step.
DeviceMatrix device_matrix(Tensor& m);

/// Product — C[m, n] = A[m, k]·B[k, n] (+ bias[n] before rounding) (+ C where `accumulate`),
/// `batch` times. A and B of type `in`, C contiguous of type `out`, bias of that type too; f32 or
/// bf16, accumulated in f32.
struct Product {
  DType in = DType::kF32, out = DType::kF32;
  int64_t m = 0, n = 0, k = 0, batch = 1;
  DeviceMatrix a, b;
  void* c = nullptr;
  const void* bias = nullptr;
  bool accumulate = false;
};

/// run(device, product) — on the device's stream. Algorithms are chosen once for each geometry.
/// Throws Error naming the geometry if there is none.
void run(OnCuda device, const Product& product);

}  // namespace ocellus
