#include "nn/attention.h"

namespace ocellus {
namespace {

// Rotary positions on as many elements of each head as the tables have; the others stay.
Variable rotate(const Variable& x, const RopeTables& tables) {
  const int64_t turned = 2 * tables.cos.dim(2), dim = x.dim(3);
  if (turned == dim) return rope(x, tables.cos, tables.sin);
  return concat({rope(slice(x, 3, 0, turned), tables.cos, tables.sin), slice(x, 3, turned, dim)},
                3);
}

}  // namespace

Attention::Attention(const AttentionConfig& c)
    : config_(c),
      q_(&child_<Linear>(c.q, c.dim,
                         (c.heads + (c.fused == FusedQkv::kNone ? 0 : 2 * c.kv_heads)) * c.head_dim,
                         c.qkv_bias, c.deviation, c.transposed)),
      k_(c.fused == FusedQkv::kNone ? &child_<Linear>(c.k, c.dim, c.kv_heads * c.head_dim,
                                                      c.qkv_bias, c.deviation, c.transposed)
                                    : nullptr),
      v_(c.fused == FusedQkv::kNone ? &child_<Linear>(c.v, c.dim, c.kv_heads * c.head_dim,
                                                      c.qkv_bias, c.deviation, c.transposed)
                                    : nullptr),
      out_(child_<Linear>(c.out, c.heads * c.head_dim, c.dim, c.out_bias, c.deviation,
                          c.transposed)) {
  check<FormatError>(c.heads > 0 && c.kv_heads > 0 && c.heads % c.kv_heads == 0,
                     "attention: num_attention_heads ({}) must be a multiple of "
                     "num_key_value_heads ({})",
                     c.heads, c.kv_heads);
  check<FormatError>(c.fused != FusedQkv::kPerHead || c.heads == c.kv_heads,
                     "attention: {} heads cannot share {} key/value heads in one fused projection",
                     c.heads, c.kv_heads);
  if (!c.qk_norm) return;
  q_norm_ = &child_<Norm>("q_norm", c.norm, c.head_dim, c.eps);
  k_norm_ = &child_<Norm>("k_norm", c.norm, c.head_dim, c.eps);
}

Variable Attention::split_heads(const Variable& x, int64_t heads) const {
  return reshape(x, {x.dim(0), x.dim(1), heads, config_.head_dim});
}

Attention::Heads Attention::project(const Variable& x) {
  const int64_t h = config_.heads, kv = config_.kv_heads, d = config_.head_dim;
  Heads y;
  if (config_.fused == FusedQkv::kNone) {
    y = {split_heads((*q_)(x), h), split_heads((*k_)(x), kv), split_heads((*v_)(x), kv)};
  } else if (config_.fused == FusedQkv::kConcatenated) {
    const Variables parts = split(split_heads((*q_)(x), h + 2 * kv), {h, kv, kv}, 2);
    y = {parts[0], parts[1], parts[2]};
  } else {
    const Variable all = reshape((*q_)(x), {x.dim(0), x.dim(1), h, 3 * d});
    const Variables parts = split(all, {d, d, d}, 3);
    y = {parts[0], parts[1], parts[2]};
  }
  if (q_norm_) {
    y.q = (*q_norm_)(y.q);
    y.k = (*k_norm_)(y.k);
  }
  return y;
}

Variable Attention::attend(const Variable& q, const Variable& k, const Variable& v,
                           const AttentionMask& mask) {
  AttentionMask seen = mask;
  // A sliding cache holds the last keys only.
  if (const int64_t held = k.dim(1); mask.k_segment.defined() && mask.k_segment.dim(1) > held)
    seen.k_segment = mask.k_segment.sliced(1, mask.k_segment.dim(1) - held, mask.k_segment.dim(1));
  return out_(reshape(sdpa(q, k, v, seen, config_.scale),
                      {q.dim(0), q.dim(1), config_.heads * config_.head_dim}));
}

Variable Attention::operator()(const Variable& x, const AttentionMask& mask,
                               const RopeTables* tables, KvCache* cache, int64_t layer) {
  auto [q, k, v] = project(x);
  if (tables) {
    q = rotate(q, *tables);
    k = rotate(k, *tables);
  }
  if (!cache) return attend(q, k, v, mask);
  const auto past = cache->append(layer, k.value(), v.value());
  return attend(q, constant(past.keys), constant(past.values), mask);
}

Variable Attention::cross(const Variable& x, const Variable& context, const AttentionMask& mask,
                          KvCache* cache, int64_t layer) {
  check<UsageError>(config_.fused == FusedQkv::kNone,
                    "attention: a fused projection has no keys of another sequence");
  const Variable q = split_heads((*q_)(x), config_.heads);
  if (cache && cache->length(layer) > 0)
    return attend(q, constant(cache->keys(layer)), constant(cache->values(layer)), mask);
  const Variable k = split_heads((*k_)(context), config_.kv_heads);
  const Variable v = split_heads((*v_)(context), config_.kv_heads);
  if (cache) cache->append(layer, k.value(), v.value());
  return attend(q, k, v, mask);
}

Mlp::Mlp(const MlpConfig& c)
    : act_(c.act),
      up_(child_<Linear>(c.up, c.dim, c.hidden, c.bias, c.deviation, c.transposed)),
      down_(child_<Linear>(c.down, c.hidden, c.dim, c.bias, c.deviation, c.transposed)) {}

GatedMlp::GatedMlp(const MlpConfig& c)
    : act_(c.act),
      gate_(child_<Linear>(c.gate, c.dim, c.hidden, c.bias, c.deviation)),
      up_(child_<Linear>(c.up, c.dim, c.hidden, c.bias, c.deviation)),
      down_(child_<Linear>(c.down, c.hidden, c.dim, c.bias, c.deviation)) {}

Variable GatedMlp::operator()(const Variable& x) {
  const Variable gate = gate_(x), up = up_(x);
  return down_(act_ == "silu" ? swiglu(gate, up) : mul(activation(act_, gate), up));
}

}  // namespace ocellus
