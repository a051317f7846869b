#include "autograd/autocast.h"

#include <iterator>
#include <map>
#include <memory>

#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

thread_local DType low_type_now = DType::kF32;

// Low copies by what they were made from. Whatever is held here is memory that a tape cannot free:
// so copies of tensors that have died are dropped at every new copy, and at the end of a scope all
// that are not known from an earlier one.
class LowCopies {
 public:
  Tensor find_or_make(const Tensor& x, DType low) {
    Entry& entry = entries_[{x.storage().get(), x.offset()}];
    // The address of a dead storage may have been given to a new one.
    if (entry.source.lock() != x.storage()) entry = Entry{.source = x.storage()};
    if (entry.copy.defined() && entry.version == x.version() && entry.copy.dtype() == low &&
        entry.copy.shape() == x.shape() && entry.strides == x.strides())
      return entry.copy;
    entry.version = x.version();
    entry.strides = x.strides();
    entry.copy = x.to(low);
    const Tensor copy = entry.copy;
    drop([](const Entry& e) { return e.source.expired(); });
    return copy;
  }

  void end_scope() {
    drop([](const Entry& e) { return e.source.expired(); });
    for (auto& [key, entry] : entries_)
      if (!std::exchange(entry.from_earlier_scope, true)) entry.copy = Tensor();
  }

  int64_t bytes() const {
    int64_t sum = 0;
    for (const auto& [key, entry] : entries_)
      if (entry.copy.defined() && !entry.source.expired()) sum += entry.copy.bytes();
    return sum;
  }

 private:
  struct Entry {
    std::weak_ptr<Storage> source = {};
    uint32_t version = 0;
    Strides strides = {};
    Tensor copy = {};
    bool from_earlier_scope = false;
  };
  template <class Condition>
  void drop(Condition&& condition) {
    for (auto e = entries_.begin(); e != entries_.end();)
      e = condition(e->second) ? entries_.erase(e) : std::next(e);
  }
  std::map<std::pair<const Storage*, int64_t>, Entry> entries_;
};

LowCopies& low_copies() {
  thread_local LowCopies copies;
  return copies;
}

// cast() with a copy that other ops may share: the node is recorded all the same.
Variable cast_to_low(const Variable& x, DType low) {
  static const OpDef& kCast = *find_op("cast");
  return record(kCast, {x}, low_copies().find_or_make(x.value(), low),
                [from = x.dtype()](const Tensor& dy, Needs) { return Tensors{dy.to(from)}; });
}

}  // namespace

Autocast::Autocast(DType low) : before_(low_type_now) {
  check<DTypeError>(low == DType::kBF16 || low == DType::kF32,
                    "autocast: dtype must be bf16 or f32, got {}", dtype_name(low));
  low_type_now = low;
}
Autocast::~Autocast() {
  if (low_type_now != DType::kF32 && before_ == DType::kF32) low_copies().end_scope();
  low_type_now = before_;
}
DType Autocast::low_type() { return low_type_now; }

int64_t autocast_copy_bytes() { return low_copies().bytes(); }

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
  for (int i = 0; i < count; ++i) {
    Variable& x = *inputs[i];
    if (!castable(x) || x.dtype() == target) continue;
    x = target == DType::kF32 ? cast(x, target) : cast_to_low(x, target);
  }
}

}  // namespace ocellus
