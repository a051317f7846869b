#include "data/image_edit.h"

#include <algorithm>
#include <cstring>

#include "engine/check.h"

namespace ocellus {
namespace {

size_t at(const Image& image, int x, int y) {
  return (static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) *
         static_cast<size_t>(image.channels);
}

Image blank(int width, int height, int channels) {
  return {width, height, channels,
          std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) *
                               static_cast<size_t>(channels))};
}

}  // namespace

Image window(const Image& image, int left, int top, int width, int height,
             const std::vector<uint8_t>& background) {
  constexpr int64_t kMost = DecodeOptions{}.max_pixels;
  check<UsageError>(
      width > 0 && height > 0 && int64_t{width} * height <= kMost,
      "window: both sides must be positive and the area at most {} pixels, got {} x {}", kMost,
      width, height);
  const size_t channels = static_cast<size_t>(image.channels);
  check<UsageError>(background.size() == 1 || background.size() == channels,
                    "window: background must have 1 or {} values (as the picture has channels), "
                    "got {}",
                    channels, background.size());
  Image out = blank(width, height, image.channels);
  // What the window shows of the picture.
  const int64_t x0 = std::max<int64_t>(left, 0), y0 = std::max<int64_t>(top, 0);
  const int64_t x1 = std::min<int64_t>(int64_t{left} + width, image.width);
  const int64_t y1 = std::min<int64_t>(int64_t{top} + height, image.height);
  const bool inside = x1 - x0 == width && y1 - y0 == height;
  if (!inside && std::any_of(background.begin(), background.end(), [](uint8_t v) { return v; }))
    for (size_t i = 0; i < out.pixels.size(); ++i)
      out.pixels[i] = background[background.size() == 1 ? 0 : i % channels];
  if (x1 <= x0) return out;
  for (int64_t y = y0; y < y1; ++y)
    std::memcpy(out.pixels.data() + at(out, static_cast<int>(x0 - left), static_cast<int>(y - top)),
                image.pixels.data() + at(image, static_cast<int>(x0), static_cast<int>(y)),
                static_cast<size_t>(x1 - x0) * channels);
  return out;
}

Image center_crop(const Image& image, int width, int height) {
  auto offset = [](int whole, int part) {  // rounded down, also where it is negative
    const int gap = whole - part;
    return gap >= 0 ? gap / 2 : -((1 - gap) / 2);
  };
  return window(image, offset(image.width, width), offset(image.height, height), width, height);
}

Image pad_to_square(const Image& image, const std::vector<uint8_t>& background) {
  const int side = std::max(image.width, image.height);
  if (image.width == image.height) return image;
  return window(image, -((side - image.width) / 2), -((side - image.height) / 2), side, side,
                background);
}

}  // namespace ocellus
