// Cutting and padding 8-bit pictures; offsets are rounded as transformers rounds them.
#pragma once
#include "data/image.h"

namespace ocellus {

/// window — `width`×`height` pixels from (left, top), which may lie outside: there the picture has
/// `background` (one value for all channels, or one a channel). Cropping and padding in one.
Image window(const Image& image, int left, int top, int width, int height,
             const std::vector<uint8_t>& background = {0});

/// center_crop — the middle `width`×`height` pixels; a remainder of one goes to the right and the
/// bottom, and a picture that is too small lies on black.
Image center_crop(const Image& image, int width, int height);

/// pad_to_square — the picture in the middle of a square of its longer side.
Image pad_to_square(const Image& image, const std::vector<uint8_t>& background);

}  // namespace ocellus
