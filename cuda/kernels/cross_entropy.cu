// Cross-entropy of rows of logits against labels, and its gradient.
// Parallelisation: a block a row, 16 bytes a thread and step. Traffic: forward reads the logits
// once; backward reads them once and writes the gradient. 64-bit indices: logits exceed 2³¹
// elements. Labels are checked on the host: the calling thread waits for those
// that lie on the GPU.
#include "engine/kernels/cross_entropy.h"

#include <algorithm>

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/online_softmax.cuh"
#include "cuda/device/total.cuh"

namespace ocellus {
namespace {

constexpr const char* kName = "cross_entropy";

template <class T>
__global__ void forward_kernel(const T* logits, const int64_t* labels, int64_t rows,
                               int64_t classes, int64_t ignore, AccT<T>* log_sums,
                               AccT<T>* losses) {
  using A = AccT<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t label = labels[row];
    const T* from = logits + row * classes;
    A log_sum = A(0), loss = A(0);
    if (label != ignore) {  // the same in all threads of the block
      log_sum = block_reduce(softmax_part(from, classes)).log_sum();
      loss = log_sum - static_cast<A>(from[label]);
    }
    if (threadIdx.x == 0) {
      log_sums[row] = log_sum;
      losses[row] = loss;
    }
  }
}

// dlogits = dloss·(e^{logit - log_sum} - [the label]).
template <class T>
__global__ void backward_kernel(const T* logits, const int64_t* labels, const AccT<T>* log_sums,
                                const AccT<T>* dloss, int64_t rows, int64_t classes, int64_t ignore,
                                T* dlogits) {
  using A = AccT<T>;
  const A seed = *dloss;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t label = labels[row];
    const A shift = log_sums[row];
    const T* from = logits + row * classes;
    T* to = dlogits + row * classes;
    for_vectors<T>(classes, [&](int64_t i, int64_t n) {
      Vec128<T> out;
      const Vec128<T> v = load128(from + i, n);
#pragma unroll
      for (int j = 0; j < Vec128<T>::kSize; ++j) {
        const A p = math::exp(static_cast<A>(v.values[j]) - shift) - (i + j == label ? A(1) : A(0));
        out.values[j] = static_cast<T>(label == ignore ? A(0) : seed * p);
      }
      store128(to + i, n, out);
    });
  }
}

}  // namespace

CrossEntropyOut cross_entropy_forward(OnCuda device, const Tensor& logits_any, const Tensor& labels,
                                      int64_t ignore) {
  check_same_device(kName, device, {&logits_any});
  const Tensor logits = logits_any.contiguous();
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  const auto list = checked_labels(kName, labels, rows, classes, ignore);
  const Tensor ids = labels.to(DType::kI64).to(device_of(device)).contiguous();
  CrossEntropyOut out;
  out.count = rows - std::count(list.begin(), list.end(), ignore);
  on_cuda_float(kName, logits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    out.log_sum = Tensor::empty({rows}, dtype_of<A>, device_of(device), kName);
    Tensor losses = Tensor::empty({1, rows}, dtype_of<A>, device_of(device), kName);
    if (rows > 0)
      launch("cross_entropy_forward", device.index, forward_kernel<T>,
             row_shape<T>(device.index, rows, classes), logits.data<T>(), ids.data<int64_t>(), rows,
             classes, ignore, out.log_sum.mutable_data<A>(kName), losses.mutable_data<A>(kName));
    out.loss = totals<A>(kName, device, losses).to(dtype_of<A>).view_as({});
  });
  return out;
}

Tensor cross_entropy_backward(OnCuda device, const Tensor& logits_any, const Tensor& labels,
                              const Tensor& log_sum, const Tensor& dloss, int64_t ignore) {
  check_same_device(kName, device, {&logits_any, &log_sum, &dloss});
  const Tensor logits = logits_any.contiguous(),
               ids = labels.to(DType::kI64).to(device_of(device)).contiguous();
  const int64_t rows = logits.dim(0), classes = logits.dim(1);
  const Tensor seed = dloss.to(DType::kF32);
  Tensor dlogits = Tensor::empty({rows, classes}, logits.dtype(), device_of(device), kName);
  on_cuda_float(kName, logits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    if (dlogits.numel() > 0)
      launch("cross_entropy_backward", device.index, backward_kernel<T>,
             row_shape<T>(device.index, rows, classes), logits.data<T>(), ids.data<int64_t>(),
             log_sum.data<A>(), seed.data<A>(), rows, classes, ignore,
             dlogits.mutable_data<T>(kName));
  });
  return dlogits;
}

}  // namespace ocellus
