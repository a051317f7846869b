// Batched products by cuBLASLt (runtime/cublas_lt.h). A batch with one matrix on the right is one
// product with more rows; a batch that is added up is one product with more depth where the strides
// allow it, else f32 products and a sum.
#include "engine/kernels/matmul.h"

#include "cuda/runtime/context.h"
#include "cuda/runtime/cublas_lt.h"
#include "engine/kernels/copy.h"
#include "engine/kernels/reduce.h"

namespace ocellus {
namespace {

Shape with_matrix(Shape batch, int64_t rows, int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

}  // namespace

Tensor matmul_forward(OnCuda device, const Tensor& a, const Tensor& b, const Shape& batch) {
  check_same_device("matmul", device, {&a, &b});
  check<ShapeError>(a.rank() >= 2 && b.rank() >= 2,
                    "matmul: a and b must have at least two dimensions, got {} and {}",
                    to_string(a.shape()), to_string(b.shape()));
  const int64_t m = a.dim(-2), n = b.dim(-1), k = a.dim(-1);
  check<ShapeError>(b.dim(-2) == k,
                    "matmul: b must have {} rows (the columns of a), got {}; the product is {}·{}",
                    k, b.dim(-2), to_string(a.shape()), to_string(b.shape()));
  check<DTypeError>(a.dtype() == b.dtype(), "matmul: a and b must have one dtype, got {} and {}",
                    dtype_name(a.dtype()), dtype_name(b.dtype()));
  const Shape full = broadcast_shapes("matmul", batch_of(a.shape()), batch_of(b.shape()));
  check<ShapeError>(broadcast_shapes("matmul", batch, full) == full,
                    "matmul: batch must broadcast to {}, got {}", to_string(full),
                    to_string(batch));
  const Shape shape = with_matrix(batch, m, n);
  if (full.numel() == 0 || k == 0 || shape.numel() == 0)
    return Tensor::zeros(shape, a.dtype(), device_of(device), "matmul");

  Tensor left = a.broadcast_to(with_matrix(full, m, k));
  Tensor right = b.broadcast_to(with_matrix(full, k, n));
  Product p{a.dtype(), a.dtype(), m, n, k, full.numel(), device_matrix(left), device_matrix(right)};
  const bool rows_follow = !p.a.transposed && p.b.batch_step == 0 && p.a.batch_step == m * p.a.step;
  const bool depth_follows = p.a.transposed && !p.b.transposed && p.a.batch_step == k * p.a.step &&
                             p.b.batch_step == k * p.b.step;
  const bool summed = batch.numel() != full.numel();
  if (!summed && rows_follow) {
    p.m *= p.batch;
    p.batch = 1;
  } else if (summed && batch.numel() == 1 && depth_follows) {
    p.k *= p.batch;
    p.batch = 1;
  }
  const bool sum_after = summed && p.batch > 1;
  if (sum_after) p.out = DType::kF32;
  Tensor y = Tensor::empty(sum_after ? with_matrix(full, m, n) : shape, p.out, device_of(device),
                           "matmul");
  p.c = y.mutable_raw("matmul");
  run(device, p);
  return sum_after ? sum_to(y, shape, 1, "matmul").to(a.dtype()) : y;
}

}  // namespace ocellus
