// Batched products on the CPU: batch dimensions are folded into the rows or the depth of one large
// product where the strides allow it; what is left is a loop, parallel over matrices or inside
// them.
#include "engine/kernels/matmul.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/tensor_gemm.h"
#include "engine/parallel.h"

namespace ocellus {
namespace {

Shape with_matrix(Shape batch, int64_t rows, int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

// A batch dimension: its extent, and the step in elements from one matrix to the next; c = 0 where
// the products are added up.
struct BatchDim {
  int64_t extent, a, b, c;
};

struct Offsets {
  int64_t a = 0, b = 0, c = 0;
};

// dims are listed from the inside out.
Offsets offsets_of(int64_t index, const std::vector<BatchDim>& dims, Offsets at = {}) {
  for (const BatchDim& d : dims) {
    const int64_t i = index % d.extent;
    index /= d.extent;
    at.a += i * d.a, at.b += i * d.b, at.c += i * d.c;
  }
  return at;
}

int64_t count(const std::vector<BatchDim>& dims) {
  int64_t n = 1;
  for (const BatchDim& d : dims) n *= d.extent;
  return n;
}

// One product per element of kept × summed.
struct Geometry {
  int64_t m, n, k;
  int64_t a_row, a_column, b_row, b_column, c_row;
  std::vector<BatchDim> kept, summed;

  // A batch of a with one b is one product with more rows; a batch that is summed is one product
  // with more depth. With a single row, or a depth of one, that stride is free and follows the
  // batch.
  void add(const BatchDim& d) {
    if (d.extent == 1) return;
    if (m == 1 && d.c != 0) a_row = d.a, c_row = d.c;
    if (k == 1 && d.c == 0) a_column = d.a, b_row = d.b;
    if (d.c != 0 && d.b == 0 && d.a == m * a_row && d.c == m * c_row) {
      m *= d.extent;
    } else if (d.c == 0 && d.a == k * a_column && d.b == k * b_row) {
      k *= d.extent;
    } else {
      (d.c == 0 ? summed : kept).push_back(d);
    }
  }
};

template <class T, class TC>
void multiply(const Geometry& g, const T* a, const T* b, TC* c) {
  const int64_t items = count(g.kept), terms = count(g.summed);
  auto one = [&](int64_t item) {
    const Offsets base = offsets_of(item, g.kept);
    for (int64_t t = 0; t < terms; ++t) {
      const Offsets at = offsets_of(t, g.summed, base);
      gemm<T, T, TC>(g.m, g.n, g.k, {a + at.a, g.a_row, g.a_column},
                     {b + at.b, g.b_row, g.b_column}, c + at.c, g.c_row, t > 0);
    }
  };
  // Enough matrices for all threads: one thread each. Few and large ones: all threads on each. The
  // bits are the same either way.
  constexpr int64_t kChunkFlop = 1'000'000;
  const int64_t flop = std::max<int64_t>(1, 2 * g.m * g.n * g.k * terms);
  if (items >= 2 * num_threads() || flop < kChunkFlop) {
    parallel_for(items, std::max<int64_t>(1, kChunkFlop / flop),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t item = begin; item < end; ++item) one(item);
                 });
  } else {
    for (int64_t item = 0; item < items; ++item) one(item);
  }
}

}  // namespace

Tensor matmul_forward(OnCpu, const Tensor& a, const Tensor& b, const Shape& batch) {
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
  if (full.numel() == 0) return Tensor::zeros(shape, a.dtype(), kCpu, "matmul");

  const Tensor wide_a = a.broadcast_to(with_matrix(full, m, k));
  const Tensor wide_b = b.broadcast_to(with_matrix(full, k, n));
  const Strides sa = wide_a.strides(), sb = wide_b.strides(), sc = Strides::contiguous(shape);
  const int rank = full.rank(), shift = rank - batch.rank();
  Geometry g{m, n, k, sa[rank], sa[rank + 1], sb[rank], sb[rank + 1], n, {}, {}};
  for (int i = rank - 1; i >= 0; --i) {
    const bool kept = i >= shift && batch[i - shift] == full[i];
    g.add({full[i], sa[i], sb[i], kept ? sc[i - shift] : 0});
  }

  // Products of bf16 are added up in f32.
  const bool widened = a.dtype() == DType::kBF16 && !g.summed.empty();
  Tensor y = Tensor::empty(shape, widened ? DType::kF32 : a.dtype(), kCpu, "matmul");
  on_float("matmul", a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (shape.numel() == 0) return;
    if (widened)
      multiply(g, a.data<T>(), b.data<T>(), y.mutable_data<AccT<T>>("matmul"));
    else
      multiply(g, a.data<T>(), b.data<T>(), y.mutable_data<T>("matmul"));
  });
  return y.to(a.dtype());
}

}  // namespace ocellus
