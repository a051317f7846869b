#include "engine/kernels/linear_cross_entropy.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/elementwise.h"

namespace ocellus {

// Labels with all rows ignored but every third.
static Sample loss_sample(Rng& r, int64_t rows, int64_t columns, int64_t classes, DType dtype,
                          int64_t ignore, int64_t chunk, double deviation = 0.5) {
  const Tensor labels = r.integers({rows}, 0, classes, DType::kI64);
  int64_t* list = Tensor(labels).mutable_data<int64_t>("linear_cross_entropy sample");
  for (int64_t i = 0; i < rows; ++i)
    if (i % 3 == 1) list[i] = ignore;
  return {
      .inputs = {r.normal({rows, columns}), r.normal({classes, columns}, deviation), labels.to(dtype)},
      .run =
          [=](const Variables& in) {
            return Variables{linear_cross_entropy(in[0], in[1], in[2].value(), ignore, chunk).sum};
          },
      .reference =
          [=](const Variables& in) {
            return Variables{
                cross_entropy(matmul(in[0], in[1], false, true), in[2].value(), ignore).sum};
          }};
}
static const OpDef kLinearCrossEntropy{
    .name = "linear_cross_entropy",
    .inputs = {{"x"}, {"weight"}, {"labels", NotDifferentiable{"indices"}}},
    .precision = Precision::kLow,
    .samples = {
        {"one chunk", [](Rng& r) { return loss_sample(r, 8, 4, 16, DType::kI64, -100, 0); }},
        {"odd, chunks of two rows",
         [](Rng& r) { return loss_sample(r, 11, 5, 7, DType::kI32, -1, 2); }},
        {"logits of hundreds",  // e^x alone is not finite in f32
         [](Rng& r) { return loss_sample(r, 9, 16, 24, DType::kI64, -100, 0, 50); }},
        {"odd single row", [](Rng& r) { return loss_sample(r, 1, 3, 37, DType::kI64, -100, 0); }},
        {"large, chunks of 24 rows",
         [](Rng& r) { return loss_sample(r, 60, 32, 700, DType::kI64, -100, 24); }}}};

/// linear_cross_entropy — Σ_i -log softmax(x_i·weightᵀ)[label_i] over the rows whose label is not
/// `ignore`; with p = softmax - onehot, dx = p·weight and dweight = pᵀ·x.
/// x [N, C], weight [V, C], labels [N] i32 or i64 → sum [] f32 (f64), count.
///
/// The gradients for a cotangent of 1 are formed in the forward pass, while a chunk of logits is in
/// the cache; backward scales them. That is three products instead of four with recomputed logits,
/// for one [V, C] held from forward to backward. Without a tape, or for frozen inputs, they are
/// left out. Saves dx of the counted rows, their indices, and dweight.
LossSum linear_cross_entropy(const Variable& x_in, const Variable& weight_in, const Tensor& labels,
                             int64_t ignore, int64_t chunk) {
  auto [x, weight] = autocast(kLinearCrossEntropy, x_in, weight_in);
  check<ShapeError>(x.rank() == 2, "linear_cross_entropy: x must be [N, C], got {}",
                    to_string(x.shape()));
  check<ShapeError>(
      weight.rank() == 2 && weight.dim(1) == x.dim(1),
      "linear_cross_entropy: weight must be [V, {}] (the last dimension of x), got {}; x is {}",
      x.dim(1), to_string(weight.shape()), x.value().describe());
  check<UsageError>(chunk >= 0, "linear_cross_entropy: chunk must not be negative, got {}", chunk);
  const LinearCrossEntropyOut out = linear_cross_entropy_forward(
      x.value(), weight.value(), labels, ignore, chunk, x.requires_grad(), weight.requires_grad());
  Variable sum = record(
      kLinearCrossEntropy, {x, weight}, out.loss,
      [ids = save(out.rows), drows = save(out.drows), dweight = save(out.dweight), total = x.dim(0),
       weight_shape = weight.shape(), x_type = x.dtype(),
       weight_type = weight.dtype()](const Tensor& dsum, Needs needs) {
        const double seed = dsum.item();
        Tensors gradients(2);
        if (needs[0]) gradients[0] = scatter_scaled_rows(drows(), ids(), total, seed, x_type);
        if (needs[1]) {
          gradients[1] = dweight();
          if (gradients[1].defined())
            scale_in_place(gradients[1], seed);  // nobody else holds it, and backward runs once
          else
            gradients[1] =
                Tensor::zeros(weight_shape, weight_type, dsum.device(), "linear_cross_entropy");
          gradients[1] = gradients[1].to(weight_type);
        }
        return gradients;
      });
  return {sum, out.count};
}

}  // namespace ocellus
