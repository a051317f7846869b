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

// One axis of the antialiased resize: the cubic with a = -0.5, widened by from/to where the axis
// shrinks, its weights over the places that exist made to add up to one.
Tensor smooth_axis_matrix(int64_t from, int64_t to) {
  Tensor out = Tensor::zeros({to, from}, DType::kF64);
  double* matrix = out.mutable_data<double>("resize_positions_antialias");
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  auto cubic = [](double distance) {
    const double d = std::fabs(distance);
    if (d <= 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? -0.5 * (((d - 5) * d + 8) * d - 4) : 0;
  };
  for (int64_t i = 0; i < to; ++i, matrix += from) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max<int64_t>(0, static_cast<int64_t>(centre - 2 * stretch + 0.5));
    const auto end = std::min(from, static_cast<int64_t>(centre + 2 * stretch + 0.5));
    double sum = 0;
    for (int64_t j = begin; j < end; ++j)
      sum += matrix[j] = cubic((static_cast<double>(j) + 0.5 - centre) / stretch);
    for (int64_t j = begin; j < end; ++j) matrix[j] /= sum;
  }
  return out;
}

// y = rows·table·columnsᵀ for every channel.
Variable resized_by(const Variable& table, const Tensor& rows, const Tensor& columns) {
  const int64_t height = rows.dim(1), width = columns.dim(1), dim = table.dim(1);
  const Device where = table.value().device();
  const Variable tall =
      matmul(constant(rows.to(table.dtype()).to(where)), reshape(table, {height, width * dim}));
  const Variable wide = matmul(constant(columns.to(table.dtype()).to(where)),
                               reshape(tall, {rows.dim(0), width, dim}));
  return reshape(wide, {rows.dim(0) * columns.dim(0), dim});
}

void check_sizes(const char* op, const Variable& table, Grid from, Grid to) {
  check<ShapeError>(table.rank() == 2 && from.height > 0 && from.width > 0 &&
                        table.dim(0) == from.height * from.width,
                    "{}: table must be [{}·{}, C], got {}", op, from.height, from.width,
                    table.value().describe());
  check<ShapeError>(to.height > 0 && to.width > 0, "{}: the new size must be positive, got {}×{}",
                    op, to.height, to.width);
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
            return Variables{resized_by(in[0], axis_matrix(from.height, to.height),
                                        axis_matrix(from.width, to.width))};
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
                                                {"long",
                                                 [](Rng& r) {
                                                   return resize_sample(r, {1, 130}, {1, 117}, 2);
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
  const Grid from{height, width}, to{new_height, new_width};
  check_sizes("resize_positions", table, from, to);
  if (height == new_height && width == new_width)
    return record(kResizePositions, {table}, table.value(),
                  [](const Tensor& dy, Needs) { return Tensors{dy}; });
  return record(kResizePositions, {table}, resize_positions_forward(table.value(), from, to),
                [from, to](const Tensor& dy, Needs) {
                  return Tensors{resize_positions_backward(dy, from, to)};
                });
}

static Sample antialias_sample(Rng& r, Grid from, Grid to, int64_t dim) {
  return {.inputs = {r.normal({from.height * from.width, dim})}, .run = [=](const Variables& in) {
            return Variables{
                resize_positions_antialias(in[0], from.height, from.width, to.height, to.width)};
          }};
}
static const OpDef kResizePositionsAntialias{
    .name = "resize_positions_antialias",
    .inputs = {{"table"}},
    .precision = Precision::kFollow,
    .samples = {{"up",
                 [](Rng& r) {
                   return antialias_sample(r, {3, 3}, {5, 4}, 4);
                 }},
                {"odd down and up",
                 [](Rng& r) {
                   return antialias_sample(r, {5, 3}, {2, 7}, 3);
                 }},
                {"large",
                 [](Rng& r) {
                   return antialias_sample(r, {20, 21}, {28, 24}, 64);
                 }}},
    .composite = true};

/// resize_positions_antialias — bicubic resize of a table of positions as pictures are resized: a =
/// -0.5, the kernel widened where an axis shrinks, weights beyond the edge left out. `antialias` of
/// PyTorch's interpolate, which DINOv2 with registers asks for.  table [h·w, C] → [new_h·new_w, C].
/// Made of matmul, since a table is resized once for many pictures.
Variable resize_positions_antialias(const Variable& table, int64_t height, int64_t width,
                                    int64_t new_height, int64_t new_width) {
  check_sizes("resize_positions_antialias", table, {height, width}, {new_height, new_width});
  return resized_by(table, smooth_axis_matrix(height, new_height),
                    smooth_axis_matrix(width, new_width));
}

}  // namespace ocellus
