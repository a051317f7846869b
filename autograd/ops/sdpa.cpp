#include "engine/kernels/sdpa.h"

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

// The definition: scores of all pairs, the mask as a table of 0 and -inf, softmax, weighted sum.
Variable plain_sdpa(const Variable& q, const Variable& k, const Variable& v, const AttentionMask& mask,
                    double scale) {
  const int64_t batch = q.dim(0), tq = q.dim(1), heads = q.dim(2), d = q.dim(3), tk = k.dim(1), kv = k.dim(2);
  const int64_t group = heads / kv, shift = tk - tq;
  auto grouped = [&](const Variable& x) {  // [B, Tk, K, D] → [B, H, Tk, D]
    const Variable wide = expand(reshape(permute(x, {0, 2, 1, 3}), {batch, kv, 1, tk, d}), {batch, kv, group, tk, d});
    return reshape(wide, {batch, heads, tk, d});
  };
  Variable scores = mul(matmul(permute(q, {0, 2, 1, 3}), grouped(k), false, true), scale);
  if (mask.bias.defined()) scores = add(scores, mask.bias);
  std::vector<double> table(static_cast<size_t>(batch * heads * tq * tk), 0), seen(static_cast<size_t>(batch * tq), 0);
  const auto qs = mask.q_segment.defined() ? mask.q_segment.to_vector<int64_t>() : std::vector<int64_t>();
  const auto ks = mask.k_segment.defined() ? mask.k_segment.to_vector<int64_t>() : std::vector<int64_t>();
  const auto slopes = mask.slopes.defined() ? mask.slopes.to_vector<double>() : std::vector<double>();
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < tq; ++i)
        for (int64_t j = 0; j < tk; ++j) {
          bool visible = j < mask.prefix || ((!mask.causal || j <= i + shift) &&
                                             (mask.window <= 0 || j > i + shift - mask.window));
          if (!qs.empty())
            visible = visible && qs[b * tq + i] >= 0 && qs[b * tq + i] == ks[b * tk + j];
          double& entry = table[static_cast<size_t>(((b * heads + h) * tq + i) * tk + j)];
          entry = visible ? (slopes.empty() ? 0 : slopes[h] * static_cast<double>(j - i - shift)) : -1e30;
          if (visible) seen[static_cast<size_t>(b * tq + i)] = 1;
        }
  scores = add(scores, constant(Tensor::from(table, {batch, heads, tq, tk}).to(q.dtype())));
  const Variable out = permute(matmul(softmax(scores), grouped(v)), {0, 2, 1, 3});
  return mul(out, constant(Tensor::from(seen, {batch, tq, 1, 1}).to(q.dtype())));  // rows that see nothing
}

struct SampleShape {
  int64_t batch, tq, tk, heads, kv, dim;
};

Sample sample(Rng& r, const SampleShape& s, AttentionMask mask, double scale = 0, Shape bias = {}) {
  Sample out;
  out.inputs = {r.normal({s.batch, s.tq, s.heads, s.dim}), r.normal({s.batch, s.tk, s.kv, s.dim}),
                r.normal({s.batch, s.tk, s.kv, s.dim})};
  const bool with_bias = bias.rank() > 0;
  if (with_bias) out.inputs.push_back(r.normal(bias));
  auto masked = [mask, with_bias](const Variables& in) {
    AttentionMask m = mask;
    if (with_bias) m.bias = in[3];
    return m;
  };
  const double plain_scale = scale > 0 ? scale : 1 / std::sqrt(static_cast<double>(s.dim));
  out.run = [=](const Variables& in) { return Variables{sdpa(in[0], in[1], in[2], masked(in), scale)}; };
  out.reference = [=](const Variables& in) {
    return Variables{plain_sdpa(in[0], in[1], in[2], masked(in), plain_scale)};
  };
  return out;
}

AttentionMask causal() {
  AttentionMask m;
  m.causal = true;
  return m;
}
AttentionMask segments(std::vector<int32_t> q, std::vector<int32_t> k, int64_t batch, bool is_causal) {
  AttentionMask m;
  m.causal = is_causal;
  const auto nq = static_cast<int64_t>(q.size()), nk = static_cast<int64_t>(k.size());
  m.q_segment = Tensor::from(q, {batch, nq / batch});
  m.k_segment = Tensor::from(k, {batch, nk / batch});
  return m;
}

}  // namespace

static const OpDef kSdpa{
    .name = "sdpa",
    .inputs = {{"q"}, {"k"}, {"v"}, {"bias"}},
    .precision = Precision::kLow,
    .samples = {
        {"all keys", [](Rng& r) { return sample(r, {2, 3, 4, 2, 2, 4}, {}); }},
        {"odd causal, grouped heads, more keys", [](Rng& r) { return sample(r, {1, 3, 7, 4, 2, 5}, causal()); }},
        {"odd prefix and window",
         [](Rng& r) {
           AttentionMask m = causal();
           m.prefix = 2;
           m.window = 3;
           return sample(r, {1, 9, 9, 2, 1, 6}, m, 0.7);
         }},
        {"packed segments",
         [](Rng& r) { return sample(r, {1, 6, 6, 2, 2, 4}, segments({0, 0, 1, 1, 1, 2}, {0, 0, 1, 1, 1, 2}, 1, true)); }},
        {"odd padding with an empty row",
         [](Rng& r) {
           return sample(r, {2, 3, 3, 2, 1, 3}, segments({0, 0, -1, 0, 0, 0}, {0, 0, -1, -1, 0, 0}, 2, true));
         }},
        {"bias for a batch", [](Rng& r) { return sample(r, {2, 3, 5, 2, 2, 4}, {}, 0, {1, 2, 3, 5}); }},
        {"odd bias of every head, slopes",
         [](Rng& r) {
           AttentionMask m = causal();
           m.slopes = Tensor::from(std::vector<double>{0.5, 0.25, 0.125}, {3});
           return sample(r, {2, 5, 5, 3, 3, 4}, m, 0, {2, 3, 5, 5});
         }},
        {"large causal", [](Rng& r) { return sample(r, {2, 70, 90, 2, 1, 16}, causal()); }}}};

/// sdpa — y = softmax(scale·q·kᵀ + bias)·v per head, by tiles with the softmax online; scores never exist as a
/// whole.   Vaswani et al. 2017, arXiv:1706.03762; Dao et al. 2022, arXiv:2205.14135.
/// q [B, Tq, H, D], k and v [B, Tk, K, D] with H a multiple of K → [B, Tq, H, D]; mask as AttentionMask says.
/// Saves q, k, v, bias, y and one f32 per row (log Σ e^score).
Variable sdpa(const Variable& q_in, const Variable& k_in, const Variable& v_in, const AttentionMask& mask,
              double scale) {
  auto [q, k, v, bias] = autocast(kSdpa, q_in, k_in, v_in, mask.bias);
  check<ShapeError>(q.rank() == 4 && q.dim(3) > 0, "sdpa: q must be [B, Tq, H, D], got {}", q.value().describe());
  check<ShapeError>(k.rank() == 4 && k.dim(0) == q.dim(0) && k.dim(3) == q.dim(3) && k.dim(2) > 0 &&
                        q.dim(2) % k.dim(2) == 0,
                    "sdpa: k must be [{}, Tk, K, {}] with K dividing {} heads, got {}; q is {}", q.dim(0), q.dim(3),
                    q.dim(2), to_string(k.shape()), q.value().describe());
  check<ShapeError>(v.shape() == k.shape(), "sdpa: v must be {} as k, got {}", to_string(k.shape()),
                    to_string(v.shape()));
  check<ShapeError>(mask.q_segment.defined() == mask.k_segment.defined(),
                    "sdpa: q_segment and k_segment must be given together");
  if (mask.q_segment.defined()) {
    check<ShapeError>(mask.q_segment.shape() == Shape({q.dim(0), q.dim(1)}), "sdpa: q_segment must be [{}, {}], got {}",
                      q.dim(0), q.dim(1), to_string(mask.q_segment.shape()));
    check<ShapeError>(mask.k_segment.shape() == Shape({k.dim(0), k.dim(1)}), "sdpa: k_segment must be [{}, {}], got {}",
                      k.dim(0), k.dim(1), to_string(mask.k_segment.shape()));
  }
  const Shape scores{q.dim(0), q.dim(2), q.dim(1), k.dim(1)};
  check<ShapeError>(!bias.defined() || broadcast_shapes("sdpa", bias.shape(), scores) == scores,
                    "sdpa: bias must broadcast to {}, got {}", to_string(scores), to_string(bias.shape()));
  check<ShapeError>(!mask.slopes.defined() || mask.slopes.shape() == Shape{q.dim(2)},
                    "sdpa: slopes must be [{}], got {}", q.dim(2), to_string(mask.slopes.shape()));
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(q.dim(3)));
  const SdpaMask kernel_mask{mask.causal,    mask.prefix,  mask.window, mask.q_segment,
                             mask.k_segment, bias.value(), mask.slopes};
  const SdpaOut out = sdpa_forward(q.value(), k.value(), v.value(), kernel_mask, scale);
  SdpaMask without_bias = kernel_mask;
  without_bias.bias = Tensor();
  return record(kSdpa, {q, k, v, bias}, out.out,
                [sq = save(q), sk = save(k), sv = save(v), sb = save(bias), so = save(out.out),
                 sl = save(out.log_sum), without_bias, scale](const Tensor& dy, Needs needs) {
                  SdpaSaved saved{sq(), sk(), sv(), so(), sl(), without_bias, scale};
                  saved.mask.bias = sb();
                  return sdpa_backward(saved, dy, {needs[0], needs[1], needs[2], needs[3]});
                });
}

}  // namespace ocellus
