#include "vlm/image_processor.h"

#include <filesystem>

#include "engine/json.h"
#include "vlm/config_reader.h"
#include "vlm/image_arrange.h"

namespace ocellus {
namespace {

using nlohmann::json;

// Means and deviations that classes share.
constexpr char kClipColours[] = R"({"image_mean": [0.48145466, 0.4578275, 0.40821073],
  "image_std": [0.26862954, 0.26130258, 0.27577711]})";
constexpr char kHalves[] = R"({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})";

// What other classes start from.
constexpr char kClip[] = R"({"size": {"shortest_edge": 224}, "crop_size": 224, "resample": 3,
  "do_center_crop": true, "do_convert_rgb": true, "default_to_square": false})";
constexpr char kTiles[] = R"({"size": {"longest_edge": 1456}, "resample": 1, "do_convert_rgb": true,
  "max_image_size": {"longest_edge": 364}, "do_image_splitting": true, "do_pad": true})";

const ImageProcessorClass kClasses[] = {
    {"CLIP", arrange_plain, kClipColours, kClip},
    {"Bit", arrange_plain, kClipColours, kClip},
    {"Idefics", arrange_plain, kClipColours,
     R"({"size": {"height": 224, "width": 224}, "resample": 3, "do_convert_rgb": true})"},
    {"Siglip", arrange_plain, kHalves,
     R"({"size": {"height": 224, "width": 224}, "resample": 3, "do_convert_rgb": true,
         "default_to_square": false})"},
    {"ViT", arrange_plain, kHalves, R"({"size": {"height": 224, "width": 224}, "resample": 2})"},
    {"Blip", arrange_plain, kClipColours,
     R"({"size": {"height": 384, "width": 384}, "resample": 3, "do_convert_rgb": true})"},
    {"ConvNext", arrange_crop_pct, kHalves,
     R"({"size": {"shortest_edge": 384}, "resample": 3, "crop_pct": 0.875,
         "default_to_square": false})"},
    {"Llava", arrange_square, kClipColours, kClip},
    {"LlavaNext", arrange_anyres, kClipColours,
     R"({"size": {"shortest_edge": 224}, "crop_size": 224, "resample": 3, "do_center_crop": true,
         "do_convert_rgb": true, "do_pad": true, "default_to_square": false, "image_grid_pinpoints":
         [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]})"},
    {"LlavaOnevision", arrange_onevision, kClipColours,
     R"({"size": {"height": 384, "width": 384}, "resample": 3, "do_convert_rgb": true,
         "do_pad": true, "default_to_square": false, "grid_of": {"step": 384, "most": 6}})"},
    {"Idefics2", arrange_quarters, kHalves,
     R"({"size": {"shortest_edge": 378, "longest_edge": 980}, "resample": 2,
         "do_convert_rgb": true, "do_pad": true, "default_to_square": false})"},
    {"Idefics3", arrange_tiles, kHalves, kTiles},
    {"SmolVLM", arrange_tiles, kHalves, kTiles},
    {"Qwen2VL", arrange_patches, kClipColours,
     R"({"size": {"shortest_edge": 3136, "longest_edge": 1003520}, "resample": 3,
         "do_convert_rgb": true, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2})"},
};

constexpr int64_t kLongestSide = 1 << 16;

// "CLIPImageProcessorFast", "CLIPFeatureExtractor" → "CLIP".
const ImageProcessorClass& class_of(const json& config, const std::string& who) {
  std::string name;
  for (const char* key : {"image_processor_type", "feature_extractor_type"})
    if (name.empty() && config.contains(key) && config[key].is_string())
      name = config[key].get<std::string>();
  std::string known;
  for (const ImageProcessorClass& c : kClasses) {
    for (const char* end :
         {"ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"})
      if (name == c.name + std::string(end)) return c;
    known += (known.empty() ? "" : ", ") + std::string(c.name);
  }
  check<FormatError>(!name.empty(), "{}: the key image_processor_type is missing", who);
  fail<FormatError>("{}: image_processor_type \"{}\" is none that is known ({} …ImageProcessor)",
                    who, name, known);
}

int64_t read_side(const json& value, const std::string& where) {
  check<FormatError>(value.is_number_integer() && value > 0 && value <= kLongestSide,
                     "{}: must be a whole number from 1 to {}, got {}", where, kLongestSide,
                     value.dump());
  return value.get<int64_t>();
}

// A number, [height, width] or an object of one of the valid sets of keys.
SizeRule read_size(const json& value, bool square, bool areas, const std::string& where) {
  SizeRule rule;
  if (value.is_number()) {
    const int64_t side = read_side(value, where);
    (square ? rule.height : rule.shortest_edge) = side;
    if (square) rule.width = side;
    return rule;
  }
  if (value.is_array()) {
    check<FormatError>(value.size() == 2, "{}: a list must be [height, width], got {}", where,
                       value.dump());
    rule.height = read_side(value[0], where);
    rule.width = read_side(value[1], where);
    return rule;
  }
  check<FormatError>(value.is_object(), "{}: must be a number, a list or an object, got {}", where,
                     value.dump());
  const std::pair<const char*, int64_t*> keys[] = {{"height", &rule.height},
                                                   {"width", &rule.width},
                                                   {"shortest_edge", &rule.shortest_edge},
                                                   {"longest_edge", &rule.longest_edge},
                                                   {"max_height", &rule.max_height},
                                                   {"max_width", &rule.max_width}};
  for (const auto& [key, entry] : value.items()) {
    if (entry.is_null()) continue;
    auto found = std::find_if(std::begin(keys), std::end(keys),
                              [&](const auto& known) { return key == known.first; });
    check<FormatError>(found != std::end(keys),
                       "{}: \"{}\" is not one of height, width, shortest_edge, longest_edge, "
                       "max_height, max_width",
                       where, key);
    if (areas) {  // pixels, not sides
      check<FormatError>(entry.is_number_integer() && entry > 0 && entry <= (int64_t{1} << 32),
                         "{}: {} must be a whole number from 1 to 2^32, got {}", where, key,
                         entry.dump());
      *found->second = entry.get<int64_t>();
    } else {
      *found->second = read_side(entry, where + "." + key);
    }
  }
  const bool edges = rule.shortest_edge || rule.longest_edge;
  const bool plain = rule.height && rule.width, most = rule.max_height && rule.max_width;
  check<FormatError>(plain + most + edges == 1 && !rule.height == !plain && !rule.width == !plain &&
                         !rule.max_height == !most && !rule.max_width == !most,
                     "{}: must have height and width, or shortest_edge or longest_edge or both, or "
                     "max_height and max_width, got {}",
                     where, value.dump());
  return rule;
}

std::vector<double> read_channels(const json& value, const std::string& where) {
  const json list = value.is_array() ? value : json::array({value, value, value});
  std::vector<double> numbers;
  for (const json& n : list) {
    check<FormatError>(n.is_number(), "{}: must be numbers, got {}", where, value.dump());
    numbers.push_back(n.get<double>());
  }
  check<FormatError>(numbers.size() == 1 || numbers.size() == 3 || numbers.size() == 4,
                     "{}: must have 1, 3 or 4 numbers (one a channel), got {}", where,
                     numbers.size());
  return numbers;
}

Filter read_filter(const json& value, const std::string& where) {
  static const std::map<int64_t, Filter> filters = {{0, Filter::kNearest},  {1, Filter::kLanczos},
                                                    {2, Filter::kBilinear}, {3, Filter::kBicubic},
                                                    {4, Filter::kBox},      {5, Filter::kHamming}};
  auto found = value.is_number_integer() ? filters.find(value.get<int64_t>()) : filters.end();
  check<FormatError>(
      found != filters.end(),
      "{}: must be 0 (nearest), 1 (Lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 "
      "(Hamming), got {}",
      where, value.dump());
  return found->second;
}

// [[height, width], …]; LLaVA-OneVision's default is every grid of 1 to 6 by 1 to 6 tiles.
std::vector<PixelSize> read_grids(const json& config, const std::string& who) {
  std::vector<PixelSize> grids;
  if (config.contains("image_grid_pinpoints")) {
    const std::string where = who + ": image_grid_pinpoints";
    const json& list = config["image_grid_pinpoints"];
    check<FormatError>(list.is_array() && !list.empty(), "{}: must be a list of [height, width]",
                       where);
    for (const json& pair : list) {
      check<FormatError>(pair.is_array() && pair.size() == 2,
                         "{}: must be a list of [height, width]", where);
      grids.push_back({static_cast<int>(read_side(pair[0], where)),
                       static_cast<int>(read_side(pair[1], where))});
    }
  } else if (config.contains("grid_of")) {
    const int step = config["grid_of"]["step"].get<int>(),
              most = config["grid_of"]["most"].get<int>();
    for (int down = 1; down <= most; ++down)
      for (int across = 1; across <= most; ++across) grids.push_back({down * step, across * step});
  }
  return grids;
}

void check_channels(const ImageProcessorConfig& c, const std::string& who) {
  if (!c.do_normalize) return;
  check<FormatError>(!c.image_mean.empty() && c.image_mean.size() == c.image_std.size(),
                     "{}: image_mean and image_std must have as many numbers, got {} and {}", who,
                     c.image_mean.size(), c.image_std.size());
  for (double deviation : c.image_std)
    check<FormatError>(deviation > 0, "{}: image_std must be above 0, got {}", who, deviation);
}

}  // namespace

ImageProcessorConfig read_image_processor(const json& given, const std::string& who) {
  check<FormatError>(given.is_object(), "{}: must be an object", who);
  ImageProcessorConfig c;
  c.kind = &class_of(given, who);
  json config = json::parse(c.kind->defaults);
  config.update(json::parse(c.kind->colours));
  const bool square = config.value("default_to_square", true);
  for (const auto& [key, value] : given.items())
    if (!value.is_null()) config[key] = value;
  const ConfigReader read(config, who);
  const bool areas = c.kind->arrange == arrange_patches;
  // Older keys of single classes.
  if (areas && read.has("min_pixels")) config["size"]["shortest_edge"] = config["min_pixels"];
  if (areas && read.has("max_pixels")) config["size"]["longest_edge"] = config["max_pixels"];
  if (c.kind->name == std::string("Idefics") && read.has("image_size"))
    config["size"] = config["image_size"];

  for (const auto& [key, flag] : std::initializer_list<std::pair<const char*, bool*>>{
           {"do_resize", &c.do_resize},
           {"do_center_crop", &c.do_center_crop},
           {"do_rescale", &c.do_rescale},
           {"do_normalize", &c.do_normalize},
           {"do_convert_rgb", &c.do_convert_rgb},
           {"do_pad", &c.do_pad},
           {"do_image_splitting", &c.do_image_splitting}})
    *flag = read.flag(key, *flag);
  c.size = read_size(config["size"], square, areas, who + ": size");
  if (read.has("crop_size"))
    c.crop_size = read_size(config["crop_size"], true, false, who + ": crop_size");
  if (read.has("pad_size"))
    c.pad_size = read_size(config["pad_size"], true, false, who + ": pad_size");
  check<FormatError>(!c.do_center_crop || c.crop_size.height,
                     "{}: do_center_crop needs crop_size with height and width", who);
  check<FormatError>(!c.pad_size.defined() || c.pad_size.height,
                     "{}: pad_size needs height and width", who);
  c.resample = read_filter(config["resample"], who + ": resample");
  c.rescale_factor = read.number("rescale_factor", c.rescale_factor);
  c.crop_pct = read.number("crop_pct", c.crop_pct);
  check<FormatError>(c.crop_pct > 0 && c.crop_pct <= 1, "{}: crop_pct must be in (0, 1], got {}",
                     who, c.crop_pct);
  c.image_mean = read_channels(config["image_mean"], who + ": image_mean");
  c.image_std = read_channels(config["image_std"], who + ": image_std");
  check_channels(c, who);
  c.grid_pinpoints = read_grids(config, who);
  if (read.has("max_image_size"))
    c.tile =
        read_size(config["max_image_size"], false, false, who + ": max_image_size").longest_edge;
  check<FormatError>(c.kind->arrange != arrange_tiles || c.tile,
                     "{}: max_image_size needs longest_edge", who);
  if (areas) {
    c.patch_size = read_side(config["patch_size"], who + ": patch_size");
    c.temporal_patch_size = read_side(config["temporal_patch_size"], who + ": temporal_patch_size");
    c.merge_size = read_side(config["merge_size"], who + ": merge_size");
  }
  return c;
}

ImageProcessorConfig load_image_processor(const std::string& folder) {
  const std::string own = folder + "/preprocessor_config.json";
  if (std::filesystem::exists(own)) return read_image_processor(load_json(own), own);
  const std::string whole = folder + "/processor_config.json";
  check<FormatError>(std::filesystem::exists(whole),
                     "{}: has neither preprocessor_config.json nor processor_config.json", folder);
  const json config = load_json(whole);
  check<FormatError>(config.is_object() && config.contains("image_processor"),
                     "{}: the key image_processor is missing", whole);
  return read_image_processor(config["image_processor"], whole + ": image_processor");
}

ProcessedImages process_images(const ImageProcessorConfig& config, const ImageBatch& batch,
                               DType dtype) {
  check<UsageError>(!batch.images.empty(), "image processor: there must be at least one picture");
  int64_t counted = 0;
  for (int64_t count : batch.counts) counted += count;
  check<UsageError>(batch.counts.empty() || counted == static_cast<int64_t>(batch.images.size()),
                    "image processor: counts add up to {}, there are {} pictures", counted,
                    batch.images.size());
  check<DTypeError>(dtype == DType::kF32 || dtype == DType::kF64,
                    "image processor: pixels are f32 or f64, got {}", dtype_name(dtype));
  return config.kind->arrange(config, batch, dtype);
}

}  // namespace ocellus
