#include "engine/kernels/linear.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {

static Sample linear_sample(Rng& r, const Shape& x, int64_t out, bool with_bias) {
  Tensors inputs{r.normal(x), r.normal({out, x.back()})};
  if (with_bias) inputs.push_back(r.normal({out}));
  return {.inputs = inputs,
          .run =
              [=](const Variables& in) {
                return Variables{linear(in[0], in[1], with_bias ? in[2] : Variable())};
              },
          .reference =
              [=](const Variables& in) {
                const Variable x2 = reshape(in[0], {in[0].shape().rows(), in[0].dim(-1)});
                const Variable y =
                    reshape(matmul(x2, in[1], false, true), in[0].shape().with(-1, in[1].dim(0)));
                return Variables{with_bias ? add(y, in[2]) : y};
              }};
}
static const OpDef kLinear{
    .name = "linear",
    .inputs = {{"x"}, {"weight"}, {"bias"}},
    .precision = Precision::kLow,
    .samples = {{"rows",
                 [](Rng& r) {
                   return linear_sample(r, {4, 8}, 6, true);
                 }},
                {"odd batch",
                 [](Rng& r) {
                   return linear_sample(r, {2, 3, 5}, 7, true);
                 }},
                {"odd no bias",
                 [](Rng& r) {
                   return linear_sample(r, {3, 1, 7}, 5, false);
                 }},
                {"vector", [](Rng& r) { return linear_sample(r, {6}, 3, true); }},
                {"large", [](Rng& r) {
                   return linear_sample(r, {3, 200, 40}, 30, true);
                 }}}};

/// linear — y = x·Wᵀ + bias;  dx = dy·W, dW = dyᵀ·x, dbias = Σ over rows of dy.
/// x [..., I], weight [O, I], bias [O] or absent → [..., O].   Saves x if the weight is trained,
/// the weight if x wants a gradient: a frozen layer keeps no activation.
Variable linear(const Variable& x_in, const Variable& weight_in, const Variable& bias_in) {
  auto [x, weight, bias] = autocast(kLinear, x_in, weight_in, bias_in);
  check<ShapeError>(x.rank() >= 1, "linear: x must have at least one dimension, got a number");
  check<ShapeError>(weight.rank() == 2 && weight.dim(1) == x.dim(-1),
                    "linear: weight must be [O, {}] (the last dimension of x), got {}; x is {}",
                    x.dim(-1), to_string(weight.shape()), x.value().describe());
  if (bias.defined()) {
    check<ShapeError>(bias.shape() == Shape{weight.dim(0)},
                      "linear: bias must be [{}] (the rows of weight), got {}; weight is {}",
                      weight.dim(0), to_string(bias.shape()), weight.value().describe());
    check<DTypeError>(is_floating(bias.dtype()), "linear: bias must be floating, got {}",
                      dtype_name(bias.dtype()));
  }
  Tensor y = linear_forward(x.value(), weight.value(), bias.value());
  const SavedTensor saved_x = weight.requires_grad() ? save(x) : SavedTensor();
  const SavedTensor saved_weight = x.requires_grad() ? save(weight) : SavedTensor();
  return record(kLinear, {x, weight, bias}, y,
                [saved_x, saved_weight, weight_type = weight.dtype(), bias_type = bias.dtype()](
                    const Tensor& dy, Needs needs) {
                  Tensors gradients(3);
                  if (needs[0]) gradients[0] = linear_backward_input(dy, saved_weight());
                  if (needs[1]) gradients[1] = linear_backward_weight(dy, saved_x(), weight_type);
                  if (needs[2]) gradients[2] = linear_backward_bias(dy, bias_type);
                  return gradients;
                });
}

}  // namespace ocellus
