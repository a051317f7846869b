// Pictures to rows of patches and back: copies behind a view of the picture in which patches are
// rows. The kernel is that of copy.cu: an element a thread; runs of P elements are contiguous on
// both sides.
#include "engine/kernels/patches.h"

#include "cuda/runtime/context.h"
#include "engine/kernels/copy.h"

namespace ocellus {
namespace {

/// pixels [B, C, H, W] as [B, rows, columns, C, P, P] without the pixels that fill no patch.
Tensor as_patches(const Tensor& pixels, int64_t patch) {
  const Strides& s = pixels.strides();
  return pixels.as_strided(
      {pixels.dim(0), pixels.dim(2) / patch, pixels.dim(3) / patch, pixels.dim(1), patch, patch},
      Strides{s[0], patch * s[2], patch * s[3], s[1], s[2], s[3]}, pixels.offset());
}

}  // namespace

Tensor patches_of(OnCuda device, const Tensor& pixels, int64_t patch) {
  const Tensor view = as_patches(pixels, patch);
  Tensor out = Tensor::empty(view.shape(), pixels.dtype(), device_of(device), "patch_embed");
  copy(view, out);
  return out.view_as({view.dim(0) * view.dim(1) * view.dim(2), pixels.dim(1) * patch * patch});
}

Tensor pixels_of(OnCuda device, const Tensor& patches, const Shape& shape, int64_t patch) {
  const bool covered = shape[2] % patch == 0 && shape[3] % patch == 0;
  Tensor out = covered ? Tensor::empty(shape, patches.dtype(), device_of(device), "patch_embed")
                       : Tensor::zeros(shape, patches.dtype(), device_of(device), "patch_embed");
  Tensor view = as_patches(out, patch);
  copy(patches.contiguous().view_as(view.shape()), view);
  return out;
}

}  // namespace ocellus
