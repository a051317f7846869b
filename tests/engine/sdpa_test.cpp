#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/sdpa.h"
#include "engine/parallel.h"
#include "engine/random.h"

using namespace ocellus;

namespace {

Tensor numbers(const Shape& shape, uint64_t seed, DType dtype = DType::kF64) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal_at({seed, 0}, i);
  return Tensor::from(values, shape).to(dtype);
}

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

struct Problem {
  int64_t batch, queries, keys, heads, kv_heads, dim;
  SdpaMask mask;
  Tensor q, k, v, dout;
  Problem(int64_t b, int64_t tq, int64_t tk, int64_t h, int64_t kv, int64_t d)
      : batch(b),
        queries(tq),
        keys(tk),
        heads(h),
        kv_heads(kv),
        dim(d),
        q(numbers({b, tq, h, d}, 1)),
        k(numbers({b, tk, kv, d}, 2)),
        v(numbers({b, tk, kv, d}, 3)),
        dout(numbers({b, tq, h, d}, 4)) {}
};

// Out, dq, dk, dv (and dbias) by the definition: one row of all scores at a time, in double.
struct Expected {
  std::vector<double> out, dq, dk, dv, dbias;
};

Expected by_definition(const Problem& p, double scale) {
  const auto q = p.q.to_vector<double>(), k = p.k.to_vector<double>(), v = p.v.to_vector<double>(),
             dout = p.dout.to_vector<double>();
  const auto list = [](const Tensor& x) {
    return x.defined() ? x.to_vector<double>() : std::vector<double>();
  };
  const auto qs = list(p.mask.q_segment), ks = list(p.mask.k_segment), slopes = list(p.mask.slopes);
  const Shape all{p.batch, p.heads, p.queries, p.keys};
  const auto bias = p.mask.bias.defined() ? list(p.mask.bias.broadcast_to(all)) : list({});
  Expected e{std::vector<double>(q.size()), std::vector<double>(q.size()),
             std::vector<double>(k.size()), std::vector<double>(k.size()),
             std::vector<double>(bias.size())};
  const int64_t shift = p.keys - p.queries, d = p.dim;
  for (int64_t b = 0; b < p.batch; ++b)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t i = 0; i < p.queries; ++i) {
        const int64_t kv = h / (p.heads / p.kv_heads),
                      row = ((b * p.queries + i) * p.heads + h) * d;
        const auto at = [&](int64_t j) { return ((b * p.keys + j) * p.kv_heads + kv) * d; };
        const int64_t pair = ((b * p.heads + h) * p.queries + i) * p.keys;
        std::vector<double> weight(static_cast<size_t>(p.keys), 0);
        double sum = 0;
        for (int64_t j = 0; j < p.keys; ++j) {
          const bool near = (!p.mask.causal || j <= i + shift) &&
                            (p.mask.window == 0 || j > i + shift - p.mask.window);
          const bool same = qs.empty() || (qs[b * p.queries + i] == ks[b * p.keys + j] &&
                                           qs[b * p.queries + i] >= 0);
          if (!same || !(near || j < p.mask.prefix)) continue;
          double score = 0;
          for (int64_t n = 0; n < d; ++n) score += scale * q[row + n] * k[at(j) + n];
          if (!bias.empty()) score += bias[pair + j];
          if (!slopes.empty()) score += slopes[h] * static_cast<double>(j - i - shift);
          sum += weight[j] = std::exp(score);
        }
        if (sum == 0) continue;
        double delta = 0;
        for (int64_t j = 0; j < p.keys; ++j)
          for (int64_t n = 0; n < d; ++n) {
            e.out[row + n] += weight[j] / sum * v[at(j) + n];
            delta += weight[j] / sum * v[at(j) + n] * dout[row + n];
          }
        for (int64_t j = 0; j < p.keys; ++j) {
          double ds = -delta;
          for (int64_t n = 0; n < d; ++n) ds += v[at(j) + n] * dout[row + n];
          ds *= weight[j] / sum;
          if (!bias.empty()) e.dbias[pair + j] = ds;
          for (int64_t n = 0; n < d; ++n) {
            e.dq[row + n] += scale * ds * k[at(j) + n];
            e.dk[at(j) + n] += scale * ds * q[row + n];
            e.dv[at(j) + n] += weight[j] / sum * dout[row + n];
          }
        }
      }
  return e;
}

double distance(const Tensor& got, const std::vector<double>& expected) {
  const auto values = got.to_vector<double>();
  REQUIRE(values.size() == expected.size());
  double worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double d = std::fabs(values[i] - expected[i]);
    worst = d <= worst ? worst : d;  // NaN stays
  }
  return worst;
}

void check_against_definition(const Problem& p) {
  const double scale = 0.3;
  const Expected e = by_definition(p, scale);
  const SdpaOut y = sdpa_forward(p.q, p.k, p.v, p.mask, scale);
  CHECK(distance(y.out, e.out) < 1e-12);
  const bool bias = p.mask.bias.defined();
  const Tensors g = sdpa_backward({p.q, p.k, p.v, y.out, y.log_sum, p.mask, scale}, p.dout,
                                  {true, true, true, bias});
  CHECK(distance(g[0], e.dq) < 1e-11);
  CHECK(distance(g[1], e.dk) < 1e-11);
  CHECK(distance(g[2], e.dv) < 1e-11);
  if (bias) {
    CHECK(g[3].shape() == p.mask.bias.shape());
    // What the definition gives at full shape, summed where the bias was broadcast.
    const Shape all{p.batch, p.heads, p.queries, p.keys};
    const Tensor spread = p.mask.bias.broadcast_to(all);
    std::vector<double> summed(static_cast<size_t>(p.mask.bias.numel()), 0);
    for (int64_t n = 0; n < all.numel(); ++n) {
      int64_t rest = n, at = 0;
      for (int i = 3; i >= 0; --i) {
        at += rest % all[i] * spread.strides()[i];
        rest /= all[i];
      }
      summed[at] += e.dbias[n];
    }
    CHECK(distance(g[3], summed) < 1e-11);
  }
}

Tensor ids(const Shape& shape, int64_t run, int64_t start) {
  std::vector<int32_t> list(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < list.size(); ++i)
    list[i] = static_cast<int32_t>((start + static_cast<int64_t>(i)) / run % 4) - 1;
  return Tensor::from(list, shape);
}

}  // namespace

TEST_CASE("sdpa: masks of all kinds over several tiles, against the definition") {
  for (const bool causal : {false, true})
    for (const int64_t prefix : {0, 5})
      for (const int64_t window : {0, 30})
        for (const bool segments : {false, true}) {
          CAPTURE(causal);
          CAPTURE(prefix);
          CAPTURE(window);
          CAPTURE(segments);
          Problem p(2, 70, 150, 4, 2, 5);
          p.mask.causal = causal;
          p.mask.prefix = prefix;
          p.mask.window = window;
          if (segments) {
            p.mask.q_segment = ids({2, 70}, 21, 3);
            p.mask.k_segment = ids({2, 150}, 40, 0);
          }
          check_against_definition(p);
        }
}

TEST_CASE("sdpa: biases of every broadcast, slopes, more queries than keys") {
  for (const Shape& bias : {Shape{2, 4, 70, 33}, Shape{1, 4, 70, 33}, Shape{2, 1, 1, 33},
                            Shape{70, 1}, Shape{1, 1, 1, 1}, Shape{33}}) {
    CAPTURE(to_string(bias));
    Problem p(2, 70, 33, 4, 4, 8);
    p.mask.bias = numbers(bias, 9);
    p.mask.slopes = numbers({4}, 10);
    p.mask.causal = bias.rank() == 4;
    check_against_definition(p);
  }
}

TEST_CASE("sdpa: one and two queries take the row path, sizes of one") {
  for (const int64_t queries : {1, 2})
    for (const int64_t keys : {1, 2, 130, 300}) {
      Problem p(2, queries, keys, 6, 2, 7);
      p.mask.causal = true;
      p.mask.slopes = numbers({6}, 10);
      p.mask.window = 200;
      p.mask.prefix = 3;
      check_against_definition(p);
    }
  check_against_definition(Problem(1, 1, 1, 1, 1, 1));
  check_against_definition(Problem(1, 3, 3, 1, 1, 256));
}

TEST_CASE("sdpa: slices of a fused qkv and a permuted cache are read in place") {
  const Tensor fused = numbers({2, 9, 3, 4, 8}, 1);  // [B, T, qkv, H, D]
  const auto part = [&](int64_t n) {
    const Tensor x = fused.sliced(2, n, n + 1);
    return x.as_strided({2, 9, 4, 8}, {x.strides()[0], x.strides()[1], 8, 1}, x.offset());
  };
  const Tensor cache = numbers({2, 4, 20, 8}, 2).sliced(2, 0, 9).permuted({0, 2, 1, 3});
  SdpaMask mask;
  mask.causal = true;
  const SdpaOut strided = sdpa_forward(part(0), part(1), cache, mask, 0.5);
  const SdpaOut plain = sdpa_forward(part(0).clone(), part(1).clone(), cache.clone(), mask, 0.5);
  CHECK(strided.out.to_vector<double>() == plain.out.to_vector<double>());
  // Rows that are not contiguous are copied.
  const Tensor turned = numbers({2, 9, 8, 4}, 1).transposed(2, 3);
  CHECK(sdpa_forward(turned, cache, cache, mask, 0.5).out.to_vector<double>() ==
        sdpa_forward(turned.clone(), cache, cache, mask, 0.5).out.to_vector<double>());
}

TEST_CASE("sdpa: rows that see nothing give 0 and pass no gradient, for every type and path") {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF64})
    for (const int64_t queries : {1, 5}) {
      const Tensor q = numbers({1, queries, 2, 4}, 1, dtype), k = numbers({1, 6, 2, 4}, 2, dtype);
      SdpaMask mask;
      mask.q_segment = Tensor::full({1, queries}, -1, DType::kI32);
      mask.k_segment = Tensor::full({1, 6}, -1, DType::kI32);
      const SdpaOut y = sdpa_forward(q, k, k, mask, 1);
      for (double value : y.out.to_vector<double>()) CHECK(value == 0);
      for (double value : y.log_sum.to_vector<double>()) CHECK(value == INFINITY);
      for (const Tensor& g :
           sdpa_backward({q, k, k, y.out, y.log_sum, mask, 1}, q, {true, true, true, false}))
        if (g.defined())
          for (double value : g.to_vector<double>()) CHECK(value == 0);
    }
  // No keys at all.
  const Tensor q = numbers({1, 3, 2, 4}, 1), none = Tensor::empty({1, 0, 2, 4}, DType::kF64);
  const SdpaOut y = sdpa_forward(q, none, none, {}, 1);
  for (double value : y.out.to_vector<double>()) CHECK(value == 0);
  const Tensors g =
      sdpa_backward({q, none, none, y.out, y.log_sum, {}, 1}, q, {true, true, true, false});
  for (double value : g[0].to_vector<double>()) CHECK(value == 0);
  CHECK(g[1].numel() == 0);
}

TEST_CASE(
    "sdpa: a bias of -infinity hides a key, large scores do not overflow, NaN is not hidden") {
  Problem p(1, 4, 5, 1, 1, 3);
  p.mask.bias = Tensor::from(std::vector<double>{0, -INFINITY, 0, 0, -INFINITY}, {5});
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    SdpaMask mask;
    mask.bias = p.mask.bias.to(dtype);
    const auto run = [&](const Tensor& k) {
      return sdpa_forward(p.q.to(dtype), k.to(dtype), p.v.to(dtype), mask, 1).out;
    };
    Tensor other = p.k.clone();
    other.mutable_data<double>("test")[3] = 1000;  // key 1, which nobody sees
    CHECK(run(p.k).to_vector<double>() == run(other).to_vector<double>());
    other.mutable_data<double>("test")[0] = 3e4;
    for (double value : run(other).to_vector<double>()) CHECK(std::isfinite(value));
    other.mutable_data<double>("test")[0] = std::numeric_limits<double>::quiet_NaN();
    CHECK(std::isnan(run(other).to_vector<double>()[0]));
  }
}

TEST_CASE("sdpa: gradients that are not needed are not computed, the others keep their bits") {
  Problem p(1, 20, 20, 2, 1, 8);
  p.mask.bias = numbers({2, 20, 20}, 5);
  const SdpaOut y = sdpa_forward(p.q, p.k, p.v, p.mask, 0.3);
  const SdpaSaved saved{p.q, p.k, p.v, y.out, y.log_sum, p.mask, 0.3};
  const Tensors all = sdpa_backward(saved, p.dout, {true, true, true, true});
  for (int mask = 0; mask < 16; ++mask) {
    const std::array<bool, 4> needs{(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0,
                                    (mask & 8) != 0};
    const Tensors some = sdpa_backward(saved, p.dout, needs);
    for (size_t i = 0; i < 4; ++i) {
      CHECK(some[i].defined() == needs[i]);
      if (needs[i]) CHECK(some[i].to_vector<double>() == all[i].to_vector<double>());
    }
  }
}

TEST_CASE("sdpa: never holds the matrix of scores") {
  const int64_t tokens = 3000;  // 36 MB of scores a head
  const Tensor q = numbers({1, tokens, 1, 16}, 1, DType::kF32);
  SdpaMask mask;
  mask.causal = true;
  allocator_of(kCpu)->reset_peak();
  const uint64_t before = allocator_of(kCpu)->stats().in_use;
  const SdpaOut y = sdpa_forward(q, q, q, mask, 0.25);
  sdpa_backward({q, q, q, y.out, y.log_sum, mask, 0.25}, q, {true, true, true, false});
  CHECK(allocator_of(kCpu)->stats().peak - before < 4u << 20);
}

TEST_CASE("sdpa: wrong arguments are refused in a sentence") {
  const auto v = [](const Shape& shape, DType dtype = DType::kF32) {
    return Variable(Tensor::zeros(shape, dtype));
  };
  const Variable q = v({2, 5, 4, 8}), k = v({2, 7, 2, 8});
  const auto with = [&](auto&& change) {
    AttentionMask mask;
    change(mask);
    return error_of([&] { sdpa(q, k, k, mask); });
  };
  CHECK(error_of([&] {
          sdpa(v({5, 4, 8}), k, k, {});
        }) == "sdpa: q must be [B, Tq, H, D], got [5, 4, 8] f32 on cpu");
  CHECK(error_of([&] {
          sdpa(q, v({2, 7, 3, 8}), k, {});
        }) ==
        "sdpa: k must be [2, Tk, K, 8] with K dividing 4 heads, got [2, 7, 3, 8]; q is [2, 5, 4, "
        "8] f32 on cpu");
  CHECK(error_of([&] {
          sdpa(q, k, v({2, 6, 2, 8}), {});
        }) == "sdpa: v must be [2, 7, 2, 8] as k, got [2, 6, 2, 8]");
  CHECK(error_of([&] {
          sdpa(q, k, v({2, 7, 2, 8}, DType::kF64), {});
        }) == "sdpa: v must be f32 as q, got f64");
  const Variable whole = v({2, 5, 4, 8}, DType::kI32);
  CHECK(error_of([&] { sdpa(whole, whole, whole, {}); }) ==
        "sdpa: dtype must be one of f32 bf16 f64, got i32");
  CHECK(with([](AttentionMask& m) { m.window = -1; }) ==
        "sdpa: prefix and window must not be negative, got 0 and -1");
  CHECK(with([](AttentionMask& m) {
          m.k_segment = Tensor::zeros({2, 7}, DType::kI32);
        }) == "sdpa: q_segment and k_segment must be given together, got only k_segment");
  CHECK(with([](AttentionMask& m) {
          m.q_segment = Tensor::zeros({2, 5}, DType::kI32);
          m.k_segment = Tensor::zeros({2, 5}, DType::kI32);
        }) == "sdpa: k_segment must be [2, 7], got [2, 5]");
  CHECK(with([](AttentionMask& m) {
          m.q_segment = Tensor::zeros({2, 5}, DType::kI64);
          m.k_segment = Tensor::zeros({2, 7}, DType::kI64);
        }) == "sdpa: q_segment must be i32, got i64");
  CHECK(with([&](AttentionMask& m) {
          m.bias = v({3, 5, 7});
        }) == "sdpa: bias must broadcast to [2, 4, 5, 7], got [3, 5, 7]");
  CHECK(with([&](AttentionMask& m) { m.bias = v({7}, DType::kBF16); }) ==
        "sdpa: bias must be f32 as q, got bf16");
  CHECK(with([](AttentionMask& m) { m.slopes = Tensor::zeros({5}, DType::kF32); }) ==
        "sdpa: slopes must be [4], one a head, got [5]");
  CHECK(with([](AttentionMask& m) { m.slopes = Tensor::zeros({4}, DType::kI32); }) ==
        "sdpa: slopes must be floating, got i32");
}
