// Bicubic resize of a table of positions.
#pragma once
#include <vector>

#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// Grid — rows and columns of a table of positions; position (i, j) is row i·width + j of the
/// table.
struct Grid {
  int64_t height, width;
};

/// Taps — for each place along one axis what flows into it; at the edges several taps fall on one
/// source.
struct Tap {
  int64_t source;
  double weight;
};
using Taps = std::vector<std::vector<Tap>>;

/// taps_of_axis — the four taps of each of `to` places among `from`, see resize_positions_forward.
Taps taps_of_axis(int64_t from, int64_t to);
/// transposed — for each source the places that it flows into.
Taps transposed(const Taps& taps, int64_t sources);

/// resize_positions_forward — y[i, j] = Σ of 4×4 taps of the table with the weights of the cubic
/// kernel of Keys 1981 for a = -0.75; the centre of output i lies at (i + ½)·from/to - ½, taps
/// beyond an edge take the edge, nothing is smoothed when shrinking: `bicubic` of PyTorch's
/// interpolate. table [from.height·from.width, C] → [to.height·to.width, C].
Tensor resize_positions_forward(OnCpu, const Tensor& table, Grid from, Grid to);
CUDA_TWIN Tensor resize_positions_forward(OnCuda, const Tensor& table, Grid from, Grid to);
inline Tensor resize_positions_forward(const Tensor& table, Grid from, Grid to) {
  return on_device("resize_positions", table.device(),
                   [&](auto device) { return resize_positions_forward(device, table, from, to); });
}

/// resize_positions_backward — the transposed map: dtable from dy [to.height·to.width, C]. Each row
/// of dtable gathers what reaches it, in order of the output.
Tensor resize_positions_backward(OnCpu, const Tensor& dy, Grid from, Grid to);
CUDA_TWIN Tensor resize_positions_backward(OnCuda, const Tensor& dy, Grid from, Grid to);
inline Tensor resize_positions_backward(const Tensor& dy, Grid from, Grid to) {
  return on_device("resize_positions", dy.device(),
                   [&](auto device) { return resize_positions_backward(device, dy, from, to); });
}

}  // namespace ocellus
