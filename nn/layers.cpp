#include "nn/layers.h"

#include <cmath>

namespace ocellus {

Linear::Linear(int64_t in, int64_t out, bool bias, double deviation)
    : weight_(parameter_("weight", {out, in}, Init::normal(deviation))),
      bias_(bias ? &parameter_("bias", {out}, Init::zeros()) : nullptr) {}

Embedding::Embedding(int64_t count, int64_t dim, double deviation)
    : weight_(parameter_("weight", {count, dim}, Init::normal(deviation))) {}

LayerNorm::LayerNorm(int64_t dim, double eps)
    : weight_(parameter_("weight", {dim}, Init::ones())),
      bias_(parameter_("bias", {dim}, Init::zeros())),
      eps_(static_cast<float>(eps)) {}

RmsNorm::RmsNorm(int64_t dim, double eps)
    : weight_(parameter_("weight", {dim}, Init::ones())), eps_(static_cast<float>(eps)) {}

PatchEmbed::PatchEmbed(int64_t channels, int64_t dim, int64_t patch, bool bias)
    : weight_(parameter_("weight", {dim, channels, patch, patch},
                         Init::normal(1.0 / std::sqrt(double(channels * patch * patch))))),
      bias_(bias ? &parameter_("bias", {dim}, Init::zeros()) : nullptr) {}

Variable apply_dropout(const Variable& x, double p) {
  if (!TrainingMode::on() || p <= 0) return x;
  return dropout(x, static_cast<float>(p), default_generator().next());
}

Variable activation(const std::string& name, const Variable& x) {
  if (name == "gelu") return gelu(x);
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return gelu_tanh(x);
  if (name == "quick_gelu") return quick_gelu(x);
  if (name == "silu" || name == "swish") return silu(x);
  if (name == "relu") return relu(x);
  if (name == "tanh") return tanh(x);
  fail<FormatError>(
      "activation: \"{}\" is not one of gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, swish, "
      "relu, tanh",
      name);
}

}  // namespace ocellus
