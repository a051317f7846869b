// Validation that ops share.
#pragma once
#include "engine/check.h"
#include "engine/tensor.h"

namespace ocellus {

/// Throws ShapeError unless x has a last dimension of at least one element.
inline void check_rows(const char* op, const Tensor& x) {
  check<ShapeError>(x.rank() >= 1 && x.dim(-1) >= 1,
                    "{}: x must have a last dimension of at least 1, got {}", op, x.describe());
}

/// Throws ShapeError or DTypeError unless `parameter` is one number for each column of x, of its
/// dtype.
inline void check_row_parameter(const char* op, const char* name, const Tensor& parameter,
                                const Tensor& x) {
  check<ShapeError>(parameter.shape() == Shape{x.dim(-1)},
                    "{}: {} must be [{}] (the last dimension of x), got {}; x is {}", op, name,
                    x.dim(-1), to_string(parameter.shape()), x.describe());
  check<DTypeError>(parameter.dtype() == x.dtype(), "{}: {} must be {} as x is, got {}", op, name,
                    dtype_name(x.dtype()), dtype_name(parameter.dtype()));
}

/// Whether a tensor of shape x can be seen as one of `shape`.
inline bool broadcasts_to(const Shape& x, const Shape& shape) {
  const int shift = shape.rank() - x.rank();
  if (shift < 0) return false;
  for (int i = 0; i < x.rank(); ++i)
    if (x[i] != 1 && x[i] != shape[i + shift]) return false;
  return true;
}

}  // namespace ocellus
