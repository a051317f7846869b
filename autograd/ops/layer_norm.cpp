// Layer normalisation.
#include "engine/kernels/layer_norm.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/ops/row_checks.h"
#include "autograd/tape.h"

namespace ocellus {

static Variables layer_norm_reference(const Variables& in, float eps) {
  const Variable centred = sub(in[0], mean_last(in[0]));
  const Variable variance = add(mean_last(square(centred)), static_cast<double>(eps));
  const Variable y = mul(mul(centred, rsqrt(variance)), in[1]);
  return {in.size() > 2 ? add(y, in[2]) : y};
}
static Sample layer_norm_sample(Rng& r, const Shape& shape, bool bias, float eps) {
  Tensors inputs = {r.normal(shape), r.normal({shape.back()})};
  if (bias) inputs.push_back(r.normal({shape.back()}));
  return {.inputs = inputs,
          .run =
              [=](const Variables& in) {
                return Variables{layer_norm(in[0], in[1], bias ? in[2] : Variable(), eps)};
              },
          .reference = [=](const Variables& in) { return layer_norm_reference(in, eps); }};
}
static const OpDef kLayerNorm{
    .name = "layer_norm",
    .inputs = {{"x"}, {"weight"}, {"bias"}},
    .precision = Precision::kFollow,  // statistics are f32 inside the kernel (f64 for f64)
    .samples = {{"row of 8",
                 [](Rng& r) {
                   return layer_norm_sample(r, {3, 8}, true, 1e-5f);
                 }},
                {"odd row, no bias, large eps",
                 [](Rng& r) {
                   return layer_norm_sample(r, {2, 1, 7}, false, 0.5f);
                 }},
                {"large rows", [](Rng& r) {
                   return layer_norm_sample(r, {301, 72}, true, 0.1f);
                 }}}};

/// layer_norm — y = (x - mean)·r·w + b with r = 1/√(mean((x - mean)²) + eps), over the last
/// dimension; b may be absent.  Ba, Kiros & Hinton 2016, arXiv:1607.06450.  x [..., C], weight,
/// bias [C] → [..., C]. With x̂ = (x - mean)·r and g = dy·w:  dx = r·(g - mean(g) - x̂·mean(g·x̂)), dw
/// = Σ dy·x̂,  db = Σ dy. Saves x, weight, mean and r (one f32 each per row).
Variable layer_norm(const Variable& x_in, const Variable& weight_in, const Variable& bias_in,
                    float eps) {
  auto [x, weight, bias] = autocast(kLayerNorm, x_in, weight_in, bias_in);
  check_rows("layer_norm", x.value());
  check_row_parameter("layer_norm", "weight", weight.value(), x.value());
  if (bias.defined()) check_row_parameter("layer_norm", "bias", bias.value(), x.value());
  LayerNormOut out = layer_norm_forward(x.value(), weight.value(), bias.value(), eps);
  const SavedTensor sx = save(x), sw = save(weight), sb(bias.value());
  return record(
      kLayerNorm, {x, weight, bias}, out.y,
      [sx, sw, mean = save(out.mean), r = save(out.r)](const Tensor& dy, Needs needs) {
        LayerNormGrads g =
            layer_norm_backward(sx(), sw(), {{}, mean(), r()}, dy, {needs[0], needs[1], needs[2]});
        return Tensors{g.dx, g.dweight, g.dbias};
      },
      [sx, sw, sb, eps] { return layer_norm_forward(sx(), sw(), sb(), eps).y; });
}

}  // namespace ocellus
