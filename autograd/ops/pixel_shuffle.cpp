#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/tensor.h"

namespace ocellus {

// [B, h·w, C] seen as [B, h/f, f, w/f, f, C], the two f moved in front of C.
static Tensor shuffled(const Tensor& x, int64_t height, int64_t width, int64_t f) {
  const int64_t batch = x.dim(0), c = x.dim(2);
  return x.contiguous()
      .view_as({batch, height / f, f, width / f, f, c})
      .permuted({0, 1, 3, 2, 4, 5})
      .contiguous()
      .view_as({batch, height / f * (width / f), f * f * c});
}
static Tensor unshuffled(const Tensor& y, int64_t height, int64_t width, int64_t f) {
  const int64_t batch = y.dim(0), c = y.dim(2) / (f * f);
  return y.contiguous()
      .view_as({batch, height / f, width / f, f, f, c})
      .permuted({0, 1, 3, 2, 4, 5})
      .contiguous()
      .view_as({batch, height * width, c});
}

static Sample shuffle_sample(Rng& r, const Shape& x, int64_t height, int64_t width, int64_t f) {
  return {
      .inputs = {r.normal(x)},
      .run = [=](const Variables& in) { return Variables{pixel_shuffle(in[0], height, width, f)}; },
      .reference =
          [=](const Variables& in) {
            const int64_t b = x[0], c = x[2];
            const Variable grid = reshape(in[0], {b, height / f, f, width / f, f, c});
            return Variables{reshape(permute(grid, {0, 1, 3, 2, 4, 5}),
                                     {b, height / f * (width / f), f * f * c})};
          }};
}
static const OpDef kPixelShuffle{.name = "pixel_shuffle",
                                 .inputs = {{"x"}},
                                 .precision = Precision::kFollow,
                                 .samples = {{"factor 2",
                                              [](Rng& r) {
                                                return shuffle_sample(r, {2, 16, 3}, 4, 4, 2);
                                              }},
                                             {"large",
                                              [](Rng& r) {
                                                return shuffle_sample(r, {4, 64, 72}, 8, 8, 2);
                                              }},
                                             {"odd factor 3, not square", [](Rng& r) {
                                                return shuffle_sample(r, {1, 18, 5}, 3, 6, 3);
                                              }}}};

/// pixel_shuffle — f×f neighbouring tokens into the channels, row of the block first: channel
/// (dy·f + dx)·C + c of token (i, j) is channel c of token (i·f + dy, j·f + dx); dx undoes it.
/// Laurençon et al. 2024, arXiv:2408.12637 (Idefics3).   x [B, h·w, C] → [B, (h/f)·(w/f), C·f²].
/// Saves nothing.
Variable pixel_shuffle(const Variable& x, int64_t height, int64_t width, int64_t factor) {
  check<ShapeError>(x.rank() == 3 && x.dim(1) == height * width,
                    "pixel_shuffle: x must be [B, {}·{}, C], got {}", height, width,
                    x.value().describe());
  check<ShapeError>(factor > 0 && height % factor == 0 && width % factor == 0,
                    "pixel_shuffle: factor must divide {} and {}, got {}", height, width, factor);
  return record(
      kPixelShuffle, {x}, shuffled(x.value(), height, width, factor),
      [=](const Tensor& dy, Needs) { return Tensors{unshuffled(dy, height, width, factor)}; });
}

}  // namespace ocellus
