// Multi-head attention with grouped key/value heads, rotary positions and a cache; and the two
// feed-forward blocks.
#pragma once
#include "nn/kv_cache.h"
#include "nn/layers.h"
#include "nn/rope.h"

namespace ocellus {

/// AttentionConfig — sizes, and the local names of the four projections in the checkpoint.
struct AttentionConfig {
  int64_t dim = 0, heads = 0, kv_heads = 0, head_dim = 0;
  bool qkv_bias = false, out_bias = false;
  double deviation = 0.02;
  const char *q = "q_proj", *k = "k_proj", *v = "v_proj", *out = "o_proj";
};

/// Attention — softmax(q·kᵀ/√D)·v·W_o;  x [B, T, dim] → [B, T, dim].  Vaswani et al. 2017,
/// arXiv:1706.03762; grouped heads: Ainslie et al. 2023, arXiv:2305.13245.
class Attention : public Module {
 public:
  explicit Attention(const AttentionConfig& config);
  /// `rope` and `cache` may be null; with a cache the keys and values of x are appended to layer
  /// `layer` first.
  Variable operator()(const Variable& x, const AttentionMask& mask, const RopeTables* rope = nullptr,
                      KvCache* cache = nullptr, int64_t layer = 0);

 private:
  AttentionConfig config_;
  Linear &q_, &k_, &v_, &out_;
};

/// Mlp — fc2(act(fc1(x))).
class Mlp : public Module {
 public:
  Mlp(int64_t dim, int64_t hidden, std::string act, const char* fc1 = "fc1", const char* fc2 = "fc2",
      double deviation = 0.02);
  Variable operator()(const Variable& x) { return fc2_(activation(act_, fc1_(x))); }

 private:
  std::string act_;
  Linear &fc1_, &fc2_;
};

/// GatedMlp — down(act(gate(x)) ⊙ up(x)).  Shazeer 2020, arXiv:2002.05202.
class GatedMlp : public Module {
 public:
  GatedMlp(int64_t dim, int64_t hidden, std::string act, bool bias = false, double deviation = 0.02);
  Variable operator()(const Variable& x);

 private:
  std::string act_;
  Linear &gate_, &up_, &down_;
};

}  // namespace ocellus
