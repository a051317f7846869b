#include "engine/kernels/cross_entropy.h"

#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {

// -Σ target·log_softmax, with the counted labels as a matrix of ones.
static Variable masked_sum(const Variable& logits, const Tensor& labels, int64_t ignore) {
  const auto list = labels.to_vector<int64_t>();
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  std::vector<double> target(static_cast<size_t>(rows * classes), 0.0);
  for (int64_t i = 0; i < rows; ++i)
    if (list[static_cast<size_t>(i)] != ignore)
      target[static_cast<size_t>(i * classes + list[static_cast<size_t>(i)])] = -1;
  const DType wide = logits.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const Variable log_probabilities = log_softmax(cast(logits, wide));
  return sum(mul(log_probabilities, constant(Tensor::from(target, logits.shape()).to(wide))));
}

// Labels with every third row ignored.
static Sample cross_entropy_sample(Rng& r, int64_t rows, int64_t classes, DType dtype,
                                   int64_t ignore, double spread) {
  const Tensor labels = r.integers({rows}, 0, classes, DType::kI64);
  int64_t* list = Tensor(labels).mutable_data<int64_t>("cross_entropy sample");
  for (int64_t i = 1; i < rows; i += 3) list[i] = ignore;
  return {
      .inputs = {r.normal({rows, classes}, spread), labels.to(dtype)},
      .run =
          [=](const Variables& in) {
            return Variables{cross_entropy(in[0], in[1].value(), ignore).sum};
          },
      .reference =
          [=](const Variables& in) { return Variables{masked_sum(in[0], in[1].value(), ignore)}; }};
}
static const OpDef kCrossEntropy{
    .name = "cross_entropy",
    .inputs = {{"logits"}, {"labels", NotDifferentiable{"indices"}}},
    .precision = Precision::kFull,
    .samples = {
        {"rows", [](Rng& r) { return cross_entropy_sample(r, 6, 8, DType::kI64, -100, 1); }},
        {"odd, other ignore",
         [](Rng& r) { return cross_entropy_sample(r, 5, 37, DType::kI32, -1, 4); }},
        {"odd single row",
         [](Rng& r) { return cross_entropy_sample(r, 1, 3, DType::kI64, -100, 1); }},
        {"large", [](Rng& r) { return cross_entropy_sample(r, 9, 2048, DType::kI64, -100, 2); }}}};

/// cross_entropy — Σ_i -log softmax(logits_i)[label_i] over the rows whose label is not `ignore`;
/// dlogits_i = softmax(logits_i) - onehot(label_i), zero in ignored rows.
/// logits [N, V], labels [N] i32 or i64 → sum [] f32 (f64), count.   Saves logits, labels and one
/// number a row. bf16 logits are read as they are and computed in f32, so autocast has nothing to
/// cast.
LossSum cross_entropy(const Variable& logits, const Tensor& labels, int64_t ignore) {
  check<ShapeError>(logits.rank() == 2, "cross_entropy: logits must be [N, V], got {}",
                    to_string(logits.shape()));
  const CrossEntropyOut out = cross_entropy_forward(logits.value(), labels, ignore);
  Variable sum =
      record(kCrossEntropy, {logits}, out.loss,
             [logits = save(logits), labels = save(labels), log_sum = save(out.log_sum), ignore](
                 const Tensor& dsum, Needs) {
               return Tensors{cross_entropy_backward(logits(), labels(), log_sum(), dsum, ignore)};
             });
  return {sum, out.count};
}

}  // namespace ocellus
