// Updates of optimizers, and what training asks of gradients.
// AdamW: one launch for all parameters; a block a chunk of 16,384 elements, which it finds in a
// table of the parameters; reads 16 and writes 12 bytes an element, 16 bytes a thread and access.
// Norms: a block a chunk of 65,536 elements, then a block a tensor; in double, chunks of fixed
// length: the same bits in every run. norms, global_norm and has_nonfinite give the host numbers,
// so the calling thread waits, once for all tensors.
#include "engine/kernels/optim.h"

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/rows.cuh"
#include "cuda/device/total.cuh"
#include "cuda/runtime/staging.h"

namespace ocellus {
namespace {

// --- AdamW: one launch for all parameters ---

struct AdamWTarget {
  float *p, *m, *v;
  const float* g;
  int64_t count, first_chunk;
  AdamWElement<float> update;
};
constexpr int64_t kAdamWChunk = 16384;

/// The item of a list in which a chunk lies: the last whose first_chunk is not beyond it.
template <class Item>
__device__ int64_t item_of(const Item* items, int64_t count, int64_t chunk) {
  int64_t low = 0, high = count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (items[middle].first_chunk <= chunk)
      low = middle;
    else
      high = middle;
  }
  return low;
}

__global__ void adamw_kernel(const AdamWTarget* targets, int64_t count, int64_t chunks) {
  constexpr int kSize = Vec128<float>::kSize;
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const AdamWTarget t = targets[item_of(targets, count, chunk)];
    const int64_t begin = (chunk - t.first_chunk) * kAdamWChunk;
    const int64_t end = begin + kAdamWChunk < t.count ? begin + kAdamWChunk : t.count;
    for (int64_t i = begin + threadIdx.x * kSize; i < end; i += blockDim.x * kSize) {
      Vec128<float> p = load128(t.p + i, end - i), m = load128(t.m + i, end - i),
                    v = load128(t.v + i, end - i);
      const Vec128<float> g = load128(t.g + i, end - i);
#pragma unroll
      for (int j = 0; j < kSize; ++j) t.update(p.values[j], g.values[j], m.values[j], v.values[j]);
      store128(t.p + i, end - i, p);
      store128(t.m + i, end - i, m);
      store128(t.v + i, end - i, v);
    }
  }
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

// sums[chunk] = the number of its elements that are NaN or infinite.
template <class T>
__global__ void nonfinite_kernel(const T* x, int64_t count, int64_t chunks, double* sums) {
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const int64_t begin = chunk * kChunk;
    Sum<double> sum;
    for_elements(x + begin, count - begin < kChunk ? count - begin : kChunk,
                 [&](float value, int64_t) { sum.push(value * 0.0f == 0.0f ? 0.0 : 1.0); });
    sum = block_reduce(sum);
    if (threadIdx.x == 0) sums[chunk] = sum.value;
  }
}

// --- norms of many tensors at once ---

struct NormItem {
  const void* x;
  int64_t count, first_chunk;
  bool wide;  // f32, else bf16
};
template <class T>
__device__ double squares_of(const NormItem& item, int64_t chunk) {
  const int64_t begin = (chunk - item.first_chunk) * kChunk;
  Sum<double> sum;
  for_elements(static_cast<const T*>(item.x) + begin,
               item.count - begin < kChunk ? item.count - begin : kChunk,
               [&](float value, int64_t) {
                 sum.push(static_cast<double>(value) * static_cast<double>(value));
               });
  return block_reduce(sum).value;
}
__global__ void norm_chunks_kernel(const NormItem* items, int64_t count, int64_t chunks,
                                   double* sums) {
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const NormItem item = items[item_of(items, count, chunk)];
    const double sum = item.wide ? squares_of<float>(item, chunk) : squares_of<bf16>(item, chunk);
    if (threadIdx.x == 0) sums[chunk] = sum;
  }
}
__global__ void norm_totals_kernel(const NormItem* items, int64_t count, const double* sums,
                                   double* squares) {
  for (int64_t k = blockIdx.x; k < count; k += gridDim.x) {
    const NormItem item = items[k];
    const int64_t chunks = (item.count + kChunk - 1) / kChunk;
    Sum<double> sum;
    for (int64_t i = threadIdx.x; i < chunks; i += blockDim.x) sum.push(sums[item.first_chunk + i]);
    sum = block_reduce(sum);
    if (threadIdx.x == 0) squares[k] = sum.value;
  }
}

/// A list of structs on the device, as bytes.
template <class Item>
Tensor list_there(const char* op, OnCuda device, const std::vector<Item>& items) {
  Tensor there = Tensor::empty({static_cast<int64_t>(items.size() * sizeof(Item))}, DType::kU8,
                               device_of(device), op);
  send_to_device(device, there.mutable_raw(op), items.data(), items.size() * sizeof(Item));
  return there;
}

void check_same(const char* op, const Tensor& parameter, const Tensor& other, const char* name) {
  check<ShapeError>(
      other.shape() == parameter.shape() && other.dtype() == DType::kF32 && other.is_contiguous(),
      "{}: {} must be contiguous {} f32, got {}", op, name, to_string(parameter.shape()),
      other.describe());
}

}  // namespace

void adamw_steps(OnCuda device, const std::vector<AdamWItem>& items, const AdamWStep& step) {
  check<UsageError>(step.step >= 1, "adamw: steps count from 1, got {}", step.step);
  std::vector<AdamWTarget> targets;
  int64_t chunks = 0;
  for (const AdamWItem& item : items) {
    Tensor& p = *item.parameter;
    check_same_device("adamw", device, {&p, item.gradient, item.m, item.v});
    check_same("adamw", p, p, "the parameter");
    check_same("adamw", p, *item.gradient, "the gradient");
    check_same("adamw", p, *item.m, "the first moment");
    check_same("adamw", p, *item.v, "the second moment");
    if (p.numel() == 0) continue;
    AdamWStep own = step;
    own.lr = item.lr;
    own.weight_decay = item.weight_decay;
    targets.push_back({p.mutable_data<float>("adamw"), item.m->mutable_data<float>("adamw"),
                       item.v->mutable_data<float>("adamw"), item.gradient->data<float>(),
                       p.numel(), chunks, AdamWElement<float>(own)});
    chunks += (p.numel() + kAdamWChunk - 1) / kAdamWChunk;
  }
  if (chunks == 0) return;
  const Tensor there = list_there("adamw", device, targets);
  launch("adamw", device.index, adamw_kernel, grid_for(device.index, chunks, 1),
         static_cast<const AdamWTarget*>(there.raw()), static_cast<int64_t>(targets.size()),
         chunks);
}

void adamw_step(OnCuda device, Tensor& parameter, const Tensor& gradient, Tensor& m, Tensor& v,
                const AdamWStep& step) {
  adamw_steps(device, {{&parameter, &m, &v, &gradient, step.lr, step.weight_decay}}, step);
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

std::vector<double> norms(OnCuda device, const Tensors& tensors) {
  std::vector<NormItem> items;
  Tensors kept;  // contiguous
  int64_t chunks = 0;
  for (const Tensor& x : tensors) {
    check_same_device("global_norm", device, {&x});
    kept.push_back(x.contiguous());
    on_cuda_float("global_norm", x.dtype(), [](auto) {});
    items.push_back({kept.back().raw(), x.numel(), chunks, x.dtype() == DType::kF32});
    chunks += (x.numel() + kChunk - 1) / kChunk;
  }
  std::vector<double> list(items.size(), 0.0);
  if (chunks == 0) return list;
  const auto count = static_cast<int64_t>(items.size());
  const Tensor there = list_there("global_norm", device, items);
  const auto* at = static_cast<const NormItem*>(there.raw());
  Tensor sums = Tensor::empty({chunks}, DType::kF64, device_of(device), "global_norm");
  Tensor squares = Tensor::empty({count}, DType::kF64, device_of(device), "global_norm");
  launch("global_norm", device.index, norm_chunks_kernel, grid_for(device.index, chunks, 1), at,
         count, chunks, sums.mutable_data<double>("global_norm"));
  launch("global_norm", device.index, norm_totals_kernel, grid_for(device.index, count, 1), at,
         count, sums.data<double>(), squares.mutable_data<double>("global_norm"));
  list = squares.to_vector<double>();
  for (double& square : list) square = std::sqrt(square);
  return list;
}

double global_norm(OnCuda device, const Tensors& tensors) {
  double total = 0;
  for (double norm : norms(device, tensors)) total += norm * norm;
  return std::sqrt(total);
}

bool has_nonfinite(OnCuda device, const Tensor& x_any) {
  constexpr const char* kOp = "has_nonfinite";
  if (x_any.numel() == 0) return false;
  const Tensor x = x_any.contiguous();
  const int64_t chunks = (x.numel() + kChunk - 1) / kChunk;
  Tensor sums = Tensor::empty({1, chunks}, DType::kF64, device_of(device), kOp);
  on_cuda_float(kOp, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(kOp, device.index, nonfinite_kernel<T>, grid_for(device.index, chunks, 1), x.data<T>(),
           x.numel(), chunks, sums.mutable_data<double>(kOp));
  });
  return totals<double>(kOp, device, sums).item() > 0;
}

}  // namespace ocellus
