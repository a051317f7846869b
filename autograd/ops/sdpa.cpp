#include "engine/kernels/sdpa.h"

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

// The definition: scores of all pairs, the mask as a table of 0 and -inf, softmax, weighted sum.
Variable plain_sdpa(const Variable& q, const Variable& k, const Variable& v,
                    const AttentionMask& mask, double scale) {
  const int64_t batch = q.dim(0), tq = q.dim(1), heads = q.dim(2), d = q.dim(3), tk = k.dim(1),
                kv = k.dim(2);
  const int64_t group = heads / kv, shift = tk - tq;
  auto grouped = [&](const Variable& x) {  // [B, Tk, K, D] → [B, H, Tk, D]
    const Variable wide =
        expand(reshape(permute(x, {0, 2, 1, 3}), {batch, kv, 1, tk, d}), {batch, kv, group, tk, d});
    return reshape(wide, {batch, heads, tk, d});
  };
  Variable scores = mul(matmul(permute(q, {0, 2, 1, 3}), grouped(k), false, true), scale);
  if (mask.softcap > 0) scores = mul(tanh(mul(scores, 1 / mask.softcap)), mask.softcap);
  if (mask.bias.defined()) scores = add(scores, mask.bias);
  std::vector<double> table(static_cast<size_t>(batch * heads * tq * tk), 0);
  std::vector<double> seen(static_cast<size_t>(batch * tq), 0);  // rows that see nothing give 0
  const auto list = [](const Tensor& x) {
    return x.defined() ? x.to_vector<double>() : std::vector<double>();
  };
  const auto qs = list(mask.q_segment), ks = list(mask.k_segment), slopes = list(mask.slopes);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < tq; ++i)
        for (int64_t j = 0; j < tk; ++j) {
          bool visible = j < mask.prefix || ((!mask.causal || j <= i + shift) &&
                                             (mask.window <= 0 || j > i + shift - mask.window));
          if (!qs.empty())
            visible = visible && qs[b * tq + i] >= 0 && qs[b * tq + i] == ks[b * tk + j];
          double& entry = table[static_cast<size_t>(((b * heads + h) * tq + i) * tk + j)];
          entry = visible ? (slopes.empty() ? 0 : slopes[h] * static_cast<double>(j - i - shift))
                          : -1e30;
          if (visible) seen[static_cast<size_t>(b * tq + i)] = 1;
        }
  scores = add(scores, constant(Tensor::from(table, {batch, heads, tq, tk}).to(q.dtype())));
  const Variable out = permute(matmul(softmax(scores), grouped(v)), {0, 2, 1, 3});
  return mul(out, constant(Tensor::from(seen, {batch, tq, 1, 1}).to(q.dtype())));
}

struct SampleShape {
  int64_t batch, tq, tk, heads, kv, dim;
};

struct SampleMask {  // what AttentionMask is made of; the tensors become inputs of the sample
  bool causal = false;
  int64_t prefix = 0, window = 0;
  Shape bias = {};
  std::vector<int32_t> q_segment = {}, k_segment = {};
  std::vector<double> slopes = {};
  double softcap = 0;
};

Sample attention_sample(Rng& r, const SampleShape& s, const SampleMask& with, double scale = 0) {
  const auto segments = [&](const std::vector<int32_t>& ids, int64_t tokens) {
    return ids.empty() ? Tensor() : Tensor::from(ids, {s.batch, tokens});
  };
  Sample out;
  out.inputs = {r.normal({s.batch, s.tq, s.heads, s.dim}),
                r.normal({s.batch, s.tk, s.kv, s.dim}),
                r.normal({s.batch, s.tk, s.kv, s.dim}),
                with.bias.rank() > 0 ? r.normal(with.bias) : Tensor(),
                segments(with.q_segment, s.tq),
                segments(with.k_segment, s.tk),
                with.slopes.empty() ? Tensor() : Tensor::from(with.slopes, {s.heads})};
  auto mask = [causal = with.causal, prefix = with.prefix, window = with.window,
               softcap = with.softcap](const Variables& in) {
    AttentionMask m;
    m.causal = causal;
    m.prefix = prefix;
    m.window = window;
    m.softcap = softcap;
    m.bias = in[3];
    m.q_segment = in[4].value();
    m.k_segment = in[5].value();
    m.slopes = in[6].value();
    return m;
  };
  const double plain_scale = scale > 0 ? scale : 1 / std::sqrt(static_cast<double>(s.dim));
  out.run = [=](const Variables& in) {
    return Variables{sdpa(in[0], in[1], in[2], mask(in), scale)};
  };
  out.reference = [=](const Variables& in) {
    return Variables{plain_sdpa(in[0], in[1], in[2], mask(in), plain_scale)};
  };
  return out;
}

}  // namespace

static const OpDef kSdpa{
    .name = "sdpa",
    .inputs = {{"q"},
               {"k"},
               {"v"},
               {"bias"},
               {"q_segment", NotDifferentiable{"ids"}},
               {"k_segment", NotDifferentiable{"ids"}},
               {"slopes", NotDifferentiable{"fixed numbers, one a head"}}},
    .precision = Precision::kLow,
    .samples = {
        {"all keys",
         [](Rng& r) {
           return attention_sample(r, {2, 3, 4, 2, 2, 8}, {});
         }},
        {"odd causal, grouped heads, more keys",
         [](Rng& r) {
           return attention_sample(r, {1, 3, 7, 4, 2, 5}, {.causal = true});
         }},
        {"odd prefix and window",
         [](Rng& r) {
           return attention_sample(r, {1, 9, 9, 2, 1, 6}, {.causal = true, .prefix = 2, .window = 3}, 0.7);
         }},
        {"odd window without causal",
         [](Rng& r) {
           return attention_sample(r, {1, 7, 5, 1, 1, 3}, {.window = 4});
         }},
        {"packed segments",
         [](Rng& r) {
           return attention_sample(
               r, {1, 6, 6, 2, 2, 4},
               {.causal = true, .q_segment = {0, 0, 1, 1, 1, 2}, .k_segment = {0, 0, 1, 1, 1, 2}});
         }},
        {"odd padding with an empty row",
         [](Rng& r) {
           return attention_sample(r, {2, 3, 3, 2, 1, 3},
                         {.causal = true,
                          .q_segment = {0, 0, -1, 0, 0, 0},
                          .k_segment = {0, 0, -1, -1, 0, 0}});
         }},
        {"bias for a batch",
         [](Rng& r) {
           return attention_sample(r, {2, 3, 5, 2, 2, 4}, {.bias = {1, 2, 3, 5}});
         }},
        {"odd bias of keys for all heads",
         [](Rng& r) {
           return attention_sample(r, {2, 5, 3, 2, 1, 7}, {.bias = {2, 1, 1, 3}});
         }},
        {"odd bias of every head, slopes",
         [](Rng& r) {
           return attention_sample(r, {2, 5, 5, 3, 3, 4},
                         {.causal = true, .bias = {2, 3, 5, 5}, .slopes = {0.5, 0.25, 0.125}});
         }},
        {"one query, slopes, segments",
         [](Rng& r) {
           return attention_sample(r, {2, 1, 9, 4, 2, 8},
                         {.q_segment = {0, 3},
                          .k_segment = {0, 0, 0, 0, 1, 1, 0, 0, 0, -1, 3, 3, 3, 3, 3, 3, 3, 3},
                          .slopes = {0.5, 0.25, 0.125, 0.0625}},
                         0.4);
         }},
        {"odd soft cap under a bias",
         [](Rng& r) {
           return attention_sample(r, {2, 5, 7, 4, 2, 4}, {.causal = true, .bias = {4, 5, 7}, .softcap = 1.5},
                         1.3);
         }},
        {"large causal, two tiles of keys", [](Rng& r) {
           return attention_sample(r, {2, 130, 140, 2, 1, 8}, {.causal = true, .bias = {2, 1, 1, 140}});
         }}}};

// Everything that a kernel takes for granted.
static void check_sdpa(const Variable& q, const Variable& k, const Variable& v,
                       const AttentionMask& mask, const Variable& bias) {
  check<ShapeError>(q.rank() == 4 && q.dim(3) > 0, "sdpa: q must be [B, Tq, H, D], got {}",
                    q.value().describe());
  check<ShapeError>(k.rank() == 4 && k.dim(0) == q.dim(0) && k.dim(3) == q.dim(3) && k.dim(2) > 0 &&
                        q.dim(2) % k.dim(2) == 0,
                    "sdpa: k must be [{}, Tk, K, {}] with K dividing {} heads, got {}; q is {}",
                    q.dim(0), q.dim(3), q.dim(2), to_string(k.shape()), q.value().describe());
  check<ShapeError>(v.shape() == k.shape(), "sdpa: v must be {} as k, got {}", to_string(k.shape()),
                    to_string(v.shape()));
  const auto check_like_q = [&](const char* name, const Variable& x) {
    check<DTypeError>(x.dtype() == q.dtype(), "sdpa: {} must be {} as q, got {}", name,
                      dtype_name(q.dtype()), dtype_name(x.dtype()));
    check<DeviceError>(x.value().device() == q.value().device(),
                       "sdpa: {} must be on {} as q, got {}", name, to_string(q.value().device()),
                       to_string(x.value().device()));
  };
  check_like_q("k", k);
  check_like_q("v", v);
  check<UsageError>(mask.prefix >= 0 && mask.window >= 0,
                    "sdpa: prefix and window must not be negative, got {} and {}", mask.prefix,
                    mask.window);
  check<ShapeError>(mask.q_segment.defined() == mask.k_segment.defined(),
                    "sdpa: q_segment and k_segment must be given together, got only {}",
                    mask.q_segment.defined() ? "q_segment" : "k_segment");
  const auto check_segment = [&](const char* name, const Tensor& segment, int64_t tokens) {
    check<ShapeError>(segment.shape() == Shape({q.dim(0), tokens}),
                      "sdpa: {} must be [{}, {}], got {}", name, q.dim(0), tokens,
                      to_string(segment.shape()));
    check<DTypeError>(segment.dtype() == DType::kI32, "sdpa: {} must be i32, got {}", name,
                      dtype_name(segment.dtype()));
  };
  if (mask.q_segment.defined()) {
    check_segment("q_segment", mask.q_segment, q.dim(1));
    check_segment("k_segment", mask.k_segment, k.dim(1));
  }
  if (bias.defined()) {
    const Shape scores{q.dim(0), q.dim(2), q.dim(1), k.dim(1)};
    bool fits = bias.rank() <= 4;
    for (int i = 1; fits && i <= bias.rank(); ++i)
      fits = bias.dim(-i) == 1 || bias.dim(-i) == scores.dim(-i);
    check<ShapeError>(fits, "sdpa: bias must broadcast to {}, got {}", to_string(scores),
                      to_string(bias.shape()));
    check_like_q("bias", bias);
  }
  if (mask.slopes.defined()) {
    check<ShapeError>(mask.slopes.shape() == Shape{q.dim(2)},
                      "sdpa: slopes must be [{}], one a head, got {}", q.dim(2),
                      to_string(mask.slopes.shape()));
    check<DTypeError>(is_floating(mask.slopes.dtype()), "sdpa: slopes must be floating, got {}",
                      dtype_name(mask.slopes.dtype()));
  }
}

/// sdpa — y = softmax(scale·q·kᵀ + bias)·v per head, by tiles with the softmax online; scores never
/// exist as a whole.   Vaswani et al. 2017, arXiv:1706.03762; Dao et al. 2022, arXiv:2205.14135; the
/// soft cap, before bias and mask: Gemma 2, arXiv:2408.00118, section 2.
/// q [B, Tq, H, D], k and v [B, Tk, K, D] with H a multiple of K → [B, Tq, H, D]; mask as
/// AttentionMask says. Saves q, k, v, bias, y, one f32 per row (log Σ e^score), and the mask.
Variable sdpa(const Variable& q_in, const Variable& k_in, const Variable& v_in,
              const AttentionMask& mask, double scale) {
  auto [q, k, v, bias] = autocast(kSdpa, q_in, k_in, v_in, mask.bias);
  check_sdpa(q, k, v, mask, bias);
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(q.dim(3)));
  const SdpaMask kernel_mask{mask.causal,    mask.prefix,  mask.window, mask.q_segment,
                             mask.k_segment, bias.value(), mask.slopes, mask.softcap};
  const SdpaOut out = sdpa_forward(q.value(), k.value(), v.value(), kernel_mask, scale);
  auto backward = [sq = save(q), sk = save(k), sv = save(v), sy = save(out.out),
                   sl = save(out.log_sum), bias = save(bias), q_segment = save(mask.q_segment),
                   k_segment = save(mask.k_segment), slopes = save(mask.slopes),
                   causal = mask.causal, prefix = mask.prefix, window = mask.window,
                   softcap = mask.softcap, scale](const Tensor& dy, Needs needs) {
    const SdpaMask m{causal, prefix, window, q_segment(), k_segment(), bias(), slopes(), softcap};
    return sdpa_backward({sq(), sk(), sv(), sy(), sl(), m, scale}, dy,
                         {needs[0], needs[1], needs[2], needs[3]});
  };
  return record(kSdpa, {q, k, v, bias}, out.out, std::move(backward));
}

}  // namespace ocellus
