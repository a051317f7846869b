// The two losses of image-text pairs over a matrix of similarities [N, N].
// Parallelisation: a block a row; the log-sums of columns by a thread a column, which reads rows in
// lines. Traffic: sigmoid reads the similarities twice and writes the gradient over them; softmax
// reads them four times. Losses of rows are added up in double; the result's three numbers go to
// the host, so the calling thread waits.
#include "engine/kernels/contrastive.h"

#include <cmath>

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/online_softmax.cuh"
#include "cuda/device/total.cuh"

namespace ocellus {
namespace {

// Of each row: loss, Σ g·(l - bias), Σ g, in three lists of N.
struct RowSums {
  float *loss, *dscale, *dbias;
};

__global__ void sigmoid_kernel(float* similarity, int64_t n, float scale, float bias, bool gradient,
                               RowSums sums) {
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
    float* x = similarity + row * n;
    Sum<float> loss, dscale, dbias;
    for (int64_t j = threadIdx.x; j < n; j += blockDim.x) {
      const float scaled = scale * x[j], sign = j == row ? -1.0f : 1.0f;
      loss.push(math::softplus(sign * (scaled + bias)));
      if (!gradient) continue;
      const float g = sign * math::sigmoid(sign * (scaled + bias));
      dscale.push(g * scaled);
      dbias.push(g);
      x[j] = g;
    }
    loss = block_reduce(loss);
    dscale = block_reduce(dscale);
    dbias = block_reduce(dbias);
    if (threadIdx.x == 0) {
      sums.loss[row] = loss.value;
      sums.dscale[row] = dscale.value;
      sums.dbias[row] = dbias.value;
    }
  }
}

// log Σ_i e^{scale·x[i, j]} of every column.
__global__ void column_log_sums_kernel(const float* x, int64_t n, float scale, float* log_sums) {
  for (int64_t j = grid_thread(); j < n; j += grid_threads()) {
    OnlineSoftmax<float> sum;
    for (int64_t i = 0; i < n; ++i) sum.push(scale * x[i * n + j]);
    log_sums[j] = sum.log_sum();
  }
}

__global__ void softmax_kernel(float* similarity, const float* column_log_sums, int64_t n,
                               float scale, bool gradient, RowSums sums) {
  for (int64_t row = blockIdx.x; row < n; row += gridDim.x) {
    float* x = similarity + row * n;
    const float diagonal = scale * x[row];
    OnlineSoftmax<float> part;
    for (int64_t j = threadIdx.x; j < n; j += blockDim.x) part.push(scale * x[j]);
    const float log_sum = block_reduce(part).log_sum();  // all have read the diagonal after this
    Sum<float> dscale;
    for (int64_t j = threadIdx.x; gradient && j < n; j += blockDim.x) {
      const float l = scale * x[j];
      const float both = math::exp(l - log_sum) + math::exp(l - column_log_sums[j]);
      const float g = 0.5f * both - (j == row ? 1.0f : 0.0f);
      dscale.push(g * l);
      x[j] = g;
    }
    dscale = block_reduce(dscale);
    if (threadIdx.x == 0) {
      sums.loss[row] = 0.5f * (log_sum + column_log_sums[row]) - diagonal;
      sums.dscale[row] = dscale.value;
      sums.dbias[row] = 0.0f;
    }
  }
}

// --- host ---

/// start(device, similarities, n, sums of rows) launches; the rows are added up here.
template <class Start>
ContrastiveOut run(const char* op, OnCuda device, Tensor& similarity, bool gradient,
                   Start&& start) {
  const int64_t n = similarity.dim(0);
  check<DTypeError>(similarity.dtype() == DType::kF32, "{}: similarities must be f32, got {}", op,
                    dtype_name(similarity.dtype()));
  Tensor rows = Tensor::zeros({3, n}, DType::kF32, device_of(device), op);
  float* list = rows.mutable_data<float>(op);
  if (n > 0) start(similarity.mutable_data<float>(op), n, RowSums{list, list + n, list + 2 * n});
  const std::vector<double> sums = totals<float>(op, device, rows).to_vector<double>();
  return {Tensor::scalar(sums[0], DType::kF32, device_of(device)), gradient ? similarity : Tensor(),
          sums[1], sums[2]};
}

}  // namespace

ContrastiveOut sigmoid_contrastive_forward(OnCuda device, Tensor similarity, double log_scale,
                                           double bias, bool gradient) {
  constexpr const char* kName = "sigmoid_contrastive";
  return run(kName, device, similarity, gradient, [&](float* x, int64_t n, RowSums sums) {
    launch(kName, device.index, sigmoid_kernel, grid_for(device.index, n, 1), x, n,
           static_cast<float>(std::exp(log_scale)), static_cast<float>(bias), gradient, sums);
  });
}

ContrastiveOut softmax_contrastive_forward(OnCuda device, Tensor similarity, double log_scale,
                                           bool gradient) {
  constexpr const char* kName = "softmax_contrastive";
  const auto scale = static_cast<float>(std::exp(log_scale));
  return run(kName, device, similarity, gradient, [&](float* x, int64_t n, RowSums sums) {
    Tensor columns = Tensor::empty({n}, DType::kF32, device_of(device), kName);
    float* log_sums = columns.mutable_data<float>(kName);
    launch("softmax_contrastive_columns", device.index, column_log_sums_kernel,
           grid_for(device.index, n, 64, 64), x, n, scale, log_sums);
    launch(kName, device.index, softmax_kernel, grid_for(device.index, n, 1), x, log_sums, n, scale,
           gradient, sums);
  });
}

}  // namespace ocellus
