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
/// 2^24. With `reducing_gap` ≥ 1 the picture is first reduced by whole factors to no less than gap
/// times the new size: faster, and other pixels than without (Pillow's option of that name).
Image resize(const Image& image, int width, int height, Filter filter, double reducing_gap = 0);

/// reduce — means of `across`×`down` pixels, at the right and bottom edges of those that exist, as
/// Pillow's Image.reduce gives them.  [H, W, C] → [⌈H/down⌉, ⌈W/across⌉, C]. RGBA is premultiplied
/// before and divided after. UsageError unless both factors are in 1 … 4095.
Image reduce(const Image& image, int across, int down);

}  // namespace ocellus
