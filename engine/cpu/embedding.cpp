#include "engine/kernels/embedding.h"

#include <algorithm>
#include <vector>

#include "engine/cpu/strided_loop.h"

namespace ocellus {
namespace {

std::vector<int64_t> checked_ids(const Tensor& ids, int64_t rows) {
  check<DTypeError>(ids.dtype() == DType::kI64 || ids.dtype() == DType::kI32,
                    "embedding: ids must be i32 or i64, got {}", dtype_name(ids.dtype()));
  std::vector<int64_t> list = ids.to_vector<int64_t>();
  for (size_t i = 0; i < list.size(); ++i)
    check<ShapeError>(
        0 <= list[i] && list[i] < rows,
        "embedding: ids[{}] must be in [0, {}) (the rows of weight), got {}; ids is {}", i, rows,
        list[i], to_string(ids.shape()));
  return list;
}

}  // namespace

Tensor embedding_forward(OnCpu, const Tensor& weight, const Tensor& ids) {
  const Tensor table = weight.contiguous();
  const int64_t columns = table.dim(1);
  const std::vector<int64_t> list = checked_ids(ids, table.dim(0));
  Shape shape = ids.shape();
  shape.push_back(columns);
  Tensor y = Tensor::empty(shape, table.dtype(), kCpu, "embedding");
  on_float("embedding", table.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = table.data<T>();
    T* to = y.mutable_data<T>("embedding");
    const int64_t grain = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns));
    parallel_for(static_cast<int64_t>(list.size()), grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        std::copy_n(from + list[static_cast<size_t>(i)] * columns, columns, to + i * columns);
    });
  });
  return y;
}

Tensor embedding_backward(OnCpu, const Tensor& dy_any, const Tensor& ids, int64_t rows) {
  const Tensor dy = dy_any.contiguous();
  const int64_t columns = dy.dim(-1);
  const std::vector<int64_t> list = checked_ids(ids, rows);
  // Positions sorted by id, equal ids in order of position: positions[first[v]] … are those of v.
  std::vector<int64_t> first(static_cast<size_t>(rows) + 1, 0), positions(list.size());
  for (int64_t id : list) ++first[static_cast<size_t>(id) + 1];
  for (size_t v = 0; v < static_cast<size_t>(rows); ++v) first[v + 1] += first[v];
  std::vector<int64_t> next(first.begin(), first.end() - 1);
  for (size_t i = 0; i < list.size(); ++i)
    positions[static_cast<size_t>(next[static_cast<size_t>(list[i])]++)] = static_cast<int64_t>(i);

  Tensor dweight = Tensor::empty({rows, columns}, dy.dtype(), kCpu, "embedding");
  on_float("embedding", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = dy.data<T>();
    T* to = dweight.mutable_data<T>("embedding");
    const int64_t grain = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, columns));
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      std::vector<A> sum;
      if constexpr (!std::is_same_v<T, A>) sum.resize(static_cast<size_t>(columns));
      for (int64_t v = begin; v < end; ++v) {
        T* row = to + v * columns;
        const int64_t* at = positions.data() + first[static_cast<size_t>(v)];
        const int64_t* last = positions.data() + first[static_cast<size_t>(v) + 1];
        A* target;
        if constexpr (std::is_same_v<T, A>)
          target = row;
        else
          target = sum.data();
        std::fill_n(target, columns, A(0));
        for (; at != last; ++at) {
          const T* source = from + *at * columns;
#pragma omp simd
          for (int64_t j = 0; j < columns; ++j) target[j] += static_cast<A>(source[j]);
        }
        if constexpr (!std::is_same_v<T, A>)
          for (int64_t j = 0; j < columns; ++j) row[j] = T(target[j]);
      }
    });
  });
  return dweight;
}

}  // namespace ocellus
