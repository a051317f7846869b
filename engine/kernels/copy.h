// Moving elements: strided copy with conversion, fill, concat, pad, gather and scatter of rows.
#pragma once
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// copy — out[i] = convert(x[i]); any strides on both sides, any pair of element types.
void copy(OnCpu, const Tensor& x, Tensor& out);
CUDA_TWIN void copy(OnCuda, const Tensor& x, Tensor& out);
void copy(const Tensor& x, Tensor& out);

/// fill — out[i] = value.
void fill(OnCpu, Tensor& out, double value);
CUDA_TWIN void fill(OnCuda, Tensor& out, double value);
void fill(Tensor& out, double value);

}  // namespace ocellus
