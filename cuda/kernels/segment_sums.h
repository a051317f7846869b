// Sums of rows that carry one id: the gradient of a look-up.
#pragma once
#include <vector>

#include "engine/device.h"
#include "engine/tensor.h"

namespace ocellus {

/// segment_sums — out [count, C] in the dtype of rows: out[v] = Σ rows[i] over the i with ids[i] =
/// v, in order of i, zeros where there is none.  rows [N, C] contiguous, ids N numbers in [0,
/// count). Positions are sorted by id on the host, a block adds up one id: no atomics, hence the
/// same bits in every run. Sums in f32.
Tensor segment_sums(const char* op, OnCuda device, const Tensor& rows,
                    const std::vector<int64_t>& ids, int64_t count);

/// gathered_rows — rows[ids[i]] of rows [N, C] → [M, C]; ids in [0, N) on the device.
Tensor gathered_rows(const char* op, OnCuda device, const Tensor& rows, const Tensor& ids);

}  // namespace ocellus
