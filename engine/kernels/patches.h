// Pictures to rows of patches and back.
#pragma once
#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/tensor.h"

namespace ocellus {

/// patches_of — pixels [B, C, H, W] → [B·(H/P)·(W/P), C·P·P]: one row a patch, patches row by row,
/// within a row channel, then pixel row, then column, as a convolution's weight lies.
Tensor patches_of(OnCpu, const Tensor& pixels, int64_t patch);
CUDA_TWIN Tensor patches_of(OnCuda, const Tensor& pixels, int64_t patch);
inline Tensor patches_of(const Tensor& pixels, int64_t patch) {
  return on_device("patch_embed", pixels.device(),
                   [&](auto d) { return patches_of(d, pixels, patch); });
}

/// pixels_of — the inverse of patches_of for pictures of `shape`; pixels outside of all patches are
/// zero.
Tensor pixels_of(OnCpu, const Tensor& patches, const Shape& shape, int64_t patch);
CUDA_TWIN Tensor pixels_of(OnCuda, const Tensor& patches, const Shape& shape, int64_t patch);
inline Tensor pixels_of(const Tensor& patches, const Shape& shape, int64_t patch) {
  return on_device("patch_embed", patches.device(),
                   [&](auto d) { return pixels_of(d, patches, shape, patch); });
}

}  // namespace ocellus
