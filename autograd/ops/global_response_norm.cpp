// Global response normalisation of ConvNeXt V2.
#include "autograd/op_def.h"
#include "autograd/ops.h"

namespace ocellus {

static Sample grn_sample(Rng& r, const Shape& x) {
  return {.inputs = {r.normal(x), r.normal({x.back()}), r.normal({x.back()})},
          .run = [](const Variables& in) {
            return Variables{global_response_norm(in[0], in[1], in[2])};
          }};
}
static const OpDef kGlobalResponseNorm{.name = "global_response_norm",
                                       .inputs = {{"x"}, {"weight"}, {"bias"}},
                                       .precision = Precision::kFollow,
                                       .samples = {{"4 channels",
                                                    [](Rng& r) {
                                                      return grn_sample(r, {2, 3, 2, 4});
                                                    }},
                                                   {"odd sizes",
                                                    [](Rng& r) {
                                                      return grn_sample(r, {1, 1, 5, 7});
                                                    }},
                                                   {"large",
                                                    [](Rng& r) {
                                                      return grn_sample(r, {2, 16, 16, 48});
                                                    }}},
                                       .composite = true};

/// global_response_norm — y = w·x·n + b + x with n = g/(mean over channels of g + 1e-6), g = ‖x‖₂
/// over the picture, by channel.  Woo et al. 2023, arXiv:2301.00808, algorithm 1.  x [B, H, W, C],
/// weight and bias [C].  Made of elementwise ops and sums.
Variable global_response_norm(const Variable& x, const Variable& weight, const Variable& bias) {
  check<ShapeError>(x.rank() == 4, "global_response_norm: x must be [B, H, W, C], got {}",
                    to_string(x.shape()));
  const int64_t channels = x.dim(3);
  for (const auto& [name, v] : {std::pair{"weight", &weight}, std::pair{"bias", &bias}})
    check<ShapeError>(v->rank() > 0 && v->dim(-1) == channels && v->value().numel() == channels,
                      "global_response_norm: {} must be [{}] for the {} channels of x, got {}",
                      name, channels, channels, to_string(v->shape()));
  const Variable norm = sqrt(sum(square(x), {1, 2}, true));
  const Variable relative = div(norm, add(mean_last(norm), 1e-6));
  return add(add(mul(weight, mul(x, relative)), bias), x);
}

}  // namespace ocellus
