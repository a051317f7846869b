// y = x·Wᵀ + bias and its gradients. The products are cuBLASLt's (runtime/cublas_lt.h), the bias in
// its epilogue, so y is written once; only the bias gradient is a kernel of ours: deterministic
// column sums, dy read once.
#include "engine/kernels/linear.h"

#include "cuda/device/column_sums.cuh"
#include "cuda/runtime/cublas_lt.h"
#include "engine/kernels/copy.h"

namespace ocellus {
namespace {

/// x [..., C] as a matrix [N, C] without a copy where the leading dimensions lie evenly.
Tensor rows_of(const Tensor& x) {
  const int last = x.rank() - 1;
  const Shape shape{x.shape().rows(), x.dim(last)};
  if (x.rank() == 2) return x;
  return x.contiguous().view_as(shape);
}

/// Weights are of x's dtype, or bf16 under f32 activations (a frozen model as it was loaded); those
/// are widened, because cuBLASLt multiplies one type with itself.
Tensor weight_as(const Tensor& weight, DType x) {
  check<DTypeError>(weight.dtype() == x || (x == DType::kF32 && weight.dtype() == DType::kBF16),
                    "linear: weight must be {} (as x){}, got {}", dtype_name(x),
                    x == DType::kF32 ? " or bf16" : "", dtype_name(weight.dtype()));
  return weight.to(x);
}

template <class T>
struct Element {
  const T* data;
  int64_t row_step, column_step;
  __device__ AccT<T> operator()(int64_t row, int64_t column) const {
    return static_cast<AccT<T>>(data[row * row_step + column * column_step]);
  }
};

}  // namespace

Tensor linear_forward(OnCuda device, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_same_device("linear", device, {&x, &weight, &bias});
  Tensor rows = rows_of(x), w = weight_as(weight, x.dtype());
  const int64_t n = rows.dim(0), in = rows.dim(1), out = w.dim(0);
  Tensor y = Tensor::empty(x.shape().with(-1, out), x.dtype(), device_of(device), "linear");
  if (y.numel() == 0) return y;
  if (in == 0) {  // nothing to multiply
    if (bias.defined())
      copy(bias.to(x.dtype()).broadcast_to(y.shape()), y);
    else
      fill(y, 0);
    return y;
  }
  const Tensor offset = bias.defined() ? bias.to(x.dtype()).contiguous() : Tensor();
  Product product{x.dtype(), x.dtype(), n, out, in, 1, device_matrix(rows), device_matrix(w)};
  product.b.transposed = !product.b.transposed;
  product.c = y.mutable_raw("linear");
  product.bias = offset.raw();
  run(device, product);
  return y;
}

Tensor linear_backward_input(OnCuda device, const Tensor& dy, const Tensor& weight) {
  check_same_device("linear", device, {&dy, &weight});
  Tensor rows = rows_of(dy), w = weight_as(weight, dy.dtype());
  const int64_t n = rows.dim(0), out = rows.dim(1), in = w.dim(1);
  Tensor dx = Tensor::empty(dy.shape().with(-1, in), dy.dtype(), device_of(device), "linear");
  if (dx.numel() == 0) return dx;
  if (out == 0) {
    fill(dx, 0);
    return dx;
  }
  Product product{dy.dtype(), dy.dtype(), n, in, out, 1, device_matrix(rows), device_matrix(w)};
  product.c = dx.mutable_raw("linear");
  run(device, product);
  return dx;
}

Tensor linear_backward_weight(OnCuda device, const Tensor& dy, const Tensor& x, DType dtype) {
  check_same_device("linear", device, {&dy, &x});
  check<DTypeError>(dy.dtype() == x.dtype(), "linear: dy must be {} (as x), got {}",
                    dtype_name(x.dtype()), dtype_name(dy.dtype()));
  Tensor dy_rows = rows_of(dy), x_rows = rows_of(x);
  const int64_t n = x_rows.dim(0), out = dy_rows.dim(1), in = x_rows.dim(1);
  // f32 products stay f32; those of bf16 go straight to f32 where gradients are kept so.
  const DType kept = x.dtype() == DType::kF32 ? DType::kF32 : dtype;
  Tensor dweight = Tensor::empty({out, in}, kept, device_of(device), "linear");
  if (n == 0) fill(dweight, 0);
  if (n > 0 && dweight.numel() > 0) {
    Product product{x.dtype(), kept, out, in, n, 1, device_matrix(dy_rows), device_matrix(x_rows)};
    product.a.transposed = !product.a.transposed;
    product.c = dweight.mutable_raw("linear");
    run(device, product);
  }
  return dweight.to(dtype);
}

Tensor linear_backward_bias(OnCuda device, const Tensor& dy, DType dtype) {
  check_same_device("linear", device, {&dy});
  const Tensor rows = rows_of(dy);
  Tensor sums;
  on_cuda_float("linear", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    sums = column_sums<AccT<T>>("linear_backward_bias", device.index, rows.dim(0), rows.dim(1),
                                Element<T>{rows.data<T>(), rows.strides()[0], rows.strides()[1]});
  });
  return sums.to(dtype);
}

}  // namespace ocellus
