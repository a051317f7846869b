// Multi-head attention with grouped key/value heads, rotary positions and a cache; and the two
// feed-forward blocks.
#pragma once
#include "nn/kv_cache.h"
#include "nn/layers.h"
#include "nn/rope.h"

namespace ocellus {

/// Where queries, keys and values come from: three projections, or one whose output holds q, k and
/// v one after the other (GPT-2, MPT), or for each head its q, k and v (GPT-NeoX).
enum class FusedQkv : uint8_t { kNone, kConcatenated, kPerHead };

/// AttentionConfig — sizes, and the local names of the projections in the checkpoint; a fused one
/// goes by `q`.
struct AttentionConfig {
  int64_t dim = 0, heads = 0, kv_heads = 0, head_dim = 0;
  bool qkv_bias = false, out_bias = false;
  double deviation = 0.02;
  const char *q = "q_proj", *k = "k_proj", *v = "v_proj", *out = "o_proj";
  FusedQkv fused = FusedQkv::kNone;
  bool transposed = false;  // weights [in, out]
  double scale = 0;         // of the scores; 0 stands for 1/√head_dim
  bool qk_norm = false;  // a norm over each head of q ("q_norm") and of k ("k_norm"), before rope
  NormKind norm = NormKind::kRms;
  double eps = 1e-6;
};

/// Attention — softmax(q·kᵀ/√D)·v·W_o;  x [B, T, dim] → [B, T, dim].  Vaswani et al. 2017,
/// arXiv:1706.03762; grouped heads: Ainslie et al. 2023, arXiv:2305.13245.
class Attention : public Module {
 public:
  explicit Attention(const AttentionConfig& config);
  /// `rope` and `cache` may be null; rope turns the first of each head's elements, as many as its
  /// tables have. With a cache the keys and values of x are appended to layer `layer` first.
  Variable operator()(const Variable& x, const AttentionMask& mask,
                      const RopeTables* rope = nullptr, KvCache* cache = nullptr,
                      int64_t layer = 0);
  /// Keys and values from `context` [B, S, dim] instead of x. With a cache they are computed once,
  /// for the first call of that layer.
  Variable cross(const Variable& x, const Variable& context, const AttentionMask& mask,
                 KvCache* cache = nullptr, int64_t layer = 0);

 private:
  struct Heads {
    Variable q, k, v;  // [B, T, heads, D]
  };
  Heads project(const Variable& x);
  Variable split_heads(const Variable& x, int64_t heads) const;
  Variable attend(const Variable& q, const Variable& k, const Variable& v,
                  const AttentionMask& mask);

  AttentionConfig config_;
  Linear* q_;
  Linear *k_ = nullptr, *v_ = nullptr;
  Linear& out_;
  Norm *q_norm_ = nullptr, *k_norm_ = nullptr;
};

/// MlpConfig — sizes, activation, and the local names of the projections.
struct MlpConfig {
  int64_t dim = 0, hidden = 0;
  std::string act = "gelu";
  bool bias = true, transposed = false;
  double deviation = 0.02;
  const char *gate = "gate_proj", *up = "fc1", *down = "fc2";
};

/// Mlp — down(act(up(x))).
class Mlp : public Module {
 public:
  explicit Mlp(const MlpConfig& config);
  Mlp(int64_t dim, int64_t hidden, std::string act, const char* fc1 = "fc1",
      const char* fc2 = "fc2", double deviation = 0.02)
      : Mlp({.dim = dim,
             .hidden = hidden,
             .act = std::move(act),
             .deviation = deviation,
             .up = fc1,
             .down = fc2}) {}
  Variable operator()(const Variable& x) { return down_(activation(act_, up_(x))); }

 private:
  std::string act_;
  Linear &up_, &down_;
};

/// GatedMlp — down(act(gate(x)) ⊙ up(x)).  Shazeer 2020, arXiv:2002.05202.
class GatedMlp : public Module {
 public:
  explicit GatedMlp(const MlpConfig& config);
  GatedMlp(int64_t dim, int64_t hidden, std::string act, bool bias = false, double deviation = 0.02)
      : GatedMlp({.dim = dim,
                  .hidden = hidden,
                  .act = std::move(act),
                  .bias = bias,
                  .deviation = deviation,
                  .up = "up_proj",
                  .down = "down_proj"}) {}
  Variable operator()(const Variable& x);

 private:
  std::string act_;
  Linear &gate_, &up_, &down_;
};

}  // namespace ocellus
