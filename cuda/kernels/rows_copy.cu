// Rows by index: gather, scatter, and the sums of rows that carry one id.
// Parallelisation: a block a row, columns over its threads. Traffic: each row read and written
// once; segment_sums reads every row once and writes the whole result once. Ids are checked and,
// for sums, sorted on the host: the calling thread waits for ids that lie on the GPU, not for
// others.
#include "engine/kernels/rows_copy.h"

#include <numeric>

#include "cuda/device/launch.h"
#include "cuda/kernels/segment_sums.h"

namespace ocellus {
namespace {

// --- device ---

template <class U>
__global__ void gather_kernel(const U* from, const int64_t* ids, int64_t count, int64_t columns,
                              U* to) {
  for (int64_t row = blockIdx.x; row < count; row += gridDim.x) {
    const U* source = from + ids[row] * columns;
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) to[row * columns + c] = source[c];
  }
}

// Row ids[i] of `to` becomes row i of `from`, or zeros if there is none.
template <class U>
__global__ void replace_kernel(const U* from, const int64_t* ids, int64_t count, int64_t columns,
                               U* to) {
  for (int64_t row = blockIdx.x; row < count; row += gridDim.x) {
    U* target = to + ids[row] * columns;
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x)
      target[c] = from ? from[row * columns + c] : U(0);
  }
}

// positions[first[v]] … positions[first[v + 1] - 1] are the rows of id v.
template <class T>
__global__ void segment_sums_kernel(const T* rows, const int64_t* first, const int64_t* positions,
                                    int64_t count, int64_t columns, T* to) {
  using A = AccT<T>;
  for (int64_t v = blockIdx.x; v < count; v += gridDim.x)
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
      A sum = A(0);
      for (int64_t at = first[v]; at < first[v + 1]; ++at)
        sum += static_cast<A>(rows[positions[at] * columns + c]);
      to[v * columns + c] = static_cast<T>(sum);
    }
}

// --- host ---

std::vector<int64_t> checked_ids(const char* op, const Tensor& ids, int64_t rows) {
  check<DTypeError>(ids.dtype() == DType::kI32 || ids.dtype() == DType::kI64,
                    "{}: ids must be i32 or i64, got {}", op, dtype_name(ids.dtype()));
  std::vector<int64_t> list = ids.to_vector<int64_t>();
  for (size_t i = 0; i < list.size(); ++i)
    check<ShapeError>(list[i] >= 0 && list[i] < rows, "{}: ids[{}] must be in [0, {}), got {}", op,
                      i, rows, list[i]);
  return list;
}

Tensor ids_there(OnCuda device, const Tensor& ids) {
  return ids.to(DType::kI64).to(device_of(device)).contiguous();
}

LaunchShape shape_for(int device, int64_t rows, int64_t columns) {
  unsigned threads = 32;
  while (threads < kBlockThreads && threads < columns) threads *= 2;
  return grid_for(device, rows, 1, threads);
}

/// f(TypeTag<U>{}) for the unsigned integer of that size: moving needs no more.
template <class F>
void on_size(DType dtype, F&& f) {
  switch (dtype_size(dtype)) {
    case 8:
      return f(TypeTag<uint64_t>{});
    case 4:
      return f(TypeTag<uint32_t>{});
    case 2:
      return f(TypeTag<uint16_t>{});
    default:
      return f(TypeTag<uint8_t>{});
  }
}

}  // namespace

Tensor segment_sums(const char* op, OnCuda device, const Tensor& rows,
                    const std::vector<int64_t>& ids, int64_t count) {
  const int64_t columns = rows.dim(-1);
  std::vector<int64_t> first(static_cast<size_t>(count) + 1, 0), positions(ids.size());
  for (int64_t id : ids) ++first[static_cast<size_t>(id) + 1];
  std::partial_sum(first.begin(), first.end(), first.begin());
  std::vector<int64_t> next(first.begin(), first.end() - 1);
  for (size_t i = 0; i < ids.size(); ++i)
    positions[static_cast<size_t>(next[static_cast<size_t>(ids[i])]++)] = static_cast<int64_t>(i);

  Tensor out = Tensor::empty({count, columns}, rows.dtype(), device_of(device), op);
  if (out.numel() == 0) return out;
  const Tensor first_there = Tensor::from(first, {count + 1}).to(device_of(device));
  const Tensor positions_there =
      Tensor::from(positions, {static_cast<int64_t>(positions.size())}).to(device_of(device));
  on_cuda_float(op, rows.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(op, device.index, segment_sums_kernel<T>, shape_for(device.index, count, columns),
           rows.data<T>(), first_there.data<int64_t>(), positions_there.data<int64_t>(), count,
           columns, out.mutable_data<T>(op));
  });
  return out;
}

Tensor gathered_rows(const char* op, OnCuda device, const Tensor& rows, const Tensor& ids) {
  const int64_t columns = rows.dim(1), count = ids.numel();
  Tensor y = Tensor::empty({count, columns}, rows.dtype(), device_of(device), op);
  if (y.numel() == 0) return y;
  on_size(rows.dtype(), [&](auto tag) {
    using U = typename decltype(tag)::type;
    launch(op, device.index, gather_kernel<U>, shape_for(device.index, count, columns),
           static_cast<const U*>(rows.raw()), ids.data<int64_t>(), count, columns,
           static_cast<U*>(y.mutable_raw(op)));
  });
  return y;
}

Tensor gather_rows_forward(OnCuda device, const Tensor& x, const Tensor& ids) {
  check_same_device("gather_rows", device, {&x});
  checked_ids("gather_rows", ids, x.dim(0));
  return gathered_rows("gather_rows", device, x.contiguous(), ids_there(device, ids));
}

Tensor scatter_add_rows(OnCuda device, const Tensor& rows, const Tensor& ids, int64_t count) {
  check_same_device("gather_rows", device, {&rows});
  return segment_sums("gather_rows", device, rows.contiguous(),
                      checked_ids("gather_rows", ids, count), count);
}

Tensor replace_rows(OnCuda device, const Tensor& base, const Tensor& ids, const Tensor& rows_any) {
  check_same_device("scatter_rows", device, {&base, &rows_any});
  const auto list = checked_ids("scatter_rows", ids, base.dim(0));
  std::vector<bool> taken(static_cast<size_t>(base.dim(0)), false);
  for (size_t i = 0; i < list.size(); ++i) {
    check<ShapeError>(!taken[static_cast<size_t>(list[i])],
                      "scatter_rows: ids[{}] = {} is named twice", i, list[i]);
    taken[static_cast<size_t>(list[i])] = true;
  }
  Tensor y = base.clone();
  const int64_t columns = base.dim(1), count = ids.numel();
  if (count * columns == 0) return y;
  const Tensor rows = rows_any.defined() ? rows_any.contiguous() : Tensor();
  const Tensor places = ids_there(device, ids);
  on_size(base.dtype(), [&](auto tag) {
    using U = typename decltype(tag)::type;
    launch("scatter_rows", device.index, replace_kernel<U>, shape_for(device.index, count, columns),
           static_cast<const U*>(rows.raw()), places.data<int64_t>(), count, columns,
           static_cast<U*>(y.mutable_raw("scatter_rows")));
  });
  return y;
}

}  // namespace ocellus
