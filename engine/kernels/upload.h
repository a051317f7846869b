// Tensors on their way from the host to a device that computes meanwhile.
#pragma once
#include <memory>
#include <utility>

#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// Arriving — a tensor whose elements are under way; arrived() hands it to kernels.
struct Arriving {
  Tensor tensor;
  std::shared_ptr<const void> copy;  // dropped: kernels from then on run after the copy
};

/// upload — starts the copy of a host tensor to `device`, beside what runs there (on CUDA: pinned
/// buffers and the copy stream). To the CPU nothing is copied.
CUDA_TWIN Arriving upload(OnCuda device, const Tensor& host);
inline Arriving upload(OnCpu, const Tensor& host) { return {host, nullptr}; }
inline Arriving upload(const Tensor& host, Device device) {
  return on_device("upload", device, [&](auto d) { return upload(d, host); });
}

/// arrived — the tensor, for kernels: they run after its copy. The host does not wait.
inline Tensor arrived(Arriving&& arriving) {
  arriving.copy.reset();
  return std::move(arriving.tensor);
}

/// wait_for — returns when all kernels that this process gave to the device are done: for clocks.
CUDA_TWIN void wait_for(OnCuda device);
inline void wait_for(OnCpu) {}
inline void wait_for(Device device) {
  on_device("wait_for", device, [](auto d) { wait_for(d); });
}

}  // namespace ocellus
