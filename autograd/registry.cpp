#include <algorithm>
#include <cmath>

#include "autograd/op_def.h"
#include "engine/scalar/activations.h"

namespace ocellus {
namespace {

std::vector<const OpDef*>& all_ops() {
  static std::vector<const OpDef*> ops;
  return ops;
}

}  // namespace

Registration::Registration(const OpDef& op) { all_ops().push_back(&op); }

void for_each_op(const std::function<void(const OpDef&)>& visit) {
  std::vector<const OpDef*> ops = all_ops();
  std::sort(ops.begin(), ops.end(),
            [](const OpDef* a, const OpDef* b) { return std::string(a->name) < b->name; });
  for (const OpDef* op : ops) visit(*op);
}

const OpDef* find_op(const std::string& name) {
  for (const OpDef* op : all_ops())
    if (name == op->name) return op;
  return nullptr;
}

Tensor Rng::normal(const Shape& shape, double deviation) {
  Tensor out = Tensor::empty(shape, DType::kF64);
  double* data = out.mutable_data<double>("normal");
  const RngKey k = key();
  for (int64_t i = 0; i < out.numel(); ++i) data[i] = deviation * normal_at(k, i);
  return out;
}

Tensor Rng::uniform(const Shape& shape, double low, double high) {
  Tensor out = Tensor::empty(shape, DType::kF64);
  double* data = out.mutable_data<double>("uniform");
  const RngKey k = key();
  for (int64_t i = 0; i < out.numel(); ++i)
    data[i] = low + (high - low) * static_cast<double>(uniform01(k.word(i)));
  return out;
}

Tensor Rng::from_domain(const Shape& shape, const Domain& domain) {
  constexpr double kMargin = 0.05;
  Tensor out = uniform(shape, domain.low, domain.high);
  double* data = out.mutable_data<double>("from_domain");
  for (int64_t i = 0; i < out.numel(); ++i)
    for (int k = 0; k < domain.kink_count; ++k)
      if (std::fabs(data[i] - domain.kinks[k]) < kMargin) data[i] = domain.kinks[k] + kMargin;
  return out;
}

Tensor Rng::integers(const Shape& shape, int64_t low, int64_t high, DType dtype) {
  Tensor out = Tensor::empty(shape, DType::kI64);
  int64_t* data = out.mutable_data<int64_t>("integers");
  const RngKey k = key();
  for (int64_t i = 0; i < out.numel(); ++i)
    data[i] = low + static_cast<int64_t>(k.word(i) % static_cast<uint64_t>(high - low));
  return out.to(dtype);
}

}  // namespace ocellus
