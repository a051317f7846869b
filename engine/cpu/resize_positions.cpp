#include "engine/kernels/resize_positions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/cpu/row_blocks.h"

namespace ocellus {
namespace {

// Distance from a tap to the centre → its weight.  Keys 1981, equation 4, with a = -0.75.
double cubic(double distance) {
  constexpr double a = -0.75;
  const double d = std::fabs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? a * (((d - 5) * d + 8) * d - 4) : 0;
}

// y[i, j] = Σ over rows[i] and columns[j] of weight·weight·x[source, source].
Tensor combine(const Tensor& x_any, const Taps& rows, const Taps& columns, int64_t x_width) {
  const Tensor x = x_any.contiguous();
  const int64_t dim = x.dim(1), height = static_cast<int64_t>(rows.size());
  const int64_t width = static_cast<int64_t>(columns.size());
  Tensor y = Tensor::empty({height * width, dim}, x.dtype(), kCpu, "resize_positions");
  on_float("resize_positions", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>("resize_positions");
    parallel_for(height * width, rows_per_chunk(16 * dim), [&](int64_t begin, int64_t end) {
      std::vector<A> sum(static_cast<size_t>(dim));
      for (int64_t place = begin; place < end; ++place) {
        std::fill(sum.begin(), sum.end(), A(0));
        for (const Tap& row : rows[place / width])
          for (const Tap& column : columns[place % width]) {
            const A weight = static_cast<A>(row.weight * column.weight);
            const T* source = from + (row.source * x_width + column.source) * dim;
            for (int64_t c = 0; c < dim; ++c) sum[c] += weight * static_cast<A>(source[c]);
          }
        for (int64_t c = 0; c < dim; ++c) to[place * dim + c] = static_cast<T>(sum[c]);
      }
    });
  });
  return y;
}

}  // namespace

Taps taps_of_axis(int64_t from, int64_t to) {
  Taps taps(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double ratio = static_cast<double>(from) / static_cast<double>(to);
    const double centre = (static_cast<double>(i) + 0.5) * ratio - 0.5;
    const auto left = static_cast<int64_t>(std::floor(centre));
    for (int64_t s = left - 1; s <= left + 2; ++s)
      taps[i].push_back(
          {std::clamp<int64_t>(s, 0, from - 1), cubic(centre - static_cast<double>(s))});
  }
  return taps;
}

Taps transposed(const Taps& taps, int64_t sources) {
  Taps out(static_cast<size_t>(sources));
  for (size_t i = 0; i < taps.size(); ++i)
    for (const Tap& tap : taps[i]) out[tap.source].push_back({static_cast<int64_t>(i), tap.weight});
  return out;
}

Tensor resize_positions_forward(OnCpu, const Tensor& table, Grid from, Grid to) {
  return combine(table, taps_of_axis(from.height, to.height), taps_of_axis(from.width, to.width),
                 from.width);
}

Tensor resize_positions_backward(OnCpu, const Tensor& dy, Grid from, Grid to) {
  return combine(dy, transposed(taps_of_axis(from.height, to.height), from.height),
                 transposed(taps_of_axis(from.width, to.width), from.width), to.width);
}

}  // namespace ocellus
