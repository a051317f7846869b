// Bicubic resize of a table of positions, and its transposed map: every row of the result gathers.
// Parallelisation: a block a row of the result, columns over its threads. The taps of both axes are
// made on the host, in double. Traffic: 16 rows read for each written, from L2 for tables of this
// size.
#include "engine/kernels/resize_positions.h"

#include "cuda/device/launch.h"

namespace ocellus {
namespace {

/// Taps of one axis on the device: those of place i are first[i] … first[i + 1] - 1.
struct AxisTaps {
  Tensor first, source, weight;

  AxisTaps(const Taps& taps, Device device) {
    std::vector<int64_t> firsts{0}, sources;
    std::vector<double> weights;
    for (const auto& place : taps) {
      for (const Tap& tap : place) {
        sources.push_back(tap.source);
        weights.push_back(tap.weight);
      }
      firsts.push_back(static_cast<int64_t>(sources.size()));
    }
    const auto count = static_cast<int64_t>(sources.size());
    first = Tensor::from(firsts, {static_cast<int64_t>(firsts.size())}).to(device);
    source = Tensor::from(sources, {count}).to(device);
    weight = Tensor::from(weights, {count}).to(device);
  }
};
struct AxisPointers {
  const int64_t *first, *source;
  const double* weight;
  explicit AxisPointers(const AxisTaps& taps)
      : first(taps.first.data<int64_t>()),
        source(taps.source.data<int64_t>()),
        weight(taps.weight.data<double>()) {}
};

template <class T>
__global__ void combine_kernel(const T* x, AxisPointers rows, AxisPointers columns, int64_t x_width,
                               int64_t places, int64_t width, int64_t dim, T* y) {
  using A = AccT<T>;
  for (int64_t place = blockIdx.x; place < places; place += gridDim.x) {
    const int64_t i = place / width, j = place % width;
    for (int64_t c = threadIdx.x; c < dim; c += blockDim.x) {
      A sum = A(0);
      for (int64_t r = rows.first[i]; r < rows.first[i + 1]; ++r)
        for (int64_t k = columns.first[j]; k < columns.first[j + 1]; ++k) {
          const A weight = static_cast<A>(rows.weight[r] * columns.weight[k]);
          const int64_t source = rows.source[r] * x_width + columns.source[k];
          sum += weight * static_cast<A>(x[source * dim + c]);
        }
      y[place * dim + c] = static_cast<T>(sum);
    }
  }
}

Tensor combine(OnCuda device, const Tensor& x_any, const Taps& rows, const Taps& columns,
               int64_t x_width) {
  const Tensor x = x_any.contiguous();
  const int64_t dim = x.dim(1), width = static_cast<int64_t>(columns.size());
  const int64_t places = static_cast<int64_t>(rows.size()) * width;
  Tensor y = Tensor::empty({places, dim}, x.dtype(), device_of(device), "resize_positions");
  const AxisTaps row_taps(rows, device_of(device)), column_taps(columns, device_of(device));
  on_cuda_float("resize_positions", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (y.numel() > 0)
      launch("resize_positions", device.index, combine_kernel<T>,
             grid_for(device.index, places, 1, 128), x.data<T>(), AxisPointers(row_taps),
             AxisPointers(column_taps), x_width, places, width, dim,
             y.mutable_data<T>("resize_positions"));
  });
  return y;
}

}  // namespace

Tensor resize_positions_forward(OnCuda device, const Tensor& table, Grid from, Grid to) {
  return combine(device, table, taps_of_axis(from.height, to.height),
                 taps_of_axis(from.width, to.width), from.width);
}

Tensor resize_positions_backward(OnCuda device, const Tensor& dy, Grid from, Grid to) {
  return combine(device, dy, transposed(taps_of_axis(from.height, to.height), from.height),
                 transposed(taps_of_axis(from.width, to.width), from.width), to.width);
}

}  // namespace ocellus
