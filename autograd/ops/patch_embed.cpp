#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/linear.h"
#include "engine/kernels/patches.h"

namespace ocellus {

static Sample patch_sample(Rng& r, const Shape& pixels, int64_t dim, int64_t patch, bool with_bias) {
  Sample s{.inputs = {r.normal(pixels), r.normal({dim, pixels[1], patch, patch})},
           .run =
               [=](const Variables& in) {
                 return Variables{patch_embed(in[0], in[1], with_bias ? in[2] : Variable())};
               },
           .reference =
               [=](const Variables& in) {
                 const int64_t b = pixels[0], c = pixels[1], h = pixels[2] / patch,
                               w = pixels[3] / patch;
                 const Variable inner = slice(slice(in[0], 2, 0, h * patch), 3, 0, w * patch);
                 const Variable grid =
                     permute(reshape(inner, {b, c, h, patch, w, patch}), {0, 2, 4, 1, 3, 5});
                 return Variables{linear(reshape(grid, {b, h * w, c * patch * patch}),
                                         reshape(in[1], {dim, c * patch * patch}),
                                         with_bias ? in[2] : Variable())};
               }};
  if (with_bias) s.inputs.push_back(r.normal({dim}));
  return s;
}
static const OpDef kPatchEmbed{.name = "patch_embed",
                               .inputs = {{"pixels"}, {"weight"}, {"bias"}},
                               .precision = Precision::kLow,
                               .samples = {{"patch 4",
                                            [](Rng& r) {
                                              return patch_sample(r, {2, 3, 8, 12}, 5, 4, true);
                                            }},
                                           {"odd patch 3 with a rest",
                                            [](Rng& r) {
                                              return patch_sample(r, {1, 3, 7, 10}, 7, 3, false);
                                            }},
                                           {"large", [](Rng& r) {
                                              return patch_sample(r, {6, 3, 32, 32}, 16, 8, true);
                                            }}}};

/// patch_embed — a convolution whose stride is its kernel: row n = W·patch_n + b; rows and columns
/// that fill no patch are left out, as a convolution does. dpixels = Wᵀ·dy put back, dW =
/// dyᵀ·patches. Dosovitskiy et al. 2020, arXiv:2010.11929.   pixels [B, 3, H, W], weight [C, 3, P,
/// P], bias [C] or absent → [B, (H/P)·(W/P), C].   Saves the pixels (cut into patches again in
/// backward) and weight.
Variable patch_embed(const Variable& pixels_in, const Variable& weight_in,
                     const Variable& bias_in) {
  auto [pixels, weight, bias] = autocast(kPatchEmbed, pixels_in, weight_in, bias_in);
  check<ShapeError>(pixels.rank() == 4, "patch_embed: pixels must be [B, 3, H, W], got {}",
                    pixels.value().describe());
  check<ShapeError>(
      weight.rank() == 4 && weight.dim(1) == pixels.dim(1) && weight.dim(2) == weight.dim(3) &&
          weight.dim(2) > 0,
      "patch_embed: weight must be [C, {}, P, P] (channels of the pixels), got {}; pixels are {}",
      pixels.dim(1), to_string(weight.shape()), pixels.value().describe());
  const int64_t dim = weight.dim(0), patch = weight.dim(2), size = weight.dim(1) * patch * patch;
  check<ShapeError>(pixels.dim(2) >= patch && pixels.dim(3) >= patch,
                    "patch_embed: pixels must be at least {0}x{0}, got {1}", patch,
                    pixels.value().describe());
  check<ShapeError>(!bias.defined() || bias.shape() == Shape{dim},
                    "patch_embed: bias must be [{}], got {}", dim, to_string(bias.shape()));
  const Tensor flat = weight.value().reshaped({dim, size});
  const Tensor y = linear_forward(patches_of(pixels.value(), patch), flat, bias.value());
  const int64_t count = pixels.dim(2) / patch * (pixels.dim(3) / patch);
  return record(kPatchEmbed, {pixels, weight, bias}, y.view_as({pixels.dim(0), count, dim}),
                [px = save(pixels), w = save(weight), shape = pixels.shape(), dim, patch, size](
                    const Tensor& dy, Needs needs) {
                  const Tensor rows = dy.reshaped({-1, dim});
                  Tensors gradients(3);
                  if (needs[0])
                    gradients[0] = pixels_of(linear_backward_input(rows, w().reshaped({dim, size})),
                                             shape, patch);
                  if (needs[1])
                    gradients[1] =
                        linear_backward_weight(rows, patches_of(px(), patch), w().dtype())
                            .view_as(w().shape());
                  if (needs[2]) gradients[2] = linear_backward_bias(rows, w().dtype());
                  return gradients;
                });
}

}  // namespace ocellus
