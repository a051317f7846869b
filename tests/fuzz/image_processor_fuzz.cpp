// Fuzz target: preprocessor_config.json. Any text either is refused with a FormatError or makes a
// processor that turns pictures into finite shapes or refuses them with a sentence. The two bytes
// in front are the sides of a picture.
// needs: vlm/image_processor.cpp vlm/image_arrange.cpp data/image.cpp data/image_edit.cpp
// needs: data/resize.cpp data/png.cpp data/jpeg.cpp engine/tensor.cpp engine/shape.cpp engine/file.cpp engine/json.cpp
// needs: engine/parallel.cpp engine/memory/*.cpp engine/cpu/copy.cpp engine/cpu/elementwise.cpp engine/cpu/reduce.cpp
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/check.h"
#include "engine/json.h"
#include "vlm/image_processor.h"

using namespace ocellus;

namespace {

// Sizes that would only cost time are left out.
bool is_small(const ImageProcessorConfig& c) {
  const SizeRule& s = c.size;
  for (int64_t side :
       {s.height, s.width, s.shortest_edge, s.longest_edge, s.max_height, s.max_width,
        c.crop_size.height, c.crop_size.width, c.pad_size.height, c.pad_size.width, c.tile,
        c.patch_size * c.merge_size, c.temporal_patch_size * 16})
    if (side > 256) return false;
  for (const PixelSize& grid : c.grid_pinpoints)
    if (grid.height > 256 || grid.width > 256) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2) return 0;
  const int width = bytes[0] % 40 + 1, height = bytes[1] % 40 + 1;
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 2, size - 2);
  try {
    const ImageProcessorConfig config = read_image_processor(
        parse_json(text, "preprocessor_config.json"), "preprocessor_config.json");
    if (!is_small(config)) return 0;
    const size_t pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
    const Image rgb{width, height, 3, std::vector<uint8_t>(pixels * 3, 77)};
    const Image clear{height, width, 4, std::vector<uint8_t>(pixels * 4, 99)};
    process_images(config, {{rgb, clear, rgb}, {1, 2}});
  } catch (const FormatError&) {
  } catch (const UsageError&) {
  }
  return 0;
}
