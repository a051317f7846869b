// The small layers. Each is a thin module around one op of autograd/ops.h.
#pragma once
#include "autograd/ops.h"
#include "nn/module.h"

namespace ocellus {

/// Linear — y = x·Wᵀ + bias;  weight [out, in], bias [out]. Starts normal with deviation `deviation`.
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, bool bias, double deviation = 0.02);
  Variable operator()(const Variable& x) { return linear(x, weight_.var(), bias_ ? bias_->var() : Variable()); }
  Parameter& weight() { return weight_; }

 private:
  Parameter& weight_;
  Parameter* bias_;
};

/// Embedding — rows of weight [count, dim].
class Embedding : public Module {
 public:
  Embedding(int64_t count, int64_t dim, double deviation = 0.02);
  Variable operator()(const Tensor& ids) { return embedding(weight_.var(), ids); }
  Parameter& weight() { return weight_; }

 private:
  Parameter& weight_;
};

class LayerNorm : public Module {
 public:
  LayerNorm(int64_t dim, double eps);
  Variable operator()(const Variable& x) { return layer_norm(x, weight_.var(), bias_.var(), eps_); }

 private:
  Parameter &weight_, &bias_;
  float eps_;
};

class RmsNorm : public Module {
 public:
  RmsNorm(int64_t dim, double eps);
  Variable operator()(const Variable& x) { return rms_norm(x, weight_.var(), eps_); }

 private:
  Parameter& weight_;
  float eps_;
};

/// PatchEmbed — pixels [B, 3, H, W] → [B, patches, dim];  weight [dim, 3, P, P] as a convolution's.
class PatchEmbed : public Module {
 public:
  PatchEmbed(int64_t channels, int64_t dim, int64_t patch, bool bias = true);
  Variable operator()(const Variable& pixels) {
    return patch_embed(pixels, weight_.var(), bias_ ? bias_->var() : Variable());
  }

 private:
  Parameter& weight_;
  Parameter* bias_;
};

/// Dropout in training mode, keyed by the thread's generator; the identity otherwise.
Variable apply_dropout(const Variable& x, double p);

/// activation("gelu_pytorch_tanh", x) — by the names of Hugging Face configs: gelu, gelu_new,
/// gelu_pytorch_tanh, quick_gelu, silu, swish, relu, tanh. Throws FormatError for others.
Variable activation(const std::string& name, const Variable& x);

}  // namespace ocellus
