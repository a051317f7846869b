// Shape and Strides: at most eight dimensions, by value, no heap; both go to kernels as they are.
// Pixel shuffle needs six dimensions, of tiles or frames seven.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "engine/check.h"

namespace ocellus {

inline constexpr int kMaxRank = 8;

/// Dims — a short list of extents or strides; the common part of Shape and Strides.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> dims) { assign(std::span(dims.begin(), dims.size())); }
  explicit Dims(std::span<const int64_t> dims) { assign(dims); }
  static Dims filled(int rank, int64_t value);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t& operator[](int i) { return dims_[i]; }
  const int64_t* begin() const { return dims_; }
  const int64_t* end() const { return dims_ + rank_; }
  /// dim(i) with negative i counting from the end; throws ShapeError outside.
  int64_t dim(int i) const;
  int64_t back() const { return dim(-1); }
  void push_back(int64_t value);
  bool operator==(const Dims& other) const;

 private:
  void assign(std::span<const int64_t> dims);
  int rank_ = 0;
  int64_t dims_[kMaxRank] = {};
};

class Shape : public Dims {
 public:
  using Dims::Dims;
  Shape() = default;
  explicit Shape(const Dims& dims) : Dims(dims) {}
  /// Number of elements; 1 for a scalar. Throws ShapeError where the product overflows.
  int64_t numel() const;
  /// Product of all dimensions but the last; 1 for a scalar: the N of a row kernel.
  int64_t rows() const;
  /// Copy with dimension i (negative from the end) replaced.
  Shape with(int i, int64_t value) const;
};

class Strides : public Dims {
 public:
  using Dims::Dims;
  Strides() = default;
  /// Row-major strides of a shape, in elements.
  static Strides contiguous(const Shape& shape);
};

/// "[2, 16, 768]"
std::string to_string(const Dims& dims);

/// broadcast_shapes(op, a, b) — numpy's rule; throws ShapeError naming the op.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

/// Index of dimension i of a rank, negative counted from the end; throws ShapeError naming the op.
int normalize_dim(const char* op, int i, int rank);

}  // namespace ocellus
