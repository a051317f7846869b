#include "cuda/runtime/staging.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "cuda/runtime/context.h"
#include "engine/kernels/upload.h"

namespace ocellus {
namespace {

constexpr size_t kSlotBytes = size_t{4} << 20;
constexpr size_t kSlots = 4;

/// A pinned buffer and the event of the copy that last read it.
struct Slot {
  void* data = nullptr;
  cudaEvent_t read = nullptr;
  bool used = false;
};

// The ring of one device; made at its first use and never destroyed, as the device's context.
class Ring {
 public:
  Ring() {
    for (Slot& slot : slots_) {
      CUDA_CHECK(cudaMallocHost(&slot.data, kSlotBytes));
      CUDA_CHECK(cudaEventCreateWithFlags(&slot.read, cudaEventDisableTiming));
    }
  }
  void send(void* to, const void* from, size_t bytes, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    for (size_t done = 0; done < bytes; done += kSlotBytes) {
      Slot& slot = slots_[next_++ % kSlots];
      if (slot.used) CUDA_CHECK(cudaEventSynchronize(slot.read));
      const size_t part = std::min(kSlotBytes, bytes - done);
      std::memcpy(slot.data, static_cast<const char*>(from) + done, part);
      CUDA_CHECK(cudaMemcpyAsync(static_cast<char*>(to) + done, slot.data, part,
                                 cudaMemcpyHostToDevice, stream));
      CUDA_CHECK(cudaEventRecord(slot.read, stream));
      slot.used = true;
    }
  }

 private:
  std::array<Slot, kSlots> slots_;
  size_t next_ = 0;
  std::mutex mutex_;
};

Ring& ring_of(int index) {
  static auto* rings = new std::map<int, std::unique_ptr<Ring>>;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  auto& ring = (*rings)[index];
  if (!ring) ring = std::make_unique<Ring>();
  return *ring;
}

/// An event of a stream, for other streams to wait for.
class Mark {
 public:
  explicit Mark(cudaStream_t stream) {
    CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
    CUDA_CHECK(cudaEventRecord(event_, stream));
  }
  ~Mark() { static_cast<void>(cudaEventDestroy(event_)); }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  void hold_back(cudaStream_t stream) const { CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0)); }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace

void send_to_device(OnCuda device, void* to, const void* from, size_t bytes, cudaStream_t stream) {
  const DeviceGuard guard(device.index);
  ring_of(device.index).send(to, from, bytes, stream);
}

void send_to_device(OnCuda device, void* to, const void* from, size_t bytes) {
  send_to_device(device, to, from, bytes, current_stream(device.index));
}

// The new block may have been another tensor's, whose kernels are still to run on the compute
// stream: the copy waits for those. Nothing after them waits for the copy until arrived() is
// called.
Arriving upload(OnCuda device, const Tensor& host_any) {
  const Tensor host = host_any.contiguous();
  const DeviceContext& context = device_context(device.index);
  const DeviceGuard guard(device.index);
  Arriving arriving;
  arriving.tensor = Tensor::empty(host.shape(), host.dtype(), device_of(device), "upload");
  Mark(context.compute).hold_back(context.copy);
  send_to_device(device, arriving.tensor.mutable_raw("upload"), host.raw(),
                 static_cast<size_t>(host.bytes()), context.copy);
  // Whoever drops the tensor, used or not: the compute stream stands behind the copy first.
  arriving.copy = std::shared_ptr<const Mark>(new Mark(context.copy), [device](const Mark* mark) {
    const cudaStream_t compute = current_stream(device.index);
    mark->hold_back(compute);
    delete mark;
  });
  return arriving;
}

void wait_for(OnCuda device) { synchronize(device.index); }

}  // namespace ocellus
