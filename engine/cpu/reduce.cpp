// Any sum over dimensions is a sequence of two simple ones over contiguous memory: of the last
// dimension (a row becomes a number), and of a middle one (rows are added up). The innermost summed
// dimension goes first; what is between passes is kept in the accumulation type.
#include "engine/kernels/reduce.h"

#include <vector>

#include "engine/cpu/row_blocks.h"
#include "engine/dispatch.h"
#include "engine/kernels/elementwise.h"
#include "engine/rows/lanes.h"
#include "engine/rows/sum_groups.h"

namespace ocellus {
namespace {

template <class A>
A sum_of(const A* row, int64_t n) {
  return sum_row<A>(n, [row]<class V>(int64_t i) { return at<V>(row, i); });
}

// to[r] = Σ from[r, 0 … n).  Longer rows than this are cut into chunks, summed side by side.
constexpr int64_t kLongRow = 4 * kChunkElements;

template <class T>
void sum_last(const T* from, int64_t rows, int64_t n, AccT<T>* to) {
  using A = AccT<T>;
  if (n <= kLongRow) {
    parallel_for(rows, rows_per_chunk(n), [&](int64_t begin, int64_t end) {
      RowBuffer<T> row(n);
      for (int64_t r = begin; r < end; ++r) to[r] = sum_of(row.load(from + r * n), n);
    });
    return;
  }
  const int64_t chunks = (n + kChunkElements - 1) / kChunkElements;
  std::vector<A> partial(static_cast<size_t>(rows * chunks));
  parallel_for(rows * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % chunks * kChunkElements;
      const int64_t count = std::min(kChunkElements, n - first);
      RowBuffer<T> row(count);
      partial[i] = sum_of(row.load(from + i / chunks * n + first), count);
    }
  });
  for (int64_t r = 0; r < rows; ++r) to[r] = sum_of(partial.data() + r * chunks, chunks);
}

// to[c] = Σ over `rows` rows of from[r, c], for up to 64 columns that lie in registers; in groups
// of rows, so that no sum grows long before it is added to another.
constexpr int64_t kTile = 64, kRowGroup = 256;

template <class T>
void sum_full_tile(const T* from, int64_t rows, int64_t stride, AccT<T>* to) {
  using A = AccT<T>;
  using V = typename LaneVector<A>::type;
  constexpr int kWidth = sizeof(V) / sizeof(A), kVectors = 8;
  for (int64_t c = 0; c < kTile; c += kVectors * kWidth) {
    V sum[kVectors] = {};
    for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        if constexpr (std::is_same_v<T, A>) {
          sum[v] += at<V>(from + r * stride, c + v * kWidth);
        } else {
          A wide[kWidth];
          for (int l = 0; l < kWidth; ++l)
            wide[l] = static_cast<A>(from[r * stride + c + v * kWidth + l]);
          sum[v] += at<V>(wide, 0);
        }
    }
    memcpy(to + c, sum, sizeof(sum));
  }
}

template <class T>
void sum_tile(const T* from, int64_t rows, int64_t stride, int64_t width, AccT<T>* to) {
  using A = AccT<T>;
  A total[kTile] = {};
  for (int64_t begin = 0; begin < rows; begin += kRowGroup) {
    A sum[kTile] = {};
    const int64_t count = std::min(rows - begin, kRowGroup);
    const T* group = from + begin * stride;
    if (width == kTile) {
      sum_full_tile(group, count, stride, sum);
    } else {
      for (int64_t r = 0; r < count; ++r)
        for (int64_t c = 0; c < width; ++c) sum[c] += static_cast<A>(group[r * stride + c]);
    }
    for (int64_t c = 0; c < kTile; ++c) total[c] += sum[c];
  }
  std::copy_n(total, width, to);
}

// to[o, c] = Σ over r of from[o, r, c], r < rows.
template <class T>
void sum_middle(const T* from, int64_t outer, int64_t rows, int64_t columns, AccT<T>* to) {
  using A = AccT<T>;
  constexpr int64_t kBlocks = 64;
  const int64_t block = std::max(rows_per_chunk(columns), (rows + kBlocks - 1) / kBlocks);
  const int64_t blocks = std::max<int64_t>(1, (rows + block - 1) / block);
  std::vector<A> partial(blocks > 1 ? static_cast<size_t>(outer * blocks * columns) : 0);
  A* target = blocks > 1 ? partial.data() : to;
  const int64_t grain = rows_per_chunk(std::min(rows, block) * columns);
  parallel_for(outer * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * block, count = std::min(block, rows - first);
      const T* at = from + (i / blocks * rows + first) * columns;
      for (int64_t c = 0; c < columns; c += kTile)
        sum_tile(at + c, count, columns, std::min(kTile, columns - c), target + i * columns + c);
    }
  });
  if (blocks == 1) return;
  parallel_for(outer, rows_per_chunk(blocks * columns), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t c = 0; c < columns; c += kTile)
        sum_tile(partial.data() + o * blocks * columns + c, blocks, columns,
                 std::min(kTile, columns - c), to + o * columns + c);
  });
}

// One pass of the sum, in the accumulation type.
Tensor one_pass(const Tensor& x, const SumPass& pass, const char* op) {
  Tensor out;
  on_float(op, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    out = Tensor::empty({pass.outer, pass.inner}, dtype_of<AccT<T>>, kCpu, op);
    auto* to = out.mutable_data<AccT<T>>(op);
    if (pass.inner == 1)
      sum_last(x.data<T>(), pass.outer, pass.n, to);
    else
      sum_middle(x.data<T>(), pass.outer, pass.n, pass.inner, to);
  });
  return out;
}

}  // namespace

Tensor sum_to(OnCpu, const Tensor& x, const Shape& shape, double factor, const char* op) {
  check<ShapeError>(broadcast_shapes(op, shape, x.shape()) == x.shape(),
                    "{}: {} is no broadcast of {}", op, to_string(x.shape()), to_string(shape));
  if (!is_floating(x.dtype())) fail_dtype(op, x.dtype(), {DType::kF32, DType::kBF16, DType::kF64});
  std::vector<SumGroup> groups = sum_groups(x.shape(), shape);
  Tensor y = any_summed(groups) ? x.contiguous() : x.clone();
  while (any_summed(groups)) y = one_pass(y, take_pass(groups), op);
  if (factor != 1) scale_in_place(y, factor);
  return y.to(x.dtype()).view_as(shape);
}

Tensor sum_to(const Tensor& x, const Shape& shape, double factor, const char* op) {
  return on_device(op, x.device(), [&](auto d) { return sum_to(d, x, shape, factor, op); });
}

}  // namespace ocellus
