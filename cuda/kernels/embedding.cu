// Rows of a table by index, and the sum of gradients back into the table: kernels of rows_copy.cu.
// Ids may lie on the host, where they are checked; of ids on the GPU the calling thread waits for.
// Backward reads dy once and writes the whole [V, C] once; a frequent id is added up by one block.
#include "engine/kernels/embedding.h"

#include "cuda/kernels/segment_sums.h"
#include "cuda/runtime/context.h"

namespace ocellus {
namespace {

std::vector<int64_t> checked_ids(const Tensor& ids, int64_t rows) {
  check<DTypeError>(ids.dtype() == DType::kI64 || ids.dtype() == DType::kI32,
                    "embedding: ids must be i32 or i64, got {}", dtype_name(ids.dtype()));
  std::vector<int64_t> list = ids.to_vector<int64_t>();
  for (size_t i = 0; i < list.size(); ++i)
    check<ShapeError>(
        0 <= list[i] && list[i] < rows,
        "embedding: ids[{}] is {}, must be in [0, {}) (the rows of weight); ids is {}", i, list[i],
        rows, to_string(ids.shape()));
  return list;
}

}  // namespace

Tensor embedding_forward(OnCuda device, const Tensor& weight, const Tensor& ids) {
  check_same_device("embedding", device, {&weight});
  checked_ids(ids, weight.dim(0));
  Shape shape = ids.shape();
  shape.push_back(weight.dim(1));
  const Tensor places = ids.to(DType::kI64).to(device_of(device)).contiguous();
  return gathered_rows("embedding", device, weight.contiguous(), places).view_as(shape);
}

Tensor embedding_backward(OnCuda device, const Tensor& dy, const Tensor& ids, int64_t rows) {
  check_same_device("embedding", device, {&dy});
  return segment_sums("embedding", device, dy.contiguous(), checked_ids(ids, rows), rows);
}

}  // namespace ocellus
