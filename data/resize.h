// Antialiased resizing of 8-bit pictures, byte for byte what Pillow's Image.resize gives, so that a
// model sees the same pixels here as where it was first trained.
#pragma once
#include <string_view>

#include "data/image.h"

namespace ocellus {

enum class Filter : uint8_t { kNearest, kBox, kBilinear, kHamming, kBicubic, kLanczos };

/// filter_from_name — "nearest" "box" "bilinear" "hamming" "bicubic" "lanczos"; UsageError
/// otherwise.
Filter filter_from_name(std::string_view name);

/// resize — y = Σ k·x over a window of `support · max(1, in/out)` pixels to each side of the
/// centre, first along rows, then along columns, each pass rounded to bytes. Coefficients are
/// fixed-point numbers with 22 fractional bits; the intermediate picture has only the rows that are
/// needed. RGBA is premultiplied by alpha before and divided after, as Pillow does (not for
/// nearest). `image` [H, W, C] → [height, width, C]. Throws UsageError unless both sides are in 1 …
/// 2^24.
Image resize(const Image& image, int width, int height, Filter filter);

}  // namespace ocellus
