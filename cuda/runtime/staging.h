// Host memory on its way to a GPU: through pinned buffers, so that nobody waits for the copy.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>

#include "engine/device.h"

namespace ocellus {

/// send_to_device — copies `bytes` at `from` (host) to `to` (device) in order of the device's
/// compute stream, or of `stream`. `from` may be changed or freed at once: its bytes went to a ring
/// of pinned buffers. Waits only where the ring is full.
void send_to_device(OnCuda device, void* to, const void* from, size_t bytes);
void send_to_device(OnCuda device, void* to, const void* from, size_t bytes, cudaStream_t stream);

}  // namespace ocellus
