// The small layers. Each is a thin module around one op of autograd/ops.h.
#pragma once
#include "autograd/ops.h"
#include "nn/module.h"

namespace ocellus {

/// WeightAdapter — a trained change of a WeightLayer's weight, with parameters of its own
/// (nn/lora.h).
class WeightAdapter : public Module {
 public:
  /// The layer's output with the change; `plain` is its output without.
  virtual Variable apply(const Variable& x, const Variable& plain) = 0;
  virtual Variable apply(const Tensor& ids, const Variable& plain) = 0;
  /// The weight with the change.
  virtual Variable adapted(const Variable& weight) = 0;
  bool on = true;  // off: the layer computes as if it had no adapter
};

/// WeightLayer — a layer around one matrix, which can carry an adapter.
class WeightLayer : public Module {
 public:
  enum class Kind : uint8_t { kLinear, kTransposed, kEmbedding };
  WeightLayer(Kind kind, const Shape& weight, int64_t bias, double deviation);

  Kind kind() const { return kind_; }
  Parameter& weight() { return weight_; }
  Parameter* bias() { return bias_; }
  /// The weight as ops see it that take it whole, such as a loss over the vocabulary: with the
  /// adapter's change. UsageError for an adapter with dropout while training.
  Variable adapted_weight();
  WeightAdapter* adapter() const { return adapter_; }
  /// Replaces the adapter; nullptr takes it away.
  void set_adapter(std::unique_ptr<WeightAdapter> adapter);

 protected:
  Variable bias_var() { return bias_ ? bias_->var() : Variable(); }
  template <class Input>
  Variable adapt(const Input& x, const Variable& plain) {
    return adapter_ && adapter_->on ? adapter_->apply(x, plain) : plain;
  }

 private:
  Kind kind_;
  Parameter& weight_;
  Parameter* bias_;
  WeightAdapter* adapter_ = nullptr;
};

/// Linear — y = x·Wᵀ + bias;  weight [out, in], or [in, out] if `transposed` (GPT-2's Conv1D),
/// bias [out]. Starts normal with deviation `deviation`.
class Linear : public WeightLayer {
 public:
  Linear(int64_t in, int64_t out, bool bias, double deviation = 0.02, bool transposed = false)
      : WeightLayer(transposed ? Kind::kTransposed : Kind::kLinear,
                    transposed ? Shape{in, out} : Shape{out, in}, bias ? out : 0, deviation) {}
  Variable operator()(const Variable& x) {
    const Variable w = weight().var();
    return adapt(x, linear(x, transposed() ? transpose(w, 0, 1) : w, bias_var()));
  }
  bool transposed() const { return kind() == Kind::kTransposed; }
};

/// Embedding — rows of weight [count, dim].
class Embedding : public WeightLayer {
 public:
  Embedding(int64_t count, int64_t dim, double deviation = 0.02)
      : WeightLayer(Kind::kEmbedding, {count, dim}, 0, deviation) {}
  Variable operator()(const Tensor& ids) { return adapt(ids, embedding(weight().var(), ids)); }
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

/// What a Norm computes: rms_norm, rms_norm with weight 1 + w (Gemma), layer_norm with or without
/// bias.
enum class NormKind : uint8_t { kRms, kRmsPlusOne, kLayer, kLayerNoBias };

/// Norm — the row norm of a family of models, chosen by its kind.
class Norm : public Module {
 public:
  Norm(NormKind kind, int64_t dim, double eps);
  Variable operator()(const Variable& x);

 private:
  NormKind kind_;
  Parameter& weight_;
  Parameter* bias_;
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

/// apply_drop_path — in training mode, leaves a residual branch out of whole samples: x [B, …]
/// times 0 with probability p, else 1/(1-p), one draw a sample. Huang et al. 2016,
/// arXiv:1603.09382.
Variable apply_drop_path(const Variable& branch, double p);

/// activation("gelu_pytorch_tanh", x) — by the names of Hugging Face configs: gelu, gelu_new,
/// gelu_pytorch_tanh, quick_gelu, silu, swish, relu, tanh. Throws FormatError for others.
Variable activation(const std::string& name, const Variable& x);

}  // namespace ocellus
