// Image processors: forms of preprocessor_config.json, arrangement, and what is refused. The
// numbers themselves are compared with goldens of transformers (tests/golden).
#include "vlm/image_processor.h"

#include <nlohmann/json.hpp>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

Image picture(int width, int height, int channels = 3) {
  Image image{width, height, channels, {}};
  for (int i = 0; i < width * height * channels; ++i)
    image.pixels.push_back(static_cast<uint8_t>(i * 7 % 256));
  return image;
}

ImageProcessorConfig processor(const std::string& type, json keys = json::object()) {
  keys["image_processor_type"] = type;
  return read_image_processor(keys, "config");
}
std::string refusal(const std::string& type, json keys = json::object()) {
  return error_of<FormatError>([&] { processor(type, keys); });
}
std::vector<int64_t> shape_of(const ProcessedImages& out, const char* name = "pixel_values") {
  const Shape& shape = out.tensors.at(name).shape();
  return {shape.begin(), shape.end()};
}
using Sizes = std::vector<int64_t>;

}  // namespace

TEST_CASE("image processor: size is a number, a list or an object") {
  CHECK(processor("CLIPImageProcessor", {{"size", 30}}).size.shortest_edge == 30);
  CHECK(processor("CLIPImageProcessor", {{"size", 30}}).crop_size.width == 224);
  CHECK(processor("ViTImageProcessor", {{"size", 30}}).size.height == 30);
  CHECK(processor("ViTImageProcessor", {{"size", {20, 30}}}).size.width == 30);
  CHECK(processor("ViTFeatureExtractor", {{"crop_size", 9}}).crop_size.height == 9);
  CHECK(processor("SiglipImageProcessorFast").size.width == 224);
  CHECK(processor("IdeficsImageProcessor", {{"image_size", 30}}).size.height == 30);
  const auto qwen =
      processor("Qwen2VLImageProcessor", {{"min_pixels", 99}, {"max_pixels", 12845056}});
  CHECK(qwen.size.shortest_edge == 99);
  CHECK(qwen.size.longest_edge == 12845056);
  CHECK(processor("LlavaOnevisionImageProcessor").grid_pinpoints.size() == 36);
}

TEST_CASE("image processor: what makes no sense is refused by file, key and rule") {
  CHECK(contains(
      refusal("DetrImageProcessor"),
      "config: image_processor_type \"DetrImageProcessor\" is none that is known (CLIP, "));
  CHECK(contains(error_of<FormatError>([] { read_image_processor(json::object(), "config"); }),
                 "config: the key image_processor_type is missing"));
  CHECK(contains(error_of<FormatError>([] { read_image_processor(json::array(), "config"); }),
                 "config: must be an object"));
  CHECK(contains(
      refusal("ViTImageProcessor", {{"size", {{"height", 3}}}}),
      "config: size: must have height and width, or shortest_edge or longest_edge or both"));
  CHECK(contains(refusal("ViTImageProcessor", {{"size", {{"hight", 3}}}}),
                 "config: size: \"hight\" is not one of height, width"));
  CHECK(contains(refusal("ViTImageProcessor", {{"size", 0}}),
                 "must be a whole number from 1 to 65536"));
  CHECK(contains(refusal("ViTImageProcessor", {{"size", {1, 2, 3}}}),
                 "a list must be [height, width]"));
  CHECK(contains(refusal("ViTImageProcessor", {{"resample", 6}}),
                 "config: resample: must be 0 (nearest)"));
  CHECK(contains(refusal("ViTImageProcessor", {{"image_std", {0.5, 0, 0.5}}}),
                 "config: image_std must be above 0"));
  CHECK(contains(refusal("ViTImageProcessor", {{"image_mean", {0.5, 0.5}}}),
                 "image_mean: must have 1, 3 or 4 numbers (one a channel), got 2"));
  CHECK(contains(refusal("ViTImageProcessor", {{"do_resize", "yes"}}),
                 "do_resize must be true or false"));
  CHECK(contains(refusal("ViTImageProcessor", {{"do_center_crop", true}}),
                 "do_center_crop needs crop_size with height and width"));
  CHECK(contains(refusal("LlavaNextImageProcessor", {{"image_grid_pinpoints", {1, 2}}}),
                 "image_grid_pinpoints: must be a list of [height, width]"));
  CHECK(contains(
      refusal("Idefics3ImageProcessor", {{"max_image_size", {{"height", 4}, {"width", 4}}}}),
      "max_image_size needs longest_edge"));
}

TEST_CASE("image processor: bytes are scaled and normalised channel by channel") {
  const auto config = processor("CLIPImageProcessor", {{"do_resize", false},
                                                       {"do_center_crop", false},
                                                       {"image_mean", {0, 0.5, 1}},
                                                       {"image_std", {1, 0.5, 2}}});
  const Image two{2, 1, 3, {0, 51, 255, 255, 0, 102}};
  const auto f64 = process_images(config, {{two}, {}}, DType::kF64).tensors.at("pixel_values");
  CHECK(f64.to_vector<double>() ==
        std::vector<double>{0, 1, (0.2 - 0.5) / 0.5, -1, 0, (0.4 - 1) / 2});
  CHECK(process_images(config, {{two}, {}}).tensors.at("pixel_values").dtype() == DType::kF32);
}

TEST_CASE("image processor: transparency is laid on white, grey is repeated") {
  const auto config =
      processor("SiglipImageProcessor",
                {{"do_resize", false}, {"do_rescale", false}, {"do_normalize", false}});
  const Image clear{1, 1, 4, {10, 20, 30, 0}}, half{1, 1, 4, {0, 100, 200, 128}},
      grey{1, 1, 1, {7}};
  const auto out = process_images(config, {{clear, half, grey}, {}}).tensors.at("pixel_values");
  CHECK(out.to_vector<double>() == std::vector<double>{255, 255, 255, 127, 177, 227, 7, 7, 7});
}

TEST_CASE("image processor: pictures that do not fit the configuration are refused") {
  const auto vit = processor("ViTImageProcessor");
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(vit, {{picture(4, 4, 1)}, {}});
                 }),
                 "image_mean has 3 numbers, the picture 1 channels (do_convert_rgb is off)"));
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(vit, {{}, {}});
                 }),
                 "at least one picture"));
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(vit, {{picture(4, 4)}, {2}});
                 }),
                 "counts add up to 2, there are 1 pictures"));
  const auto as_is = processor("ViTImageProcessor", {{"do_resize", false}});
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(as_is, {{picture(4, 4), picture(4, 5)}, {}});
                 }),
                 "must come out equally large, got 4x4 and 4x5"));
  const auto qwen = processor("Qwen2VLImageProcessor");
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(qwen, {{picture(401, 2)}, {}});
                 }),
                 "the longer side may be 200 times the shorter one, got 401x2"));
  const auto wide = processor("CLIPImageProcessor", {{"size", 20000}});
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(wide, {{picture(90, 2)}, {}});
                 }),
                 "a picture of 90x2 would become 900000x20000 pixels"));
  const auto tiny =
      processor("Idefics3ImageProcessor", {{"max_image_size", {{"longest_edge", 2}}}});
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(tiny, {{picture(9, 9)}, {}});
                 }),
                 "1456x1456 pixels would be 529984 tiles of 2, more than 16384"));
  const auto quarters = processor("Idefics2ImageProcessor", {{"do_image_splitting", true}});
  CHECK(contains(error_of<UsageError>([&] {
                   process_images(quarters, {{picture(1, 9)}, {}});
                 }),
                 "a picture of 1x9 pixels cannot be split into quarters"));
}

TEST_CASE("image processor: samples of several pictures are padded to the largest, with a mask") {
  const auto config =
      processor("Idefics3ImageProcessor",
                {{"size", {{"longest_edge", 16}}}, {"max_image_size", {{"longest_edge", 8}}}});
  // 16x8 gives two tiles and the whole, a square of 5 four tiles and the whole.
  const auto out =
      process_images(config, {{picture(20, 10), picture(5, 5), picture(20, 10)}, {1, 2}});
  CHECK(shape_of(out) == Sizes{2, 8, 3, 8, 8});
  CHECK(out.rows == std::vector<Sizes>{{1}, {2, 1}});
  CHECK(out.cols == std::vector<Sizes>{{2}, {2, 2}});
  const auto mask = out.tensors.at("pixel_attention_mask").to_vector<int64_t>();
  CHECK(std::count(mask.begin(), mask.end(), 1) == (3 + 8) * 64);
  const auto flat = process_images(config, {{picture(20, 10), picture(5, 5)}, {}});
  CHECK(flat.rows == std::vector<Sizes>{{1, 2}});
}

TEST_CASE("image processor: only single pictures of OneVision are cut into a grid") {
  const auto config = processor(
      "LlavaOnevisionImageProcessor",
      {{"size", {{"height", 8}, {"width", 8}}}, {"image_grid_pinpoints", {{8, 16}, {16, 16}}}});
  const auto single = process_images(config, {{picture(20, 10)}, {}});
  CHECK(shape_of(single) == Sizes{1, 3, 3, 8, 8});
  CHECK(single.tensors.at("image_sizes").to_vector<int64_t>() == Sizes{10, 20});
  const auto both = process_images(config, {{picture(20, 10), picture(6, 6)}, {2}});
  CHECK(shape_of(both) == Sizes{2, 1, 3, 8, 8});
  CHECK(both.tensors.at("batch_num_images").to_vector<int64_t>() == Sizes{2});
}

TEST_CASE("image processor: ConvNeXt crops below a short edge of 384 and squeezes from there on") {
  const auto small = processor("ConvNextImageProcessor", {{"size", {{"shortest_edge", 7}}}});
  CHECK(shape_of(process_images(small, {{picture(20, 10)}, {}})) == Sizes{1, 3, 7, 7});
  const auto large = processor("ConvNextImageProcessor");
  CHECK(shape_of(process_images(large, {{picture(20, 10, 3)}, {}})) == Sizes{1, 3, 384, 384});
}
