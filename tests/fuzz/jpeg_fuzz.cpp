// Fuzz target: JPEG. Any bytes either are refused with a FormatError or decode to a whole picture;
// strict decoding refuses whatever decodes with warnings.
// needs: data/image.cpp data/png.cpp data/jpeg.cpp data/resize.cpp engine/file.cpp engine/parallel.cpp
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "data/image.h"
#include "engine/check.h"

using namespace ocellus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  DecodeInfo info;
  try {
    const Image image = decode_image(text, "fuzz.jpg", {.max_pixels = 1 << 16}, &info);
    if (image.pixels.size() != static_cast<size_t>(image.channels) *
                                   static_cast<size_t>(image.width) *
                                   static_cast<size_t>(image.height))
      std::abort();
  } catch (const FormatError&) {
    return 0;
  }
  try {
    decode_image(text, "fuzz.jpg", {.max_pixels = 1 << 16, .strict = true});
    if (info.warnings > 0) std::abort();
  } catch (const FormatError&) {
    if (info.warnings == 0) std::abort();
  }
  return 0;
}
