#include <algorithm>

#include "cuda/runtime/cublas_lt.h"

namespace ocellus {
namespace {

// Rows of unit stride that do not overlap.
bool gapless(const Tensor& m, int row, int column) {
  return (m.dim(column) == 1 || m.strides()[column] == 1) && m.strides()[row] >= m.dim(column);
}

// One step that runs through all leading dimensions, if there is one.
bool batch_step(const Tensor& m, int64_t& step) {
  int64_t extent = 0;  // of the dimensions merged so far, from the inside out
  step = 0;
  for (int i = m.rank() - 3; i >= 0; --i) {
    if (m.dim(i) == 1) continue;
    if (extent == 0) {
      step = m.strides()[i];
      extent = m.dim(i);
    } else if (m.strides()[i] == step * extent) {
      extent *= m.dim(i);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

DeviceMatrix device_matrix(Tensor& m) {
  const int column = m.rank() - 1, row = column - 1;
  int64_t step = 0;
  if (batch_step(m, step)) {
    if (gapless(m, row, column)) return {m.raw(), m.strides()[row], false, step};
    if (gapless(m, column, row)) return {m.raw(), m.strides()[column], true, step};
  }
  m = m.clone();  // not contiguous(): a broadcast of single elements would stay as it is
  const int64_t width = std::max<int64_t>(1, m.dim(column));
  return {m.raw(), width, false, m.dim(row) * width};
}

}  // namespace ocellus
