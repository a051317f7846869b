#include <cmath>
#include <vector>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/matmul.h"

namespace ocellus {

namespace {

// Weights of the bicubic kernel with a = -0.75 for a point at fraction t between taps 1 and 2.
void cubic_weights(double t, double (&w)[4]) {
  constexpr double a = -0.75;
  auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  w[0] = far(t + 1);
  w[1] = near(t);
  w[2] = near(1 - t);
  w[3] = far(2 - t);
}

// The map of one axis as a matrix [to, from]: half-pixel centres, taps beyond the edge take the
// edge.
std::vector<double> axis_matrix(int64_t from, int64_t to) {
  std::vector<double> matrix(static_cast<size_t>(to * from), 0.0);
  for (int64_t i = 0; i < to; ++i) {
    const double at =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const auto base = static_cast<int64_t>(std::floor(at));
    double w[4];
    cubic_weights(at - static_cast<double>(base), w);
    for (int64_t tap = 0; tap < 4; ++tap) {
      const int64_t source = std::min(std::max<int64_t>(base - 1 + tap, 0), from - 1);
      matrix[static_cast<size_t>(i * from + source)] += w[tap];
    }
  }
  return matrix;
}

// Both axes at once: [new_h·new_w, h·w].
Tensor resize_matrix(int64_t h, int64_t w, int64_t new_h, int64_t new_w, DType dtype) {
  const auto rows = axis_matrix(h, new_h), columns = axis_matrix(w, new_w);
  Tensor out = Tensor::empty({new_h * new_w, h * w}, DType::kF64, kCpu, "resize_positions");
  double* to = out.mutable_data<double>("resize_positions");
  for (int64_t i = 0; i < new_h; ++i)
    for (int64_t j = 0; j < new_w; ++j)
      for (int64_t y = 0; y < h; ++y)
        for (int64_t x = 0; x < w; ++x)
          *to++ = rows[static_cast<size_t>(i * h + y)] * columns[static_cast<size_t>(j * w + x)];
  return out.to(dtype);
}

Sample sample(Rng& r, int64_t h, int64_t w, int64_t new_h, int64_t new_w, int64_t dim) {
  return {.inputs = {r.normal({h * w, dim})},
          .run =
              [=](const Variables& in) {
                return Variables{resize_positions(in[0], h, w, new_h, new_w)};
              },
          .reference =
              [=](const Variables& in) {
                // One axis after the other, with plain products.
                const DType dtype = in[0].dtype();
                const Variable rows =
                    constant(Tensor::from(axis_matrix(h, new_h), {new_h, h}).to(dtype));
                const Variable columns =
                    constant(Tensor::from(axis_matrix(w, new_w), {new_w, w}).to(dtype));
                const Variable tall =
                    reshape(matmul(rows, reshape(in[0], {h, w * dim})), {new_h, w, dim});
                return Variables{reshape(matmul(columns, tall), {new_h * new_w, dim})};
              }};
}

}  // namespace

static const OpDef kResizePositions{
    .name = "resize_positions",
    .inputs = {{"table"}},
    .precision = Precision::kFollow,
    .samples = {{"up", [](Rng& r) { return sample(r, 3, 3, 5, 4, 4); }},
                {"odd down", [](Rng& r) { return sample(r, 5, 3, 2, 7, 3); }},
                {"same size", [](Rng& r) { return sample(r, 2, 3, 2, 3, 5); }}}};

/// resize_positions — bicubic resize of a table of positions (a = -0.75, half-pixel centres, edges
/// repeated, no antialias), as `transformers` does for other image sizes: y = M·table; dtable =
/// Mᵀ·dy.   Keys 1981. table [h·w, C] → [new_h·new_w, C].   Saves nothing but the sizes.
Variable resize_positions(const Variable& table, int64_t height, int64_t width, int64_t new_height,
                          int64_t new_width) {
  check<ShapeError>(table.rank() == 2 && height > 0 && width > 0 && table.dim(0) == height * width,
                    "resize_positions: table must be [{}·{}, C], got {}", height, width,
                    table.value().describe());
  check<ShapeError>(new_height > 0 && new_width > 0,
                    "resize_positions: the new size must be positive, got {}x{}", new_height,
                    new_width);
  auto matrix = [=](DType dtype) {
    return resize_matrix(height, width, new_height, new_width, dtype);
  };
  return record(kResizePositions, {table}, matmul_forward(matrix(table.dtype()), table.value(), {}),
                [=](const Tensor& dy, Needs) {
                  return Tensors{matmul_forward(matrix(dy.dtype()).transposed(0, 1), dy, {})};
                });
}

}  // namespace ocellus
