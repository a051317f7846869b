// What the process knows of each GPU, its streams, and how errors of CUDA calls become sentences.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <initializer_list>
#include <string>

#include "engine/device.h"
#include "engine/tensor.h"

namespace ocellus {

/// DeviceContext — properties and streams of one GPU, made at its first use and never destroyed
/// (tensors with static lifetime may outlive every other static).
struct DeviceContext {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  size_t total_bytes = 0;
  cudaStream_t compute = nullptr;  // all kernels and matrix products
  cudaStream_t copy = nullptr;     // for a loader that uploads the next batch meanwhile
};

/// device_context(i) — throws DeviceError: no GPU, no such GPU, driver older than the runtime, GPU
/// too old.
const DeviceContext& device_context(int index);

/// current_stream(i) — where work of this thread on GPU i goes: its compute stream. One stream
/// orders all work, so that the allocator may hand a block on without waiting.
cudaStream_t current_stream(int index);

/// synchronize(i) — waits for all work of current_stream(i).
void synchronize(int index);

/// DeviceGuard — makes a GPU the current one of this thread, and the former again at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(int index);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
};

/// check_cuda — throws Error "call: what CUDA says (file:line)" unless `status` is success.
void check_cuda(cudaError_t status, const char* call, const char* file, int line);

/// CUDA_CHECK(call) — every call of the runtime goes through it.
#define CUDA_CHECK(call) ::ocellus::check_cuda((call), #call, __FILE__, __LINE__)

/// after_launch — throws Error naming `kernel` if its launch failed. With the environment variable
/// OCELLUS_CUDA_SYNC=1 it waits for the kernel too, so that a fault inside names the right one.
void after_launch(const char* kernel, int index);

/// check_same_device — throws DeviceError unless every defined tensor lies on `device`.
void check_same_device(const char* op, OnCuda device, std::initializer_list<const Tensor*> tensors);

inline Device device_of(OnCuda device) { return {DeviceType::kCuda, device.index}; }

}  // namespace ocellus
