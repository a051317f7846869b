#include "autograd/autocast.h"

#include <algorithm>
#include <unordered_map>

#include "autograd/ops.h"

namespace ocellus {
namespace {
thread_local DType low_type_now = DType::kF32;
}  // namespace

Autocast::Autocast(DType low) : before_(low_type_now) {
  check<DTypeError>(low == DType::kBF16 || low == DType::kF32, "autocast: dtype must be bf16 or f32, got {}",
                    dtype_name(low));
  low_type_now = low;
}
Autocast::~Autocast() { low_type_now = before_; }
DType Autocast::low_type() { return low_type_now; }

void apply_autocast(const OpDef& op, Variable* const* inputs, int count) {
  // f64 is only ever asked for on purpose: a check in double precision stays in double.
  auto castable = [](const Variable& x) {
    return x.defined() && is_floating(x.dtype()) && x.dtype() != DType::kF64;
  };
  DType target = op.precision == Precision::kLow ? low_type_now : DType::kF32;
  if (op.precision == Precision::kFollow) {
    bool mixed = false;
    const Variable* first = nullptr;
    for (int i = 0; i < count; ++i)
      if (castable(*inputs[i])) {
        if (!first) first = inputs[i];
        mixed = mixed || inputs[i]->dtype() != first->dtype();
      }
    if (!mixed) return;
  }
  for (int i = 0; i < count; ++i)
    if (castable(*inputs[i]) && inputs[i]->dtype() != target) *inputs[i] = cast(*inputs[i], target);
}

}  // namespace ocellus
