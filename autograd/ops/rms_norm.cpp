// Root-mean-square normalisation.
#include "engine/kernels/rms_norm.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/ops/row_checks.h"
#include "autograd/tape.h"

namespace ocellus {

static Sample rms_norm_sample(Rng& r, const Shape& shape, float eps) {
  return {.inputs = {r.normal(shape), r.normal({shape.back()})},
          .run = [=](const Variables& in) { return Variables{rms_norm(in[0], in[1], eps)}; },
          .reference =
              [=](const Variables& in) {
                const Variable power = add(mean_last(square(in[0])), static_cast<double>(eps));
                return Variables{mul(mul(in[0], rsqrt(power)), in[1])};
              }};
}
static const OpDef kRmsNorm{
    .name = "rms_norm",
    .inputs = {{"x"}, {"weight"}},
    .precision = Precision::kFollow,  // statistics are f32 inside the kernel (f64 for f64)
    .samples = {{"row of 8",
                 [](Rng& r) {
                   return rms_norm_sample(r, {3, 8}, 1e-5f);
                 }},
                {"odd row, large eps",
                 [](Rng& r) {
                   return rms_norm_sample(r, {2, 1, 7}, 0.5f);
                 }},
                {"large rows", [](Rng& r) {
                   return rms_norm_sample(r, {301, 72}, 0.1f);
                 }}}};

/// rms_norm — y = x·r·w with r = 1/√(mean(x²) + eps), over the last dimension.  Zhang & Sennrich
/// 2019, arXiv:1910.07467.  x [..., C], weight [C] → y [..., C]. With x̂ = x·r and g = dy·w:  dx =
/// r·(g - x̂·mean(g·x̂)),  dw = Σ dy·x̂. Saves x, weight, r (one f32 per row).
Variable rms_norm(const Variable& x_in, const Variable& weight_in, float eps) {
  auto [x, weight] = autocast(kRmsNorm, x_in, weight_in);
  check_rows("rms_norm", x.value());
  check_row_parameter("rms_norm", "weight", weight.value(), x.value());
  RmsNormOut out = rms_norm_forward(x.value(), weight.value(), eps);
  const SavedTensor sx = save(x), sw = save(weight);
  return record(
      kRmsNorm, {x, weight}, out.y,
      [sx, sw, r = save(out.r)](const Tensor& dy, Needs needs) {
        RmsNormGrads g = rms_norm_backward(sx(), sw(), r(), dy, needs[0], needs[1]);
        return Tensors{g.dx, g.dweight};
      },
      [sx, sw, eps] { return rms_norm_forward(sx(), sw(), eps).y; });
}

}  // namespace ocellus
