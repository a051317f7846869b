#include "nn/attention.h"

namespace ocellus {

Attention::Attention(const AttentionConfig& c)
    : config_(c),
      q_(child_<Linear>(c.q, c.dim, c.heads * c.head_dim, c.qkv_bias, c.deviation)),
      k_(child_<Linear>(c.k, c.dim, c.kv_heads * c.head_dim, c.qkv_bias, c.deviation)),
      v_(child_<Linear>(c.v, c.dim, c.kv_heads * c.head_dim, c.qkv_bias, c.deviation)),
      out_(child_<Linear>(c.out, c.heads * c.head_dim, c.dim, c.out_bias, c.deviation)) {
  check<FormatError>(c.heads > 0 && c.kv_heads > 0 && c.heads % c.kv_heads == 0,
                     "attention: num_attention_heads ({}) must be a multiple of "
                     "num_key_value_heads ({})",
                     c.heads, c.kv_heads);
}

Variable Attention::operator()(const Variable& x, const AttentionMask& mask, const RopeTables* tables,
                               KvCache* cache, int64_t layer) {
  const int64_t batch = x.dim(0), tokens = x.dim(1);
  auto heads = [&](const Variable& y, int64_t count) {
    return reshape(y, {batch, tokens, count, config_.head_dim});
  };
  Variable q = heads(q_(x), config_.heads);
  Variable k = heads(k_(x), config_.kv_heads);
  Variable v = heads(v_(x), config_.kv_heads);
  if (tables) {
    q = rope(q, tables->cos, tables->sin);
    k = rope(k, tables->cos, tables->sin);
  }
  if (cache) {
    cache->append(layer, k.value(), v.value());
    k = constant(cache->keys(layer));
    v = constant(cache->values(layer));
  }
  return out_(reshape(sdpa(q, k, v, mask), {batch, tokens, config_.heads * config_.head_dim}));
}

Mlp::Mlp(int64_t dim, int64_t hidden, std::string act, const char* fc1, const char* fc2,
         double deviation)
    : act_(std::move(act)),
      fc1_(child_<Linear>(fc1, dim, hidden, true, deviation)),
      fc2_(child_<Linear>(fc2, hidden, dim, true, deviation)) {}

GatedMlp::GatedMlp(int64_t dim, int64_t hidden, std::string act, bool bias, double deviation)
    : act_(std::move(act)),
      gate_(child_<Linear>("gate_proj", dim, hidden, bias, deviation)),
      up_(child_<Linear>("up_proj", dim, hidden, bias, deviation)),
      down_(child_<Linear>("down_proj", hidden, dim, bias, deviation)) {}

Variable GatedMlp::operator()(const Variable& x) {
  const Variable gate = gate_(x), up = up_(x);
  return down_(act_ == "silu" ? swiglu(gate, up) : mul(activation(act_, gate), up));
}

}  // namespace ocellus
