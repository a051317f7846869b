#include "engine/kernels/rope.h"

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {

static Sample rope_sample(Rng& r, const Shape& x, int64_t rows) {
  std::vector<double> cosines, sines;
  const Shape table{rows, x[1], x[3] / 2};
  for (double angle : r.uniform(table, -3, 3).to_vector<double>()) {
    cosines.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
  return {
      .inputs = {r.normal(x), Tensor::from(cosines, table), Tensor::from(sines, table)},
      .run =
          [](const Variables& in) { return Variables{rope(in[0], in[1].value(), in[2].value())}; },
      .reference =
          [=](const Variables& in) {
            const int64_t half = x[3] / 2;
            const Variable c = reshape(in[1], {rows, x[1], 1, half});
            const Variable s = reshape(in[2], {rows, x[1], 1, half});
            const Variables part = split(in[0], {half, half}, -1);
            return Variables{concat(
                {sub(mul(part[0], c), mul(part[1], s)), add(mul(part[1], c), mul(part[0], s))},
                -1)};
          }};
}
static const OpDef kRope{
    .name = "rope",
    .inputs = {{"x"},
               {"cos", NotDifferentiable{"a table of positions"}},
               {"sin", NotDifferentiable{"a table of positions"}}},
    .precision = Precision::kFollow,  // of x alone: the tables stay as they are
    .samples = {{"shared positions",
                 [](Rng& r) {
                   return rope_sample(r, {2, 3, 2, 8}, 1);
                 }},
                {"odd, own positions",
                 [](Rng& r) {
                   return rope_sample(r, {3, 5, 1, 6}, 3);
                 }},
                {"large", [](Rng& r) {
                   return rope_sample(r, {3, 60, 4, 32}, 3);
                 }}}};

/// rope — y = x·cos + rotate_half(x)·sin per head, the halves form of Llama; dx turns dy back.
/// Su et al. 2021, arXiv:2104.09864.   x [B, T, H, D], cos and sin [B or 1, T, D/2].   Saves cos
/// and sin.
Variable rope(const Variable& x, const Tensor& cos, const Tensor& sin) {
  check<ShapeError>(x.rank() == 4 && x.dim(3) % 2 == 0,
                    "rope: x must be [B, T, H, D] with even D, got {}", x.value().describe());
  check<ShapeError>(
      cos.rank() == 3 && (cos.dim(0) == 1 || cos.dim(0) == x.dim(0)) && cos.dim(1) == x.dim(1) &&
          cos.dim(2) == x.dim(3) / 2 && sin.shape() == cos.shape(),
      "rope: cos and sin must be [{} or 1, {}, {}] (B, T, D/2 of x), got {} and {}; x is {}",
      x.dim(0), x.dim(1), x.dim(3) / 2, to_string(cos.shape()), to_string(sin.shape()),
      x.value().describe());
  return record(kRope, {x, constant(cos), constant(sin)}, rope_forward(x.value(), cos, sin, false),
                [cos = save(cos), sin = save(sin)](const Tensor& dy, Needs) {
                  return Tensors{rope_forward(dy, cos(), sin(), true), {}, {}};
                });
}

}  // namespace ocellus
