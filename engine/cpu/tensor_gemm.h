// Tensors as operands of the matrix product of engine/cpu/gemm.
#pragma once
#include "engine/cpu/gemm/gemm.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// operand<T>(m) — a tensor of rank 2 and any strides as gemm reads it.
template <class T>
Operand<T> operand(const Tensor& matrix) {
  return {matrix.data<T>(), matrix.strides()[0], matrix.strides()[1]};
}

/// as_rows — x [..., C] as a matrix [N, C]: a view if the leading dimensions lie evenly, else a
/// copy.
inline Tensor as_rows(const Tensor& x) {
  const int last = x.rank() - 1;
  const Shape shape{x.shape().rows(), x.dim(last)};
  int64_t step = 0, extent = 0;  // of the leading dimensions merged so far, from the inside out
  for (int i = last - 1; i >= 0; --i) {
    if (x.dim(i) == 1) continue;
    if (extent == 0) {
      step = x.strides()[i];
      extent = x.dim(i);
    } else if (x.strides()[i] == step * extent) {
      extent *= x.dim(i);
    } else {
      return x.contiguous().view_as(shape);
    }
  }
  if (extent == 0) step = shape[1];  // one row
  return x.as_strided(shape, Strides{step, x.strides()[last]}, x.offset());
}

/// on_product — calls f(TypeTag<TX>{}, TypeTag<TW>{}) for activations and weights of one type, or
/// f32 activations with bf16 weights (a frozen model as it was loaded).
template <class F>
void on_product(const char* op, DType x, DType weight, F&& f) {
  if (x == DType::kF32 && weight == DType::kBF16) return f(TypeTag<f32>{}, TypeTag<bf16>{});
  check<DTypeError>(x == weight, "{}: weight must be {} (as x){}, got {}", op, dtype_name(x),
                    x == DType::kF32 ? " or bf16" : "", dtype_name(weight));
  on_float(op, x, [&](auto tag) { f(tag, tag); });
}

}  // namespace ocellus
