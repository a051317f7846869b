#include "engine/tensor.h"

#include <cstring>

#include "engine/dispatch.h"
#include "engine/kernels/copy.h"
#include "engine/random.h"

namespace ocellus {

namespace {
int64_t bytes_of(const char* owner, const Shape& shape, DType dtype) {
  int64_t bytes = 0;
  check<ShapeError>(!__builtin_mul_overflow(shape.numel(), dtype_size(dtype), &bytes),
                    "{}: the bytes of {} {} do not fit 64 bits", owner, to_string(shape),
                    dtype_name(dtype));
  return bytes;
}
}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device, const char* owner) {
  Tensor out;
  const int64_t bytes = bytes_of(owner, shape, dtype);
  out.storage_ = std::make_shared<Storage>();
  out.storage_->memory = allocator_of(device)->allocate(static_cast<size_t>(bytes), owner);
  out.shape_ = shape;
  out.strides_ = Strides::contiguous(shape);
  out.dtype_ = dtype;
  return out;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device, const char* owner) {
  Tensor out = empty(shape, dtype, device, owner);
  fill(out, 0);
  return out;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor out = empty(shape, dtype, device, "full");
  fill(out, value);
  return out;
}

Tensor Tensor::wrap(Memory memory, const Shape& shape, DType dtype) {
  const int64_t bytes = bytes_of("Tensor::wrap", shape, dtype);
  check<ShapeError>(static_cast<int64_t>(memory.bytes()) >= bytes,
                    "Tensor::wrap: {} {} needs {} bytes, got {}", to_string(shape),
                    dtype_name(dtype), bytes, memory.bytes());
  Tensor out;
  out.storage_ = std::make_shared<Storage>();
  out.storage_->memory = std::move(memory);
  out.shape_ = shape;
  out.strides_ = Strides::contiguous(shape);
  out.dtype_ = dtype;
  return out;
}

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != expected) return false;
    expected *= shape_[i];
  }
  return true;
}

void Tensor::check_dtype(DType wanted) const {
  check<DTypeError>(dtype_ == wanted, "Tensor: elements are {}, asked for {}", dtype_name(dtype_),
                    dtype_name(wanted));
}

const void* Tensor::raw() const {
  if (!storage_) return nullptr;
  return static_cast<const char*>(storage_->memory.data()) + offset_ * dtype_size(dtype_);
}

void* Tensor::mutable_raw(const char* writer) {
  check<Error>(defined(), "{}: the output tensor is undefined", writer);
  ++storage_->version;
  storage_->last_writer = writer;
  return const_cast<void*>(raw());
}

Tensor Tensor::as_strided(const Shape& shape, const Strides& strides, int64_t offset) const {
  Tensor out = *this;
  out.shape_ = shape;
  out.strides_ = strides;
  out.offset_ = offset;
  return out;
}

namespace {
// Replaces one -1 in `wanted` by what makes the numbers of elements equal.
Shape resolve_shape(const Shape& wanted, const Tensor& x) {
  Shape shape = wanted;
  int free = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == -1 && free < 0)
      free = i;
    else
      known *= shape[i];
  }
  if (free >= 0 && known > 0) shape[free] = x.numel() / known;
  bool valid = true;
  for (int64_t d : shape) valid = valid && d >= 0;
  check<ShapeError>(valid && shape.numel() == x.numel(),
                    "reshape: shape must have the {} elements of x {}, got {}", x.numel(),
                    to_string(x.shape()), to_string(wanted));
  return shape;
}
}  // namespace

Tensor Tensor::view_as(const Shape& wanted) const {
  check<ShapeError>(is_contiguous(), "view_as: x must be contiguous, got strides {} of {}",
                    to_string(strides_), to_string(shape_));
  const Shape shape = resolve_shape(wanted, *this);
  return as_strided(shape, Strides::contiguous(shape), offset_);
}

Tensor Tensor::reshaped(const Shape& shape) const { return contiguous().view_as(shape); }

Tensor Tensor::permuted(const std::vector<int>& order) const {
  check<ShapeError>(static_cast<int>(order.size()) == rank(),
                    "permute: order must name {} dimensions, got {}", rank(), order.size());
  Shape shape = shape_;
  Strides strides = strides_;
  unsigned seen = 0;
  for (int i = 0; i < rank(); ++i) {
    const int from = normalize_dim("permute", order[i], rank());
    check<ShapeError>(!(seen >> from & 1u), "permute: dimension {} is named twice", from);
    seen |= 1u << from;
    shape[i] = shape_[from];
    strides[i] = strides_[from];
  }
  return as_strided(shape, strides, offset_);
}

Tensor Tensor::transposed(int a, int b) const {
  a = normalize_dim("transpose", a, rank());
  b = normalize_dim("transpose", b, rank());
  Tensor out = *this;
  std::swap(out.shape_[a], out.shape_[b]);
  std::swap(out.strides_[a], out.strides_[b]);
  return out;
}

Tensor Tensor::sliced(int dim, int64_t begin, int64_t end) const {
  dim = normalize_dim("slice", dim, rank());
  check<ShapeError>(
      0 <= begin && begin <= end && end <= shape_[dim],
      "slice: begin and end must be in [0, {}] (dimension {} of x {}) and in order, got {} and {}",
      shape_[dim], dim, to_string(shape_), begin, end);
  return as_strided(shape_.with(dim, end - begin), strides_, offset_ + begin * strides_[dim]);
}

Tensor Tensor::broadcast_to(const Shape& shape) const {
  bool fits = rank() <= shape.rank();
  for (int i = 0; fits && i < rank(); ++i)
    fits = shape_[i] == 1 || shape_[i] == shape[i + shape.rank() - rank()];
  check<ShapeError>(fits, "broadcast_to: shape must be a broadcast of x {}, got {}",
                    to_string(shape_), to_string(shape));
  Strides strides(Dims::filled(shape.rank(), 0));
  const int shift = shape.rank() - rank();
  for (int i = 0; i < rank(); ++i)
    strides[i + shift] = shape_[i] == 1 && shape[i + shift] != 1 ? 0 : strides_[i];
  return as_strided(shape, strides, offset_);
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }

Tensor Tensor::clone() const {
  Tensor out = empty(shape_, dtype_, device(), "copy");
  copy(*this, out);
  return out;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor out = empty(shape_, dtype, device(), "cast");
  copy(*this, out);
  return out;
}

Tensor Tensor::to(Device target) const {
  if (target == device()) return *this;
  Tensor out = empty(shape_, dtype_, target, "to_device");
  copy(contiguous(), out);
  return out;
}

double Tensor::item() const {
  check<ShapeError>(numel() == 1, "item: the tensor must have one element, got {}",
                    to_string(shape_));
  return to_vector<double>()[0];
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  Tensor host = to(kCpu).to(dtype_of<T>).contiguous();
  const T* data = host.data<T>();
  return std::vector<T>(data, data + host.numel());
}
template std::vector<double> Tensor::to_vector<double>() const;
template std::vector<float> Tensor::to_vector<float>() const;
template std::vector<int64_t> Tensor::to_vector<int64_t>() const;
template std::vector<int32_t> Tensor::to_vector<int32_t>() const;
template std::vector<uint8_t> Tensor::to_vector<uint8_t>() const;

std::string Tensor::describe() const {
  if (!defined()) return "undefined";
  return fmt::format("{} {} on {}", to_string(shape_), dtype_name(dtype_), to_string(device()));
}

bool cuda_linked() { return has_allocator({DeviceType::kCuda, 0}); }

void fail_device(const char* op, Device device) {
  if (device.type == DeviceType::kCuda && !cuda_linked())
    fail<DeviceError>("{}: this program was built without CUDA", op);
  if (device.type == DeviceType::kCuda) fail<DeviceError>("{}: no CUDA kernel", op);
  fail<DeviceError>("{}: no kernel for {} yet", op, to_string(device));
}

void fail_dtype(const char* op, DType got, std::initializer_list<DType> allowed) {
  std::string names;
  for (DType dtype : allowed) (names += " ") += dtype_name(dtype);
  fail<DTypeError>("{}: dtype must be one of{}, got {}", op, names, dtype_name(got));
}

Generator& default_generator() {
  thread_local Generator generator;
  return generator;
}

}  // namespace ocellus
