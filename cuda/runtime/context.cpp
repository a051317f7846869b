#include "cuda/runtime/context.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "cuda/runtime/device_errors.h"

namespace ocellus {
namespace {

constexpr int kMaxDevices = 64;

std::unique_ptr<DeviceContext> make_context(int index) {
  int driver = 0, runtime = 0, count = 0;
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  check_driver(driver, runtime);
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice)
    count = 0;
  else
    CUDA_CHECK(status);
  check_gpu_present(index, count);

  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  check_capability(index, properties.name, properties.major, properties.minor);
  auto context = std::make_unique<DeviceContext>();
  context->index = index;
  context->name = properties.name;
  context->major = properties.major;
  context->minor = properties.minor;
  context->multiprocessors = properties.multiProcessorCount;
  context->total_bytes = properties.totalGlobalMem;
  const DeviceGuard guard(index);
  CUDA_CHECK(cudaStreamCreateWithFlags(&context->compute, cudaStreamNonBlocking));
  CUDA_CHECK(cudaStreamCreateWithFlags(&context->copy, cudaStreamNonBlocking));
  return context;
}

bool synchronous() {
  static const bool on = [] {
    const char* value = std::getenv("OCELLUS_CUDA_SYNC");
    return value && std::strcmp(value, "1") == 0;
  }();
  return on;
}

}  // namespace

const DeviceContext& device_context(int index) {
  static auto* contexts = new std::array<std::unique_ptr<DeviceContext>, kMaxDevices>;
  static std::mutex mutex;
  check<DeviceError>(0 <= index && index < kMaxDevices, "cuda:{}: the index must be below {}",
                     index, kMaxDevices);
  const std::lock_guard lock(mutex);
  auto& context = (*contexts)[static_cast<size_t>(index)];
  if (!context) context = make_context(index);
  return *context;
}

cudaStream_t current_stream(int index) { return device_context(index).compute; }

void synchronize(int index) {
  const DeviceGuard guard(index);
  CUDA_CHECK(cudaStreamSynchronize(current_stream(index)));
}

DeviceGuard::DeviceGuard(int index) {
  CUDA_CHECK(cudaGetDevice(&before_));
  if (before_ != index) CUDA_CHECK(cudaSetDevice(index));
}

// A destructor must not throw; if this fails, the next checked call says so.
DeviceGuard::~DeviceGuard() { static_cast<void>(cudaSetDevice(before_)); }

void check_cuda(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // else a later, innocent call reports it again
  fail<Error>("{}: {} ({}:{})", call, cudaGetErrorString(status), file, line);
}

void after_launch(const char* kernel, int index) {
  cudaError_t status = cudaGetLastError();
  if (status == cudaErrorNoKernelImageForDevice) {
    const DeviceContext& context = device_context(index);
    fail<DeviceError>(
        "{}: this program has no code for {}; configure with "
        "-DCMAKE_CUDA_ARCHITECTURES={}{}",
        kernel, context.name, context.major, context.minor);
  }
  if (status == cudaSuccess && synchronous()) status = cudaStreamSynchronize(current_stream(index));
  check<Error>(status == cudaSuccess, "{}: kernel failed on cuda:{}: {}", kernel, index,
               cudaGetErrorString(status));
}

void check_same_device(const char* op, OnCuda device,
                       std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors)
    check<DeviceError>(!tensor->defined() || tensor->device() == device_of(device),
                       "{}: all tensors must be on {}, got {}", op, to_string(device_of(device)),
                       tensor->describe());
}

}  // namespace ocellus
