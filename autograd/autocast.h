// Mixed precision as a scope: the policy is a field of each op, casts are recorded ops.
#pragma once
#include <array>

#include "autograd/op_def.h"
#include "autograd/variable.h"

namespace ocellus {

/// Autocast — while it lives, ops of policy kLow compute on `low` (bf16), kFull on f32, kFollow on
/// what comes, of different types the wider one. f64 stays f64. Scopes nest; Autocast(DType::kF32)
/// turns it off. Throws DTypeError for another type.
class Autocast {
 public:
  explicit Autocast(DType low);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  /// The low type of the innermost scope on this thread; kF32 without one (autocast off).
  static DType low_type();

 private:
  DType before_;
};

/// Applies the policy of `op` to its floating inputs; absent and integer inputs pass.
///
/// Low copies of f32 tensors are shared between the ops of a scope. A tensor that is still there in
/// a later scope is taken for a parameter: its copy is kept until the tensor is written or gone, so
/// that it is cast once per optimizer step however many micro-batches read it.
void apply_autocast(const OpDef& op, Variable* const* inputs, int count);

/// Bytes of low copies that this thread holds (for tests and memory reports).
int64_t autocast_copy_bytes();

/// auto [x, weight] = autocast(kMyOp, x_in, weight_in) — the inputs as the op should compute on
/// them.
template <class... V>
std::array<Variable, sizeof...(V)> autocast(const OpDef& op, const V&... inputs) {
  std::array<Variable, sizeof...(V)> cast_inputs{inputs...};
  if (Autocast::low_type() == DType::kF32) return cast_inputs;
  Variable* pointers[sizeof...(V)];
  for (size_t i = 0; i < sizeof...(V); ++i) pointers[i] = &cast_inputs[i];
  apply_autocast(op, pointers, sizeof...(V));
  return cast_inputs;
}

}  // namespace ocellus
