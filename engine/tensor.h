// Tensor: a cheap handle on shared storage. Copying aliases, clone() copies. A view shares the
// storage, so a write through one view is seen, and counted, by all.
#pragma once
#include <memory>
#include <vector>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/memory/caching_allocator.h"
#include "engine/shape.h"

namespace ocellus {

/// Storage — one allocation, shared by all its views.
struct Storage {
  Memory memory;
  uint32_t version = 0;          // +1 on every in-place write
  const char* last_writer = "";  // who wrote last: makes errors of saved tensors answerable
};

class Tensor {
 public:
  Tensor() = default;  // undefined: no storage

  /// Uninitialised tensor; `owner` is the op that asks (named in out-of-memory tables).
  static Tensor empty(const Shape& shape, DType dtype, Device device = kCpu,
                      const char* owner = "tensor");
  static Tensor zeros(const Shape& shape, DType dtype, Device device = kCpu,
                      const char* owner = "tensor");
  static Tensor full(const Shape& shape, double value, DType dtype, Device device = kCpu);
  static Tensor scalar(double value, DType dtype, Device device = kCpu) {
    return full(Shape{}, value, dtype, device);
  }
  template <class T> static Tensor from(const std::vector<T>& values, const Shape& shape);
  /// A read-only tensor over bytes that `memory` keeps alive (a mapped checkpoint).
  static Tensor wrap(Memory memory, const Shape& shape, DType dtype);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Strides& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_.dim(i); }
  int64_t numel() const { return defined() ? shape_.numel() : 0; }
  int64_t bytes() const { return numel() * dtype_size(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return defined() ? storage_->memory.device() : kCpu; }
  /// Row-major without gaps: stride of the last dimension 1, every other the product of those after.
  bool is_contiguous() const;

  /// Elements, from the first of this view; checks the dtype.
  template <class T> const T* data() const {
    check_dtype(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  /// Elements to write; checks the dtype and bumps the storage's version in the name of `writer`.
  template <class T> T* mutable_data(const char* writer) {
    check_dtype(dtype_of<T>);
    return static_cast<T*>(mutable_raw(writer));
  }
  const void* raw() const;
  void* mutable_raw(const char* writer);

  /// Same elements, other shape; one dimension may be -1. Needs a contiguous tensor.
  Tensor view_as(const Shape& shape) const;
  /// Same elements, other shape; copies if this is not contiguous.
  Tensor reshaped(const Shape& shape) const;
  /// Dimensions in the given order (a view).
  Tensor permuted(const std::vector<int>& order) const;
  Tensor transposed(int a, int b) const;
  /// Elements [begin, end) of dimension `dim` (a view).
  Tensor sliced(int dim, int64_t begin, int64_t end) const;
  /// Broadcast to `shape` with strides of 0 (a view, read only).
  Tensor broadcast_to(const Shape& shape) const;
  /// This tensor if contiguous, else a contiguous copy.
  Tensor contiguous() const;
  Tensor clone() const;
  /// Elements converted to `dtype` (this tensor itself if it has that type already).
  Tensor to(DType dtype) const;
  Tensor to(Device device) const;
  /// The single element of a one-element tensor as double.
  double item() const;
  /// All elements in order as T, converted.
  template <class T> std::vector<T> to_vector() const;

  const std::shared_ptr<Storage>& storage() const { return storage_; }
  uint32_t version() const { return storage_ ? storage_->version : 0; }
  int64_t offset() const { return offset_; }
  /// "[2, 16, 768] bf16 on cuda:0"
  std::string describe() const;

  /// View with explicit geometry over the same storage; offsets in elements. For kernels and tests.
  Tensor as_strided(const Shape& shape, const Strides& strides, int64_t offset) const;

 private:
  void check_dtype(DType wanted) const;
  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Strides strides_;
  int64_t offset_ = 0;  // elements
  DType dtype_ = DType::kF32;
};

using Tensors = std::vector<Tensor>;

template <class T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape) {
  check<ShapeError>(static_cast<int64_t>(values.size()) == shape.numel(),
                    "Tensor::from: {} needs {} values, got {}", to_string(shape), shape.numel(),
                    values.size());
  Tensor out = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), out.mutable_data<T>("from"));
  return out;
}

}  // namespace ocellus
