// Kernels at sizes that the registry's samples do not have: tails of vectors, several tiles and
// chunks, all head sizes; and kernels that are no ops.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "autograd/op_def.h"
#include "engine/kernels/argmax.h"
#include "engine/kernels/copy.h"
#include "engine/kernels/cross_entropy.h"
#include "engine/kernels/dropout.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/layer_norm.h"
#include "engine/kernels/matmul.h"
#include "engine/kernels/optim.h"
#include "engine/kernels/reduce.h"
#include "engine/kernels/rms_norm.h"
#include "engine/kernels/sdpa.h"
#include "engine/kernels/softmax.h"

using namespace ocellus;

namespace {

constexpr Device kGpu{DeviceType::kCuda, 0};
constexpr int64_t kLengths[] = {1, 7, 31, 33, 65, 513, 2049};

void check_close(const Tensor& got, const Tensor& expected, double tolerance) {
  REQUIRE(got.shape() == expected.shape());
  REQUIRE(got.dtype() == expected.dtype());
  CHECK((got.numel() == 0 || got.device() == kGpu));
  const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
  double worst = 0, top = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    worst = std::max(worst, std::isnan(a[i] - b[i]) ? INFINITY : std::fabs(a[i] - b[i]));
    top = std::max(top, std::fabs(b[i]));
  }
  CHECK(worst <= tolerance * (1 + top));
}

void check_bits(const Tensor& got, const Tensor& expected) {
  const Tensor here = got.to(kCpu);
  REQUIRE(here.bytes() == expected.bytes());
  CHECK(std::memcmp(here.raw(), expected.raw(), static_cast<size_t>(here.bytes())) == 0);
}

double tolerance_of(DType dtype) { return dtype == DType::kF32 ? 1e-5 : 0x1p-7; }

// f for f32 and bf16 rows of every length.
void for_rows(const std::function<void(const Tensor& x, const Tensor& dy, double tolerance)>& f) {
  Rng rng(11);
  for (int64_t columns : kLengths)
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      CAPTURE(columns);
      CAPTURE(dtype_name(dtype));
      f(rng.normal({5, columns}).to(dtype), rng.normal({5, columns}).to(dtype),
        tolerance_of(dtype));
    }
}

}  // namespace

TEST_CASE("simt: row kernels agree with the CPU at awkward lengths") {
  for_rows([](const Tensor& x, const Tensor& dy, double tolerance) {
    const Tensor there = x.to(kGpu), dy_there = dy.to(kGpu), w = x.sliced(0, 1, 2).reshaped({-1}),
                 w_there = w.to(kGpu);
    for (bool log : {false, true}) {
      const Tensor y = softmax_forward(x, log), y_there = softmax_forward(there, log);
      check_close(y_there, y, tolerance);
      check_close(softmax_backward(y.to(kGpu), dy_there, log), softmax_backward(y, dy, log),
                  tolerance);
    }
    const RmsNormOut r = rms_norm_forward(x, w, 1e-5f),
                     r_there = rms_norm_forward(there, w_there, 1e-5f);
    check_close(r_there.y, r.y, tolerance);
    const RmsNormGrads dr = rms_norm_backward(x, w, r.r, dy, true, true);
    const RmsNormGrads dr_there =
        rms_norm_backward(there, w_there, r.r.to(kGpu), dy_there, true, true);
    check_close(dr_there.dx, dr.dx, 4 * tolerance);
    check_close(dr_there.dweight, dr.dweight, tolerance);
    const LayerNormOut l = layer_norm_forward(x, w, w, 1e-2f);
    const LayerNormOut l_there = layer_norm_forward(there, w_there, w_there, 1e-2f);
    check_close(l_there.y, l.y, tolerance);
    const LayerNormGrads dl = layer_norm_backward(x, w, l, dy, {true, true, true});
    const LayerNormGrads dl_there = layer_norm_backward(
        there, w_there, {l.y, l.mean.to(kGpu), l.r.to(kGpu)}, dy_there, {true, true, true});
    check_close(dl_there.dx, dl.dx, 4 * tolerance);
    check_close(dl_there.dweight, dl.dweight, tolerance);
    check_close(dl_there.dbias, dl.dbias, tolerance);
    check_bits(argmax_last(there), argmax_last(x));
  });
}

TEST_CASE("simt: softmax, argmax and losses of rows with infinities and NaN") {
  const float inf = INFINITY, nan = NAN;
  const Tensor x =
      Tensor::from<float>({-inf, -inf, -inf, 1, -inf, 2, nan, 0, 1, -inf, nan, -inf}, {4, 3});
  const Tensor there = x.to(kGpu);
  for (bool log : {false, true})
    check_close(softmax_forward(there, log), softmax_forward(x, log), 1e-6);
  check_bits(argmax_last(there), argmax_last(x));
  CHECK(has_nonfinite(there));
  CHECK_FALSE(has_nonfinite(Tensor::full({70000}, 2, DType::kBF16, kGpu)));
}

TEST_CASE("simt: sums over long rows, many rows, and in the middle") {
  Rng rng(12);
  const struct {
    Shape from, to;
  } cases[] = {{{2, 40000}, {2, 1}},      {{40000}, {1}},
               {{3000, 5}, {5}},          {{3, 70, 9}, {3, 1, 9}},
               {{3, 4, 5, 6}, {4, 1, 6}}, {{0, 3}, {1, 3}}};
  for (const auto& c : cases)
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      const Tensor x = rng.normal(c.from).to(dtype);
      check_close(sum_to(x.to(kGpu), c.to, 0.5), sum_to(x, c.to, 0.5), tolerance_of(dtype));
    }
}

TEST_CASE("simt: every pair of element types converts as on the CPU, any strides") {
  Rng rng(13);
  const Tensor numbers = rng.uniform({5, 6}, 0, 3);
  const DType types[] = {DType::kF64, DType::kF32, DType::kBF16, DType::kI64,
                         DType::kI32, DType::kU8,  DType::kBool};
  for (DType from : types)
    for (DType to : types) {
      CAPTURE(dtype_name(from));
      CAPTURE(dtype_name(to));
      const Tensor x = numbers.to(from);
      check_bits(x.to(kGpu).to(to), x.to(to));
      check_bits(x.to(kGpu).transposed(0, 1).to(to).contiguous(),
                 x.transposed(0, 1).contiguous().to(to));
    }
  for (int64_t n : kLengths) {
    const Tensor x = rng.normal({n});
    check_bits(x.to(DType::kF32).to(kGpu).to(DType::kBF16), x.to(DType::kF32).to(DType::kBF16));
    check_bits(x.to(DType::kBF16).to(kGpu).to(DType::kF32), x.to(DType::kBF16).to(DType::kF32));
  }
}

TEST_CASE("simt: dropout masks are those of the CPU, bit for bit") {
  Rng rng(14);
  for (int64_t n : kLengths) {
    const Tensor x = rng.normal({n}).to(DType::kF32);
    check_bits(dropout_forward(x.to(kGpu), 0.3, {5, 6}), dropout_forward(x, 0.3, {5, 6}));
  }
}

TEST_CASE("simt: optimizers and norms agree with the CPU") {
  Rng rng(15);
  const auto draw = [&] { return rng.normal({1000}).to(DType::kF32); };
  Tensor p = draw(), m = draw(), v = unary_forward(UnaryOp::k_square, draw());
  const Tensor g = draw();
  Tensor p_there = p.to(kGpu), m_there = m.to(kGpu), v_there = v.to(kGpu);
  const AdamWStep step{.lr = 0.1, .weight_decay = 0.1, .step = 3, .gradient_scale = 0.5};
  adamw_step(p, g, m, v, step);
  adamw_step(p_there, g.to(kGpu), m_there, v_there, step);
  check_close(p_there, p, 1e-6);
  check_close(m_there, m, 1e-6);
  check_close(v_there, v, 1e-6);
  sgd_step(p, g, m, 0.1, 0.9, 0.01, 1);
  sgd_step(p_there, g.to(kGpu), m_there, 0.1, 0.9, 0.01, 1);
  check_close(p_there, p, 1e-6);
  check_close(m_there, m, 1e-6);
  const Tensor long_one = rng.normal({70000}).to(DType::kBF16);
  CHECK(global_norm({p_there, long_one.to(kGpu)}) == doctest::Approx(global_norm({p, long_one})));
}

TEST_CASE("simt: attention agrees with the CPU at all head sizes and masks") {
  Rng rng(16);
  struct Case {
    int64_t batch, tq, tk, heads, kv, dim;
    bool causal;
    int64_t window;
  };
  const Case cases[] = {{1, 65, 130, 2, 1, 64, true, 0}, {1, 70, 70, 1, 1, 40, true, 20},
                        {2, 1, 67, 2, 2, 72, false, 0},  {1, 33, 64, 1, 1, 80, false, 0},
                        {1, 20, 90, 2, 2, 96, true, 0},  {1, 66, 66, 1, 1, 128, true, 0},
                        {1, 9, 40, 1, 1, 7, false, 0},   {1, 10, 33, 1, 1, 160, true, 0}};
  for (const Case& c : cases)
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      CAPTURE(c.dim);
      CAPTURE(dtype_name(dtype));
      SdpaMask mask;
      mask.causal = c.causal;
      mask.window = c.window;
      const auto draw = [&](int64_t t, int64_t h) {
        return rng.normal({c.batch, t, h, c.dim}).to(dtype);
      };
      const Tensor q = draw(c.tq, c.heads), k = draw(c.tk, c.kv), v = draw(c.tk, c.kv);
      const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
      const SdpaOut out = sdpa_forward(q, k, v, mask, scale);
      const Tensor q_there = q.to(kGpu), k_there = k.to(kGpu), v_there = v.to(kGpu);
      const SdpaOut out_there = sdpa_forward(q_there, k_there, v_there, mask, scale);
      check_close(out_there.out, out.out, tolerance_of(dtype));
      check_close(out_there.log_sum, out.log_sum, 1e-5);
      const Tensor dout = draw(c.tq, c.heads);
      const Tensors d = sdpa_backward({q, k, v, out.out, out.log_sum, mask, scale}, dout,
                                      {true, true, true, false});
      const Tensors d_there = sdpa_backward(
          {q_there, k_there, v_there, out.out.to(kGpu), out.log_sum.to(kGpu), mask, scale},
          dout.to(kGpu), {true, true, true, false});
      for (size_t i = 0; i < 3; ++i) check_close(d_there[i], d[i], tolerance_of(dtype));
    }
}

TEST_CASE("simt: batched products in every layout") {
  Rng rng(17);
  const struct {
    Shape a, b, batch;
  } cases[] = {{{3, 4, 5}, {5, 6}, {3}},   {{2, 1, 4, 5}, {3, 5, 6}, {2, 3}},
               {{3, 5, 4}, {3, 5, 6}, {}}, {{2, 3, 4, 5}, {2, 3, 5, 1}, {2, 1}},
               {{1, 7}, {7, 1}, {}},       {{2, 4, 0}, {2, 0, 3}, {2}}};
  for (const auto& c : cases)
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      const bool flipped = c.a.dim(-1) != c.b.dim(-2);
      Tensor a = rng.normal(c.a).to(dtype);
      const Tensor b = rng.normal(c.b).to(dtype);
      Tensor a_there = a.to(kGpu);
      if (flipped) a = a.transposed(-1, -2), a_there = a_there.transposed(-1, -2);
      check_close(matmul_forward(a_there, b.to(kGpu), c.batch), matmul_forward(a, b, c.batch),
                  tolerance_of(dtype));
    }
}

TEST_CASE("simt: wrong arguments are refused in one sentence") {
  const Tensor there = Tensor::zeros({2, 3}, DType::kF32, kGpu),
               here = Tensor::zeros({3}, DType::kF32);
  CHECK_THROWS_WITH_AS(rms_norm_forward(there, here, 1e-5f),
                       "rms_norm: all tensors must be on cuda:0, got [3] f32 on cpu", DeviceError);
  CHECK_THROWS_WITH_AS(softmax_forward(there.to(DType::kF64), false),
                       "softmax: dtype must be one of f32 bf16, got f64", DTypeError);
  CHECK_THROWS_AS(Tensor::empty({2}, DType::kF32, Device{DeviceType::kCuda, 63}), DeviceError);
  CHECK_THROWS_AS(Tensor::empty({int64_t{1} << 50}, DType::kU8, kGpu), OutOfMemory);
  check_close(unary_forward(UnaryOp::k_square, there), Tensor::zeros({2, 3}, DType::kF32), 0);
}
