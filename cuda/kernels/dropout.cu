// Dropout: the mask is drawn from Philox by key and index, the same as on the CPU.
// Parallelisation: four elements, one Philox block, a thread and step. Traffic: x read, y written
// once; the mask is never stored.
#include "engine/kernels/dropout.h"

#include "cuda/device/launch.h"

namespace ocellus {
namespace {

template <class T>
__global__ void dropout_kernel(const T* x, int64_t count, RngKey key, uint32_t threshold,
                               AccT<T> scale, T* y) {
  using A = AccT<T>;
  const int64_t blocks = (count + 3) / 4;
  for (int64_t block = grid_thread(); block < blocks; block += grid_threads()) {
    const Philox4 random = key.block(static_cast<uint64_t>(block));
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t i = block * 4 + j;
      if (i >= count) continue;
      // A choice, not a product with 0: a dropped NaN or infinity gives 0.
      const A value = static_cast<A>(x[i]);
      y[i] = static_cast<T>(random.word[j] >= threshold ? value * scale : A(0));
    }
  }
}

}  // namespace

Tensor dropout_forward(OnCuda device, const Tensor& x_any, double p, RngKey key) {
  const Tensor x = x_any.contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device_of(device), "dropout");
  on_cuda_float("dropout", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    if (x.numel() > 0)
      launch("dropout", device.index, dropout_kernel<T>,
             grid_for(device.index, x.numel(), 4 * kBlockThreads), x.data<T>(), x.numel(), key,
             dropout_threshold(p), static_cast<A>(1 / (1 - p)), y.mutable_data<T>("dropout"));
  });
  return y;
}

}  // namespace ocellus
