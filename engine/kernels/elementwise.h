// Elementwise kernels of one and two inputs, generated from the .def lists.
#pragma once
#include "engine/device.h"
#include "engine/kernels/reduce.h"  // sum_to undoes a broadcast
#include "engine/scalar/arithmetic.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

enum class UnaryOp {
#define UNARY(name, Functor) k_##name,
#include "engine/scalar/unary_ops.def"
#undef UNARY
};
enum class BinaryOp {
#define BINARY(name, Functor) k_##name,
#include "engine/scalar/binary_ops.def"
#undef BINARY
};

/// unary_forward — y[i] = f(x[i]), contiguous output of x's shape and dtype.
Tensor unary_forward(OnCpu, UnaryOp op, const Tensor& x);
CUDA_TWIN Tensor unary_forward(OnCuda, UnaryOp op, const Tensor& x);
Tensor unary_forward(UnaryOp op, const Tensor& x);

/// unary_backward — dx[i] = f'(saved[i])·dy[i]; `saved` is x or y as the functor declares.
Tensor unary_backward(OnCpu, UnaryOp op, const Tensor& saved, const Tensor& dy);
CUDA_TWIN Tensor unary_backward(OnCuda, UnaryOp op, const Tensor& saved, const Tensor& dy);
Tensor unary_backward(UnaryOp op, const Tensor& saved, const Tensor& dy);

/// binary_forward — y = f(a, b) with numpy broadcasting; equal dtypes.
Tensor binary_forward(OnCpu, BinaryOp op, const Tensor& a, const Tensor& b);
CUDA_TWIN Tensor binary_forward(OnCuda, BinaryOp op, const Tensor& a, const Tensor& b);
Tensor binary_forward(BinaryOp op, const Tensor& a, const Tensor& b);

/// binary_backward — gradient for a (`for_a`) or b at the shape of dy; the tape sums broadcasts.
Tensor binary_backward(OnCpu, BinaryOp op, bool for_a, const Tensor& a, const Tensor& b,
                       const Tensor& dy);
CUDA_TWIN Tensor binary_backward(OnCuda, BinaryOp op, bool for_a, const Tensor& a, const Tensor& b,
                       const Tensor& dy);
Tensor binary_backward(BinaryOp op, bool for_a, const Tensor& a, const Tensor& b, const Tensor& dy);

const char* name_of(UnaryOp op);
const char* name_of(BinaryOp op);

/// add_in_place — into += x, equal shapes, `into` contiguous; x is converted to into's dtype.
void add_in_place(OnCpu, Tensor& into, const Tensor& x);
CUDA_TWIN void add_in_place(OnCuda, Tensor& into, const Tensor& x);
void add_in_place(Tensor& into, const Tensor& x);

/// scale_in_place — x ← factor·x.
void scale_in_place(OnCpu, Tensor& x, double factor);
CUDA_TWIN void scale_in_place(OnCuda, Tensor& x, double factor);
void scale_in_place(Tensor& x, double factor);

}  // namespace ocellus
