#include "engine/shape.h"

#include <algorithm>

namespace ocellus {

void Dims::assign(std::span<const int64_t> dims) {
  check<ShapeError>(dims.size() <= kMaxRank, "Shape: at most {} dimensions, got {}", kMaxRank,
                    dims.size());
  rank_ = static_cast<int>(dims.size());
  std::copy(dims.begin(), dims.end(), dims_);
}

Dims Dims::filled(int rank, int64_t value) {
  check<ShapeError>(rank >= 0 && rank <= kMaxRank, "Shape: at most {} dimensions, got {}", kMaxRank,
                    rank);
  Dims dims;
  dims.rank_ = rank;
  std::fill_n(dims.dims_, rank, value);
  return dims;
}

int64_t Dims::dim(int i) const { return dims_[normalize_dim("Shape", i, rank_)]; }

void Dims::push_back(int64_t value) {
  check<ShapeError>(rank_ < kMaxRank, "Shape: at most {} dimensions, got {}", kMaxRank, rank_ + 1);
  dims_[rank_++] = value;
}

bool Dims::operator==(const Dims& other) const {
  return rank_ == other.rank_ && std::equal(begin(), end(), other.begin());
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int64_t d : *this)
    if (d < 0 || __builtin_mul_overflow(n, d, &n))  // asked often: no sentence unless it is needed
      fail<ShapeError>("Shape: the number of elements of {} does not fit 64 bits", to_string(*this));
  return n;
}

int64_t Shape::rows() const {
  int64_t n = 1;
  for (int i = 0; i + 1 < rank(); ++i) n *= (*this)[i];
  return n;
}

Shape Shape::with(int i, int64_t value) const {
  Shape out = *this;
  out[normalize_dim("Shape", i, rank())] = value;
  return out;
}

Strides Strides::contiguous(const Shape& shape) {
  Strides strides;
  for (int i = 0; i < shape.rank(); ++i) strides.push_back(1);
  for (int i = shape.rank() - 2; i >= 0; --i) strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (int i = 0; i < dims.rank(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape out = longer;
  const int shift = longer.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    const int64_t x = longer[i + shift], y = shorter[i];
    check<ShapeError>(x == y || x == 1 || y == 1, "{}: b must broadcast with a {}, got {}", op,
                      to_string(a), to_string(b));
    out[i + shift] = x == 1 ? y : x;
  }
  return out;
}

int normalize_dim(const char* op, int i, int rank) {
  check<ShapeError>(i >= -rank && i < rank, "{}: dimension must be in [{}, {}), got {}", op, -rank,
                    rank, i);
  return i < 0 ? i + rank : i;
}

}  // namespace ocellus
