// Bicubic resize of a table of positions.
#include "engine/kernels/resize_positions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

// One axis as a matrix [to, from], written apart from the kernel: the cubic through four neighbours
// with slopes a·(difference of the outer ones), a = -0.75, in Hermite form.
Tensor axis_matrix(int64_t from, int64_t to) {
  Tensor out = Tensor::zeros({to, from}, DType::kF64);
  double* matrix = out.mutable_data<double>("resize_positions");
  for (int64_t i = 0; i < to; ++i) {
    const double at = (2.0 * static_cast<double>(i) + 1.0) * static_cast<double>(from) /
                          (2.0 * static_cast<double>(to)) -
                      0.5;
    const double left = std::floor(at), t = at - left, s = 1 - t;
    const double weights[4] = {-0.75 * t * s * s, (1 + 2 * t) * s * s + 0.75 * t * t * s,
                               (1 + 2 * s) * t * t + 0.75 * s * s * t, -0.75 * s * t * t};
    for (int64_t k = 0; k < 4; ++k) {
      const int64_t source = std::clamp<int64_t>(static_cast<int64_t>(left) - 1 + k, 0, from - 1);
      matrix[i * from + source] += weights[k];
    }
  }
  return out;
}

Sample resize_sample(Rng& r, Grid from, Grid to, int64_t dim) {
  return {
      .inputs = {r.normal({from.height * from.width, dim})},
      .run =
          [=](const Variables& in) {
            return Variables{resize_positions(in[0], from.height, from.width, to.height, to.width)};
          },
      .reference =
          [=](const Variables& in) {
            // One axis after the other, as products of matrices.
            const DType dtype = in[0].dtype();
            const Variable rows = constant(axis_matrix(from.height, to.height).to(dtype));
            const Variable columns = constant(axis_matrix(from.width, to.width).to(dtype));
            const Variable tall = matmul(rows, reshape(in[0], {from.height, from.width * dim}));
            const Variable wide = matmul(columns, reshape(tall, {to.height, from.width, dim}));
            return Variables{reshape(wide, {to.height * to.width, dim})};
          }};
}

}  // namespace

static const OpDef kResizePositions{.name = "resize_positions",
                                    .inputs = {{"table"}},
                                    .precision = Precision::kFollow,
                                    .samples = {{"up",
                                                 [](Rng& r) {
                                                   return resize_sample(r, {3, 3}, {5, 4}, 4);
                                                 }},
                                                {"odd down and up",
                                                 [](Rng& r) {
                                                   return resize_sample(r, {5, 3}, {2, 7}, 3);
                                                 }},
                                                {"same size",
                                                 [](Rng& r) {
                                                   return resize_sample(r, {2, 3}, {2, 3}, 5);
                                                 }},
                                                {"large", [](Rng& r) {
                                                   return resize_sample(r, {6, 7}, {9, 8}, 24);
                                                 }}}};

/// resize_positions — bicubic resize of a table of positions (a = -0.75, half-pixel centres, edges
/// repeated, no antialias), for images of another size than the table was trained for. Linear:
/// y = M·table, dtable = Mᵀ·dy.  Keys 1981.  table [h·w, C] → [new_h·new_w, C].  Saves nothing.
/// Equal sizes hand the table on as it is.
Variable resize_positions(const Variable& table, int64_t height, int64_t width, int64_t new_height,
                          int64_t new_width) {
  check<ShapeError>(table.rank() == 2 && height > 0 && width > 0 && table.dim(0) == height * width,
                    "resize_positions: table must be [{}·{}, C], got {}", height, width,
                    table.value().describe());
  check<ShapeError>(new_height > 0 && new_width > 0,
                    "resize_positions: the new size must be positive, got {}×{}", new_height,
                    new_width);
  if (height == new_height && width == new_width)
    return record(kResizePositions, {table}, table.value(),
                  [](const Tensor& dy, Needs) { return Tensors{dy}; });
  const Grid from{height, width}, to{new_height, new_width};
  return record(kResizePositions, {table}, resize_positions_forward(table.value(), from, to),
                [from, to](const Tensor& dy, Needs) {
                  return Tensors{resize_positions_backward(dy, from, to)};
                });
}

}  // namespace ocellus
