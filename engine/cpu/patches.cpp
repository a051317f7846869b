#include "engine/kernels/patches.h"

#include <cstring>

#include "engine/parallel.h"

namespace ocellus {
namespace {

// Runs of P elements: from(b, c, y, patch column) in the picture to their place in the patch row,
// or back.
template <bool kToPatches>
void move_runs(const Shape& picture, int64_t p, int64_t element, char* pixels, char* patches) {
  const int64_t channels = picture[1], height = picture[2], width = picture[3];
  const int64_t rows = height / p, columns = width / p, row_size = channels * p * p;
  parallel_for(picture[0] * rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / rows, i = item % rows;
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t y = 0; y < p; ++y) {
          char* line = pixels + (((b * channels + c) * height + i * p + y) * width) * element;
          for (int64_t j = 0; j < columns; ++j) {
            char* run = patches + ((item * columns + j) * row_size + (c * p + y) * p) * element;
            char* at = line + j * p * element;
            std::memcpy(kToPatches ? run : at, kToPatches ? at : run,
                        static_cast<size_t>(p * element));
          }
        }
    }
  });
}

}  // namespace

Tensor patches_of(OnCpu, const Tensor& pixels_in, int64_t patch) {
  const Tensor pixels = pixels_in.contiguous();
  const Shape& s = pixels.shape();
  Tensor out = Tensor::empty({s[0] * (s[2] / patch) * (s[3] / patch), s[1] * patch * patch},
                             pixels.dtype(), kCpu, "patch_embed");
  move_runs<true>(s, patch, dtype_size(pixels.dtype()),
                  const_cast<char*>(static_cast<const char*>(pixels.raw())),
                  static_cast<char*>(out.mutable_raw("patch_embed")));
  return out;
}

Tensor pixels_of(OnCpu, const Tensor& patches_in, const Shape& shape, int64_t patch) {
  const Tensor patches = patches_in.contiguous();
  Tensor out = Tensor::zeros(shape, patches.dtype(), kCpu, "patch_embed");
  move_runs<false>(shape, patch, dtype_size(patches.dtype()),
                   static_cast<char*>(out.mutable_raw("patch_embed")),
                   const_cast<char*>(static_cast<const char*>(patches.raw())));
  return out;
}

}  // namespace ocellus
