#include "engine/kernels/rope.h"

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {

// Angles as tables in the type that x is computed in.
static Sample sample(Rng& r, const Shape& x, int64_t rows) {
  const Tensor angle = r.uniform({rows, x[1], x[3] / 2}, -3, 3);
  auto table = [angle](const Variable& like, bool sine) {
    std::vector<double> values = angle.to_vector<double>();
    for (double& v : values) v = sine ? std::sin(v) : std::cos(v);
    return Tensor::from(values, angle.shape())
        .to(like.dtype() == DType::kF64 ? DType::kF64 : DType::kF32);
  };
  return {.inputs = {r.normal(x)},
          .run =
              [=](const Variables& in) {
                return Variables{rope(in[0], table(in[0], false), table(in[0], true))};
              },
          .reference =
              [=](const Variables& in) {
                const int64_t half = x[3] / 2;
                const Shape shape{rows, x[1], 1, half};
                const Variable c = constant(table(in[0], false).view_as(shape).to(in[0].dtype()));
                const Variable s = constant(table(in[0], true).view_as(shape).to(in[0].dtype()));
                const Variable first = slice(in[0], -1, 0, half),
                               second = slice(in[0], -1, half, 2 * half);
                return Variables{concat(
                    {sub(mul(first, c), mul(second, s)), add(mul(second, c), mul(first, s))}, -1)};
              }};
}
static const OpDef kRope{.name = "rope",
                         .inputs = {{"x"}},
                         .precision = Precision::kFollow,
                         .samples = {{"shared positions",
                                      [](Rng& r) {
                                        return sample(r, {2, 3, 2, 8}, 1);
                                      }},
                                     {"odd, own positions",
                                      [](Rng& r) {
                                        return sample(r, {3, 5, 1, 6}, 3);
                                      }},
                                     {"large", [](Rng& r) {
                                        return sample(r, {4, 60, 4, 32}, 4);
                                      }}}};

/// rope — y = x·cos + rotate_half(x)·sin per head, the halves form of Llama; dx turns dy back.
/// Su et al. 2021, arXiv:2104.09864.   x [B, T, H, D], cos and sin [B or 1, T, D/2].   Saves cos
/// and sin.
Variable rope(const Variable& x, const Tensor& cos, const Tensor& sin) {
  check<ShapeError>(x.rank() == 4 && x.dim(3) % 2 == 0,
                    "rope: x must be [B, T, H, D] with even D, got {}", x.value().describe());
  for (const Tensor* table : {&cos, &sin})
    check<ShapeError>(table->rank() == 3 && (table->dim(0) == 1 || table->dim(0) == x.dim(0)) &&
                          table->dim(1) == x.dim(1) && table->dim(2) == x.dim(3) / 2,
                      "rope: cos and sin must be [{} or 1, {}, {}], got {}; x is {}", x.dim(0),
                      x.dim(1), x.dim(3) / 2, to_string(table->shape()), x.value().describe());
  return record(kRope, {x}, rope_forward(x.value(), cos, sin, false),
                [cos = save(cos), sin = save(sin)](const Tensor& dy, Needs) {
                  return Tensors{rope_forward(dy, cos(), sin(), true)};
                });
}

}  // namespace ocellus
