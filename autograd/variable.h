// Variable: what model code handles. A tensor, and, while a tape records, its place on that tape.
#pragma once
#include <vector>

#include "engine/tensor.h"

namespace ocellus {

class Tape;

class Variable {
 public:
  Variable() = default;  // absent: an optional input that was not given
  /// A constant: no parents, no gradient.
  explicit Variable(Tensor value) : value_(std::move(value)) {}

  bool defined() const { return value_.defined(); }
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  int64_t dim(int i) const { return value_.dim(i); }
  int rank() const { return value_.rank(); }
  DType dtype() const { return value_.dtype(); }
  /// True if this has a slot on the active tape: some op would record its gradient.
  bool requires_grad() const;

 private:
  friend class Tape;
  Variable(Tensor value, uint64_t tape, int32_t slot)
      : value_(std::move(value)), tape_(tape), slot_(slot) {}
  Tensor value_;
  uint64_t tape_ = 0;  // id of the tape that made it; 0 for a constant
  int32_t slot_ = -1;
};

using Variables = std::vector<Variable>;

/// constant — no parents, no gradient; `constant(x.value())` is what others call detach.
inline Variable constant(Tensor value) { return Variable(std::move(value)); }

/// leaf — no parents, gradient wanted; read it after backward with tape.gradient(v). Without an active
/// tape it is a constant.
Variable leaf(Tensor value);

}  // namespace ocellus
