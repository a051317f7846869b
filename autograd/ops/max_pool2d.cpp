// Largest values of windows.
#include "engine/kernels/max_pool2d.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

// All values well apart, so that a small step changes no maximum.
Tensor distinct(Rng& r, const Shape& shape) {
  const Tensor noise = r.normal(shape);
  const auto values = noise.to_vector<double>();
  std::vector<size_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> spread(values.size());
  for (size_t rank = 0; rank < order.size(); ++rank)
    spread[order[rank]] = 4.0 * static_cast<double>(rank) / static_cast<double>(order.size()) - 2.0;
  return Tensor::from(spread, shape);
}

Sample pool_sample(Rng& r, const Shape& x, PoolShape shape) {
  return {.inputs = {distinct(r, x)},
          .run = [=](const Variables& in) { return Variables{max_pool2d(in[0], shape)}; }};
}

}  // namespace

static const OpDef kMaxPool2d{.name = "max_pool2d",
                              .inputs = {{"x"}},
                              .precision = Precision::kFollow,
                              .samples = {{"2x2",
                                           [](Rng& r) {
                                             return pool_sample(r, {2, 2, 4, 6}, {2, 2, 0});
                                           }},
                                          {"odd 3x3 overlapping, padded",
                                           [](Rng& r) {
                                             return pool_sample(r, {1, 3, 5, 7}, {3, 2, 1});
                                           }},
                                          {"large", [](Rng& r) {
                                             return pool_sample(r, {4, 8, 16, 17}, {3, 1, 1});
                                           }}}};

/// max_pool2d — y[b, c, i, j] = max of x over a K×K window at (i·s - p, j·s - p), cut to the
/// picture; the gradient goes to the first of the largest.  x [B, C, H, W] → [B, C, OH, OW], OH =
/// ⌊(H + 2p - K)/s⌋
/// + 1.  Saves where the largest were (i32).
Variable max_pool2d(const Variable& x, PoolShape shape) {
  check<ShapeError>(x.rank() == 4, "max_pool2d: x must be [B, C, H, W], got {}",
                    to_string(x.shape()));
  check<ShapeError>(
      shape.kernel > 0 && shape.stride > 0 && shape.padding >= 0 &&
          2 * shape.padding <= shape.kernel,
      "max_pool2d: kernel and stride must be positive and padding at most half the kernel, "
      "got {}, {}, {}",
      shape.kernel, shape.stride, shape.padding);
  check<ShapeError>(shape.out(x.dim(2)) > 0 && shape.out(x.dim(3)) > 0,
                    "max_pool2d: a picture of {}x{} is smaller than the window of {}x{}", x.dim(2),
                    x.dim(3), shape.kernel, shape.kernel);
  const MaxPoolOut out = max_pool2d_forward(x.value(), shape);
  return record(kMaxPool2d, {x}, out.y,
                [where = save(out.where), x_shape = x.shape(), shape](const Tensor& dy, Needs) {
                  return Tensors{max_pool2d_backward(dy, where(), x_shape, shape)};
                });
}

}  // namespace ocellus
