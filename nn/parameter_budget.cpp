#include "nn/parameter_budget.h"

#include <utility>

namespace ocellus {
namespace {

constexpr int64_t kSpareTensors = 10'000, kSpareElements = int64_t{1} << 26;
thread_local ParameterBudget* current = nullptr;

}  // namespace

ParameterBudget::ParameterBudget(const CheckpointReader& checkpoint, std::string who)
    : who_(std::move(who)), tensors_(kSpareTensors), elements_(kSpareElements), before_(current) {
  for (const std::string& name : checkpoint.names()) {
    tensors_ += 4;
    elements_ += 4 * checkpoint.info(name).shape.numel();
  }
  current = this;
}

ParameterBudget::~ParameterBudget() { current = before_; }

void ParameterBudget::take(const std::string& name, const Shape& shape) {
  if (!current) return;
  double size = 1;
  for (int64_t d : shape) size *= static_cast<double>(d);
  const bool fits = current->tensors_ > 0 && size <= static_cast<double>(current->elements_);
  check<FormatError>(fits,
                     "{}: asks for a model far larger than its file; the parameter {} {} is beyond "
                     "four times what the file holds",
                     current->who_, name, to_string(shape));
  --current->tensors_;
  current->elements_ -= static_cast<int64_t>(size);
}

}  // namespace ocellus
