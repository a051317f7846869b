#include "nn/layers.h"

#include <cmath>

#include "engine/kernels/dropout.h"

namespace ocellus {

WeightLayer::WeightLayer(Kind kind, const Shape& weight, int64_t bias, double deviation)
    : kind_(kind),
      weight_(parameter_("weight", weight, Init::normal(deviation))),
      bias_(bias ? &parameter_("bias", {bias}, Init::zeros()) : nullptr) {}

Variable WeightLayer::adapted_weight() {
  return adapter_ && adapter_->on ? adapter_->adapted(weight_.var()) : weight_.var();
}

void WeightLayer::set_adapter(std::unique_ptr<WeightAdapter> adapter) {
  if (adapter_) drop_(*adapter_);
  adapter_ = adapter.get();
  if (adapter) adopt_("", std::move(adapter));
}

LayerNorm::LayerNorm(int64_t dim, double eps)
    : weight_(parameter_("weight", {dim}, Init::ones())),
      bias_(parameter_("bias", {dim}, Init::zeros())),
      eps_(static_cast<float>(eps)) {}

RmsNorm::RmsNorm(int64_t dim, double eps)
    : weight_(parameter_("weight", {dim}, Init::ones())), eps_(static_cast<float>(eps)) {}

Norm::Norm(NormKind kind, int64_t dim, double eps)
    : kind_(kind),
      weight_(parameter_("weight", {dim},
                         kind == NormKind::kRmsPlusOne ? Init::zeros() : Init::ones())),
      bias_(kind == NormKind::kLayer ? &parameter_("bias", {dim}, Init::zeros()) : nullptr),
      eps_(static_cast<float>(eps)) {}

Variable Norm::operator()(const Variable& x) {
  if (kind_ == NormKind::kRms) return rms_norm(x, weight_.var(), eps_);
  if (kind_ == NormKind::kRmsPlusOne) return rms_norm(x, add(weight_.var(), 1.0), eps_);
  return layer_norm(x, weight_.var(), bias_ ? bias_->var() : Variable(), eps_);
}

PatchEmbed::PatchEmbed(int64_t channels, int64_t dim, int64_t patch, bool bias)
    : weight_(parameter_("weight", {dim, channels, patch, patch},
                         Init::normal(1.0 / std::sqrt(double(channels * patch * patch))))),
      bias_(bias ? &parameter_("bias", {dim}, Init::zeros()) : nullptr) {}

Variable apply_dropout(const Variable& x, double p) {
  if (!TrainingMode::on() || p <= 0) return x;
  return dropout(x, static_cast<float>(p), default_generator().next());
}

Variable apply_drop_path(const Variable& branch, double p) {
  if (!TrainingMode::on() || p <= 0) return branch;
  const RngKey key = default_generator().next();
  Shape shape;
  for (int i = 0; i < branch.rank(); ++i) shape.push_back(i == 0 ? branch.dim(0) : 1);
  std::vector<double> factor;
  for (int64_t b = 0; b < branch.dim(0); ++b)
    factor.push_back(key.word(static_cast<uint64_t>(b)) >= dropout_threshold(p) ? 1 / (1 - p) : 0);
  return mul(branch,
             constant(Tensor::from(factor, shape).to(branch.dtype()).to(branch.value().device())));
}

Variable activation(const std::string& name, const Variable& x) {
  if (name == "gelu") return gelu(x);
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return gelu_tanh(x);
  if (name == "quick_gelu") return quick_gelu(x);
  if (name == "silu" || name == "swish") return silu(x);
  if (name == "relu") return relu(x);
  if (name == "tanh") return tanh(x);
  fail<FormatError>(
      "activation: \"{}\" is not one of gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, "
      "swish, "
      "relu, tanh",
      name);
}

}  // namespace ocellus
