// The CUDA runtime of the emulator: one device, whose memory is the arena; every call has finished
// when it returns.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda/simt/report.h"
#include "cuda/simt/shadow.h"
#include "cuda/simt/simt.h"

namespace simt = ocellus::simt;

cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

// Few multiprocessors, so that kernels which stride by the grid must stride.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof(properties->name), "SIMT emulator");
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 1;
  properties->totalGlobalMem = simt::arena_bytes();
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = nullptr, cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
// Work has finished when its call returns, so an event has nothing to say.
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return *event = nullptr, cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  *pointer = std::malloc(bytes);
  return *pointer ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "success" : "an error of the emulator";
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  if (simt::is_device(from)) simt::host_reads(from, bytes, "cudaMemcpyAsync");
  if (simt::is_device(to)) simt::host_writes(to, bytes, "cudaMemcpyAsync");
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  simt::host_writes(to, bytes, "cudaMemsetAsync");
  std::memset(to, value, bytes);
  return cudaSuccess;
}
