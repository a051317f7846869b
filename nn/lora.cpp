#include "nn/lora.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "autograd/autocast.h"
#include "engine/file.h"
#include "engine/kernels/copy.h"

namespace ocellus {
namespace {

using Kind = WeightLayer::Kind;

int64_t inputs_of(WeightLayer& layer) {
  return layer.weight().shape()[layer.kind() == Kind::kLinear ? 1 : 0];
}
int64_t outputs_of(WeightLayer& layer) {
  return layer.weight().shape()[layer.kind() == Kind::kLinear ? 0 : 1];
}

Init init_of(const LoraConfig& config, bool embedding, bool first, int64_t width, int64_t rank) {
  if (config.init == "random") {
    if (embedding) return Init::normal(1);
    return Init::uniform(1 / std::sqrt(static_cast<double>(first ? width : rank)));
  }
  // B = 0 at the start; of an embedding, A.
  if (embedding == first) return Init::zeros();
  if (embedding) return Init::normal(1);
  return config.init == "gaussian" ? Init::normal(1 / static_cast<double>(rank))
                                   : Init::uniform(1 / std::sqrt(static_cast<double>(width)));
}

}  // namespace

LoraAdapter::LoraAdapter(WeightLayer& layer, const LoraConfig& config, int64_t rank, double alpha)
    : layer_(layer),
      scale_(alpha /
             (config.rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank))),
      dropout_(config.dropout),
      a_(parameter_(
          layer.kind() == Kind::kEmbedding ? "lora_embedding_A" : "lora_A.weight",
          {rank, inputs_of(layer)},
          init_of(config, layer.kind() == Kind::kEmbedding, true, inputs_of(layer), rank))),
      b_(parameter_(
          layer.kind() == Kind::kEmbedding ? "lora_embedding_B" : "lora_B.weight",
          {outputs_of(layer), rank},
          init_of(config, layer.kind() == Kind::kEmbedding, false, inputs_of(layer), rank))) {
  if (config.lora_bias) b_bias_ = &parameter_("lora_B.bias", {outputs_of(layer)}, Init::zeros());
  if (config.dora)
    magnitude_ = &parameter_("lora_magnitude_vector", {outputs_of(layer)}, Init::ones());
}

Variable LoraAdapter::change() {
  const Variable product = layer_.kind() == Kind::kLinear ? matmul(b_.var(), a_.var())
                                                          : matmul(a_.var(), b_.var(), true, true);
  return mul(product, scale_);
}

Variable LoraAdapter::direction_scale(const Variable& changed) {
  StopRecording constant_length;
  const int along = layer_.kind() == Kind::kLinear ? 1 : 0;
  return constant(sqrt(sum(square(changed), {along})).value());
}

Variable LoraAdapter::apply(const Variable& x, const Variable& plain) {
  const Variable dropped = apply_dropout(x, dropout_);
  const Variable low =
      linear(linear(dropped, a_.var()), b_.var(), b_bias_ ? b_bias_->var() : Variable());
  if (!magnitude_) return add(plain, mul(low, scale_));
  Variable length;
  {
    Autocast full(DType::kF32);
    StopRecording stop;
    length = direction_scale(add(constant(layer_.weight().value()), change()));
  }
  const Variable ratio = div(magnitude_->var(), length);
  // Without dropout W·x is what the layer computed, less its bias; with it, W·drop(x) is needed.
  Variable base = plain;
  if (TrainingMode::on() && dropout_ > 0) {
    base = layer_.kind() == Kind::kLinear ? linear(dropped, layer_.weight().var())
                                          : matmul(dropped, layer_.weight().var());
  } else if (layer_.bias()) {
    base = sub(plain, layer_.bias()->var());
  }
  return add(plain, add(mul(add(ratio, -1), base), mul(mul(ratio, low), scale_)));
}

Variable LoraAdapter::apply(const Tensor& ids, const Variable& plain) {
  const Variable rows = embedding(transpose(a_.var(), 0, 1), ids);
  const Variable low = mul(linear(rows, b_.var()), scale_);
  if (!magnitude_) return add(plain, low);
  Variable length;
  {
    Autocast full(DType::kF32);
    StopRecording stop;
    length = direction_scale(add(constant(layer_.weight().value()), change()));
  }
  return mul(div(magnitude_->var(), length), add(plain, low));
}

Variable LoraAdapter::adapted(const Variable& weight) {
  check<UsageError>(
      !TrainingMode::on() || dropout_ == 0,
      "lora: a layer that is used as a matrix, such as the output layer in the loss, can "
      "have no dropout on its adapter; set dropout to 0 or leave the layer out");
  check<UsageError>(!b_bias_, "lora: a layer that is used as a matrix can have no lora_bias");
  const Variable changed = add(weight, change());
  if (!magnitude_) return changed;
  const Variable ratio = div(magnitude_->var(), direction_scale(constant(changed.value())));
  return mul(changed, layer_.kind() == Kind::kLinear ? reshape(ratio, {ratio.dim(0), 1}) : ratio);
}

void LoraAdapter::reset_magnitude() {
  if (!magnitude_) return;
  StopRecording stop;
  copy(direction_scale(add(constant(layer_.weight().value()), change())).value(),
       magnitude_->mutable_value());
}

void LoraAdapter::merge() {
  StopRecording stop;
  Autocast full(DType::kF32);
  Parameter& weight = layer_.weight();
  const DType exact = weight.value().dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const Variable before = constant(weight.value().to(exact));
  const Variable changed = add(before, change());
  Variable after = changed;
  if (magnitude_) {
    const Variable ratio = div(magnitude_->var(), direction_scale(changed));
    after =
        mul(changed, layer_.kind() == Kind::kLinear ? reshape(ratio, {ratio.dim(0), 1}) : ratio);
  }
  weight.set_value(after.value().to(weight.value().dtype()));
  if (b_bias_) {
    Parameter& bias = *layer_.bias();
    bias.set_value(
        add(constant(bias.value()), mul(b_bias_->var(), scale_)).value().to(bias.value().dtype()));
  }
}

AdaptersOff::AdaptersOff(Module& model) : model_(model) {
  model.for_each_module([&](const std::string&, Module& module) {
    auto* layer = dynamic_cast<WeightLayer*>(&module);
    if (!layer || !layer->adapter() || !layer->adapter()->on) return;
    layer->adapter()->on = false;
    off_.push_back(layer->adapter());
  });
  model.for_each_parameter([](const std::string&, Parameter& p) { p.exchange_kept(); });
}

AdaptersOff::~AdaptersOff() {
  for (WeightAdapter* adapter : off_) adapter->on = true;
  model_.for_each_parameter([](const std::string&, Parameter& p) { p.exchange_kept(); });
}

}  // namespace ocellus
