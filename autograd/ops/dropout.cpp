#include "engine/kernels/dropout.h"

#include <cmath>

#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {

// The mask word by word, then a product.
static Variable masked(const Variable& x, float p, RngKey key) {
  std::vector<double> mask(static_cast<size_t>(x.value().numel()));
  for (size_t i = 0; i < mask.size(); ++i)
    mask[i] = static_cast<double>(key.word(i)) >= std::floor(static_cast<double>(p) * 0x1p32)
                  ? 1 / (1 - static_cast<double>(p))
                  : 0.0;
  return mul(x, constant(Tensor::from(mask, x.shape()).to(x.dtype())));
}

static Sample dropout_sample(Rng& r, const Shape& shape, float p) {
  const RngKey key = r.key();
  return {.inputs = {r.normal(shape)},
          .run = [=](const Variables& in) { return Variables{dropout(in[0], p, key)}; },
          .reference = [=](const Variables& in) { return Variables{masked(in[0], p, key)}; }};
}
static const OpDef kDropout{
    .name = "dropout",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"half",
                 [](Rng& r) {
                   return dropout_sample(r, {4, 8}, 0.5f);
                 }},
                {"odd, a tenth",
                 [](Rng& r) {
                   return dropout_sample(r, {3, 1, 7}, 0.1f);
                 }},
                {"odd, none", [](Rng& r) { return dropout_sample(r, {5}, 0.0f); }},
                {"large", [](Rng& r) {
                   return dropout_sample(r, {35, 1001}, 0.25f);
                 }}}};

/// dropout — y[i] = x[i]·keep_i/(1 - p), keep_i = [word i of `key` ≥ p·2³²];  dx[i] =
/// dy[i]·keep_i/(1 - p). 0 ≤ p < 1.   Saves only the key: the mask is drawn again in backward.
/// Given the same key the result depends on nothing else, so a replayed step (checkpointing) drops
/// the same elements.
Variable dropout(const Variable& x, float p, RngKey key) {
  check<UsageError>(p >= 0 && p < 1, "dropout: p must be in [0, 1), got {}", p);
  const double probability = static_cast<double>(p);
  Tensor y = dropout_forward(x.value(), probability, key);
  return record(kDropout, {x}, y, [probability, key](const Tensor& dy, Needs) {
    return Tensors{dropout_forward(dy, probability, key)};
  });
}

}  // namespace ocellus
