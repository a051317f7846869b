// Updates of optimizers, and what training asks of gradients. One pass each: AdamW reads 16 and
// writes 12 bytes a parameter. Sums of squares in double, by blocks of fixed length: the same bits
// in every run. global_norm and has_nonfinite give the host a number, so the calling thread waits.
#include "engine/kernels/optim.h"

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/rows.cuh"
#include "cuda/device/total.cuh"

namespace ocellus {
namespace {

__global__ void adamw_kernel(float* p, const float* g, float* m, float* v, int64_t count,
                             AdamWElement<float> update) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) update(p[i], g[i], m[i], v[i]);
}

struct SgdNumbers {
  float rate, momentum, decay, scale;
};
__global__ void sgd_kernel(float* p, const float* g, float* b, int64_t count, SgdNumbers s) {
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    b[i] = s.momentum * b[i] + g[i] * s.scale + s.decay * p[i];
    p[i] -= s.rate * b[i];
  }
}

constexpr int64_t kChunk = 65536;

// sums[chunk] = Σ x² of the chunk; with `nonfinite` the number of elements that are NaN or
// infinite.
template <class T, bool nonfinite>
__global__ void chunks_kernel(const T* x, int64_t count, int64_t chunks, double* sums) {
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const int64_t begin = chunk * kChunk;
    Sum<double> sum;
    for_elements(x + begin, count - begin < kChunk ? count - begin : kChunk,
                 [&](float value, int64_t) {
                   if constexpr (nonfinite)
                     sum.push(value * 0.0f == 0.0f ? 0.0 : 1.0);
                   else
                     sum.push(static_cast<double>(value) * static_cast<double>(value));
                 });
    sum = block_reduce(sum);
    if (threadIdx.x == 0) sums[chunk] = sum.value;
  }
}

template <bool nonfinite>
double sum_of_chunks(const char* op, OnCuda device, const Tensor& x_any) {
  if (x_any.numel() == 0) return 0;
  const Tensor x = x_any.contiguous();
  const int64_t chunks = (x.numel() + kChunk - 1) / kChunk;
  Tensor sums = Tensor::empty({1, chunks}, DType::kF64, device_of(device), op);
  on_cuda_float(op, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(op, device.index, chunks_kernel<T, nonfinite>, grid_for(device.index, chunks, 1),
           x.data<T>(), x.numel(), chunks, sums.mutable_data<double>(op));
  });
  return totals<double>(op, device, sums).item();
}

void check_same(const char* op, const Tensor& parameter, const Tensor& other, const char* name) {
  check<ShapeError>(
      other.shape() == parameter.shape() && other.dtype() == DType::kF32 && other.is_contiguous(),
      "{}: {} must be contiguous {} f32, got {}", op, name, to_string(parameter.shape()),
      other.describe());
}

}  // namespace

void adamw_step(OnCuda device, Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                const AdamWStep& step) {
  check_same_device("adamw", device, {&parameter, &gradient, &m, &v});
  check_same("adamw", parameter, parameter, "the parameter");
  check_same("adamw", parameter, gradient, "the gradient");
  check_same("adamw", parameter, m, "the first moment");
  check_same("adamw", parameter, v, "the second moment");
  check<UsageError>(step.step >= 1, "adamw: steps count from 1, got {}", step.step);
  if (parameter.numel() == 0) return;
  launch("adamw", device.index, adamw_kernel,
         grid_for(device.index, parameter.numel(), kBlockThreads),
         parameter.mutable_data<float>("adamw"), gradient.data<float>(),
         m.mutable_data<float>("adamw"), v.mutable_data<float>("adamw"), parameter.numel(),
         AdamWElement<float>(step));
}

void sgd_step(OnCuda device, Tensor& parameter, const Tensor& gradient, Tensor& buffer, double lr,
              double momentum, double weight_decay, double gradient_scale) {
  check_same_device("sgd", device, {&parameter, &gradient, &buffer});
  check_same("sgd", parameter, parameter, "the parameter");
  check_same("sgd", parameter, gradient, "the gradient");
  check_same("sgd", parameter, buffer, "the momentum");
  if (parameter.numel() == 0) return;
  const SgdNumbers numbers{static_cast<float>(lr), static_cast<float>(momentum),
                           static_cast<float>(weight_decay), static_cast<float>(gradient_scale)};
  launch("sgd", device.index, sgd_kernel, grid_for(device.index, parameter.numel(), kBlockThreads),
         parameter.mutable_data<float>("sgd"), gradient.data<float>(),
         buffer.mutable_data<float>("sgd"), parameter.numel(), numbers);
}

double global_norm(OnCuda device, const Tensors& tensors) {
  double total = 0;
  for (const Tensor& x : tensors) {
    check_same_device("global_norm", device, {&x});
    total += sum_of_chunks<false>("global_norm", device, x);
  }
  return std::sqrt(total);
}

bool has_nonfinite(OnCuda device, const Tensor& x) {
  return sum_of_chunks<true>("has_nonfinite", device, x) > 0;
}

}  // namespace ocellus
