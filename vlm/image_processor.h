// The image processors of Hugging Face `transformers`: from pictures to the numbers that a vision
// model takes, as preprocessor_config.json says. Pixels are resized as bytes with Pillow's
// rounding, then scaled and normalised in f32 (f64 for checks), so results are those of
// `transformers` to the last bit but one.
#pragma once
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/resize.h"
#include "engine/tensor.h"

namespace ocellus {

/// SizeRule — what `size`, `crop_size` and the like say; 0 where a key is absent. Valid sets of
/// keys: height and width; shortest_edge; shortest_edge and longest_edge; longest_edge; max_height
/// and max_width.
struct SizeRule {
  int64_t height = 0, width = 0, shortest_edge = 0, longest_edge = 0, max_height = 0, max_width = 0;
  bool defined() const {
    return height || width || shortest_edge || longest_edge || max_height || max_width;
  }
};

struct PixelSize {
  int height, width;
};

struct ImageProcessorConfig;

/// ImageBatch — pictures of one call. `counts` says how many belong to each sample; empty: a flat
/// list, which stands for one sample each or, where a class takes several per sample, for one
/// sample.
struct ImageBatch {
  std::vector<Image> images;
  std::vector<int64_t> counts;
};

/// ProcessedImages — tensors by their transformers name (pixel_values, pixel_attention_mask u8,
/// image_sizes, image_grid_thw, batch_num_images), and the rows and columns of tiles by sample and
/// picture where a class cuts tiles.
struct ProcessedImages {
  std::map<std::string, Tensor> tensors;
  std::vector<std::vector<int64_t>> rows = {}, cols = {};
};

/// ImageProcessorClass — one class of `transformers`: how it arranges pictures, and its defaults.
struct ImageProcessorClass {
  using Arrange = ProcessedImages (*)(const ImageProcessorConfig&, const ImageBatch&, DType);
  const char* name;  // without "ImageProcessor"
  Arrange arrange;
  const char *colours, *defaults;  // JSON, in the keys of preprocessor_config.json
};

struct ImageProcessorConfig {
  const ImageProcessorClass* kind = nullptr;
  bool do_resize = true, do_center_crop = false, do_rescale = true, do_normalize = true;
  bool do_convert_rgb = false, do_pad = false, do_image_splitting = false;
  SizeRule size, crop_size, pad_size;
  Filter resample = Filter::kBilinear;
  double rescale_factor = 1.0 / 255, crop_pct = 0.875;
  std::vector<double> image_mean, image_std;  // one a channel
  std::vector<PixelSize> grid_pinpoints;      // LLaVA-NeXT: grids to choose from
  int64_t tile = 0;                           // Idefics3: side of a tile
  int64_t patch_size = 0, temporal_patch_size = 0, merge_size = 0;  // Qwen2-VL
};

/// read_image_processor — of preprocessor_config.json, `who` in messages. FormatError for a class
/// that is not in the table, naming those that are, and for values that make no sense.
ImageProcessorConfig read_image_processor(const nlohmann::json& config, const std::string& who);

/// load_image_processor — preprocessor_config.json of a folder, or the image_processor of its
/// processor_config.json.
ImageProcessorConfig load_image_processor(const std::string& folder);

/// process_images — the numbers for the model, floats in `dtype`. Throws UsageError for pictures
/// that the configuration cannot take (channels, sizes that do not form a batch).
ProcessedImages process_images(const ImageProcessorConfig& config, const ImageBatch& batch,
                               DType dtype = DType::kF32);

}  // namespace ocellus
