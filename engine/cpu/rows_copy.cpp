#include "engine/kernels/rows_copy.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/cpu/strided_loop.h"

namespace ocellus {
namespace {

std::vector<int64_t> checked_ids(const char* op, const Tensor& ids, int64_t rows) {
  check<DTypeError>(ids.dtype() == DType::kI32 || ids.dtype() == DType::kI64,
                    "{}: ids must be i32 or i64, got {}", op, dtype_name(ids.dtype()));
  std::vector<int64_t> list = ids.to_vector<int64_t>();
  for (size_t i = 0; i < list.size(); ++i)
    check<ShapeError>(list[i] >= 0 && list[i] < rows, "{}: ids[{}] must be in [0, {}), got {}", op,
                      i, rows, list[i]);
  return list;
}

int64_t row_grain(int64_t columns) {
  return std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns));
}

// Strides with which `shape` runs over the elements of x in order, false if there are none. Both
// shapes are cut into the shortest runs of dimensions that hold equally many elements; the
// dimensions of x in a run must lie without a gap.
bool strides_for(const Tensor& x, const Shape& shape, Strides& strides) {
  Shape from;
  Strides steps;
  for (int i = 0; i < x.rank(); ++i)
    if (x.shape()[i] != 1) from.push_back(x.shape()[i]), steps.push_back(x.strides()[i]);
  strides = Strides(Dims::filled(shape.rank(), 1));
  int i = 0, j = 0;
  while (i < from.rank() && j < shape.rank()) {
    int64_t have = from[i], want = shape[j];
    int i_end = i + 1, j_end = j + 1;
    while (have != want) {
      if (have < want) {
        if (steps[i_end - 1] != from[i_end] * steps[i_end]) return false;
        have *= from[i_end++];
      } else {
        want *= shape[j_end++];
      }
    }
    int64_t step = steps[i_end - 1];
    for (int k = j_end - 1; k >= j; --k) {
      strides[k] = step;
      step *= shape[k];
    }
    i = i_end;
    j = j_end;
  }
  return true;
}

}  // namespace

Tensor reshaped_view(const Tensor& x, const Shape& wanted) {
  if (x.is_contiguous() || x.numel() == 0) return x.reshaped(wanted);
  // The shape with its -1 resolved, and checked, as a contiguous tensor would have it.
  Strides strides = Strides::contiguous(x.shape());
  const Shape shape = x.as_strided(x.shape(), strides, x.offset()).view_as(wanted).shape();
  if (!strides_for(x, shape, strides)) return x.contiguous().view_as(shape);
  return x.as_strided(shape, strides, x.offset());
}

Tensor gather_rows_forward(OnCpu, const Tensor& x_in, const Tensor& ids) {
  const Tensor x = x_in.contiguous();
  const auto list = checked_ids("gather_rows", ids, x.dim(0));
  const int64_t columns = x.dim(1), m = static_cast<int64_t>(list.size());
  Tensor y = Tensor::empty({m, columns}, x.dtype(), kCpu, "gather_rows");
  const size_t bytes = static_cast<size_t>(columns * dtype_size(x.dtype()));
  const char* from = static_cast<const char*>(x.raw());
  char* to = static_cast<char*>(y.mutable_raw("gather_rows"));
  parallel_for(m, row_grain(columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(to + static_cast<size_t>(i) * bytes, from + static_cast<size_t>(list[i]) * bytes,
                  bytes);
  });
  return y;
}

Tensor scatter_add_rows(OnCpu, const Tensor& rows_in, const Tensor& ids, int64_t count) {
  const Tensor rows = rows_in.contiguous();
  const auto list = checked_ids("gather_rows", ids, count);
  const int64_t columns = rows.dim(1);
  Tensor wide;  // bf16 sums are kept in f32
  on_float("gather_rows", rows.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    wide = Tensor::zeros({count, columns}, dtype_of<A>, kCpu, "gather_rows");
    const T* from = rows.data<T>();
    A* to = wide.mutable_data<A>("gather_rows");
    // Columns are shared out, so that every row is summed in order of i by one thread.
    const int64_t grain = std::max<int64_t>(16, kChunkElements / std::max<int64_t>(1, rows.dim(0)));
    parallel_for(columns, grain, [&](int64_t begin, int64_t end) {
      for (size_t i = 0; i < list.size(); ++i) {
        const T* source = from + static_cast<int64_t>(i) * columns;
        A* target = to + list[i] * columns;
        for (int64_t c = begin; c < end; ++c) target[c] += static_cast<A>(source[c]);
      }
    });
  });
  return wide.to(rows.dtype());
}

Tensor replace_rows(OnCpu, const Tensor& base, const Tensor& ids, const Tensor& rows_in) {
  const auto list = checked_ids("scatter_rows", ids, base.dim(0));
  std::vector<bool> taken(static_cast<size_t>(base.dim(0)), false);
  for (size_t i = 0; i < list.size(); ++i) {
    check<ShapeError>(!taken[list[i]], "scatter_rows: ids[{}] = {} is named twice", i, list[i]);
    taken[list[i]] = true;
  }
  Tensor y = base.clone();
  const Tensor rows = rows_in.defined() ? rows_in.contiguous() : Tensor();
  const size_t bytes = static_cast<size_t>(base.dim(1) * dtype_size(base.dtype()));
  const char* from = static_cast<const char*>(rows.raw());
  char* to = static_cast<char*>(y.mutable_raw("scatter_rows"));
  for (size_t i = 0; i < list.size(); ++i) {
    char* target = to + static_cast<size_t>(list[i]) * bytes;
    if (from)
      std::memcpy(target, from + i * bytes, bytes);
    else
      std::memset(target, 0, bytes);
  }
  return y;
}

}  // namespace ocellus
