// The matrix product on the CPU: any strides, f32, f64 and bf16, two back ends.
// Tensors come in through engine/cpu/matmul.cpp; nothing here knows of them.
#pragma once
#include <cstdint>

#include "engine/dtype.h"

namespace ocellus {

/// Operand — a matrix in memory: element (i, j) is data[i·row_stride + j·column_stride].
/// The transposed matrix is the same data with the strides exchanged. Strides may be 0.
template <class T>
struct Operand {
  const T* data;
  int64_t row_stride, column_stride;
  Operand transposed() const { return {data, column_stride, row_stride}; }
};

/// Epilogue — what happens to finished elements of C while they are in the cache: first
/// c[i, j] += bias[j] (if bias is not null; [N]), then apply(...) (if not null).
///
/// apply gets a block of C: c is element (row, column), [rows, columns] with ldc elements from row
/// to row. How C is cut into blocks is not defined, and several threads call at the same time:
/// apply must treat each element by itself. For C of bf16, T is float and the block is rounded
/// afterwards.
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  void (*apply)(void* context, T* c, int64_t ldc, int64_t row, int64_t rows, int64_t column,
                int64_t columns) = nullptr;
  void* context = nullptr;
};

/// gemm — C = A · B, or C += A · B, then the epilogue. A [M, K], B [K, N], C [M, N] row-major with
/// ldc elements from row to row; C must not overlap A or B.
///
/// TA, TB, TC: all double; or float and bf16 in any combination (computed in f32, C rounded once).
/// Runs on the pool of engine/parallel.h, or serially inside a parallel_for; K is never split
/// between threads. With the back end kOwn and a kernel with FMA every element is the same sequence
///   n = ⌈K/384⌉ blocks of ⌈K/n⌉;  per block acc = 0, acc = fma(A[i,k], B[k,j], acc);  C[i,j] (+)=
///   acc,
/// whatever the strides, the shape around it and the number of threads: a row computed alone has
/// the bits that it has in a batch. With kEigen the bits depend on the shape, not on the threads.
/// K = 0 gives zeros (or leaves C), then the epilogue. Throws ShapeError for a negative size, and
/// for ldc < N.
template <class TA, class TB, class TC>
void gemm(int64_t m, int64_t n, int64_t k, Operand<TA> a, Operand<TB> b, TC* c, int64_t ldc,
          bool accumulate = false, const Epilogue<AccT<TC>>& epilogue = {});

/// Back ends. kOwn: the kernel of this folder (x86-64 only, default there). kEigen: portable.
enum class MatmulBackend { kOwn, kEigen };

/// set_matmul_backend — for all later products; throws UsageError for kOwn on another processor.
void set_matmul_backend(MatmulBackend backend);
MatmulBackend matmul_backend();

/// gemm_kernel_name — "avx512", "avx2" or "sse2": the best that the processor has, or what the
/// environment's OCELLUS_KERNEL names (UsageError if that is unknown or not supported); "eigen"
/// where there is no own kernel.
const char* gemm_kernel_name();

}  // namespace ocellus
