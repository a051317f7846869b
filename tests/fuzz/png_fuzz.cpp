// Fuzz target: PNG. Any bytes either are refused with a FormatError or decode to a picture that
// survives encoding, laying on a colour and resizing.
// needs: data/image.cpp data/png.cpp data/jpeg.cpp data/resize.cpp engine/file.cpp engine/parallel.cpp
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "data/image.h"
#include "data/resize.h"
#include "engine/check.h"

using namespace ocellus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  try {
    const Image image = decode_image(text, "fuzz.png", {.max_pixels = 1 << 16});
    if (decode_image(encode_png(image), "again.png").pixels != image.pixels) std::abort();
    const Image rgb = to_rgb(image);
    if (rgb.pixels.size() !=
        size_t{3} * static_cast<size_t>(rgb.width) * static_cast<size_t>(rgb.height))
      std::abort();
    resize(image, 7, 5, Filter::kLanczos);
  } catch (const FormatError&) {
  }
  return 0;
}
