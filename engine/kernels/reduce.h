// Sums over dimensions.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// sum_to — factor·Σ of x over the dimensions in which `shape` has 1 (or none) and x more: the sum
/// that undoes a broadcast of `shape` to x's shape.  Any strides; accumulates in f32 (f64), rounds
/// once. The order of additions depends on the shape alone: 32 lanes along a row, blocks of rows
/// along columns. An empty sum is 0. `op` is named in errors. Throws ShapeError if `shape` does not
/// broadcast to x's.
Tensor sum_to(OnCpu, const Tensor& x, const Shape& shape, double factor, const char* op);
CUDA_TWIN Tensor sum_to(OnCuda, const Tensor& x, const Shape& shape, double factor, const char* op);
Tensor sum_to(const Tensor& x, const Shape& shape, double factor = 1, const char* op = "sum_to");

}  // namespace ocellus
