// ocellus image: decodes a picture and says what it is.
#include "data/image.h"

#include <nlohmann/json.hpp>

#include "data/resize.h"
#include "data/sha256.h"
#include "engine/file.h"
#include "tools/ocellus/command.h"

namespace ocellus {
namespace {

struct ImageArguments {
  std::string file, resize, filter = "bicubic", out;
  bool rgba_sha256 = false, raw_orientation = false;
  bool json = true;  // the output is JSON in any case
};

std::pair<int, int> parse_size(const std::string& text) {
  const size_t x = text.find('x');
  auto number = [&](const std::string& digits) {
    check<UsageError>(!digits.empty() && digits.size() < 6 &&
                          digits.find_first_not_of("0123456789") == std::string::npos,
                      "image: --resize must be WIDTHxHEIGHT, got \"{}\"", text);
    return std::stoi(digits);
  };
  const int width = number(text.substr(0, x)), height = number(x == std::string::npos ? "" : text.substr(x + 1));
  check<UsageError>(int64_t{width} * height <= DecodeOptions{}.max_pixels,
                    "image: --resize {}x{} is more than {} pixels", width, height, DecodeOptions{}.max_pixels);
  return {width, height};
}

int run(const ImageArguments& a) {
  DecodeOptions options;
  options.apply_orientation = !a.raw_orientation;
  DecodeInfo info;
  Image image = decode_image(read_file(a.file, uint64_t{1} << 32), a.file, options, &info);
  if (!a.resize.empty()) {
    const auto [width, height] = parse_size(a.resize);
    image = resize(image, width, height, filter_from_name(a.filter));
  }
  nlohmann::json mean = nlohmann::json::array();
  const auto pixels = static_cast<size_t>(image.width) * static_cast<size_t>(image.height);
  for (int c = 0; c < image.channels; ++c) {
    double sum = 0;
    for (size_t i = 0; i < pixels; ++i) sum += image.pixels[i * static_cast<size_t>(image.channels) + c];
    mean.push_back(sum / static_cast<double>(pixels));
  }
  nlohmann::json out = {{"width", image.width}, {"height", image.height}, {"mode", info.mode},
                        {"format", info.format}, {"mean", mean}, {"orientation", info.orientation}};
  if (info.warnings) out["warning"] = info.first_warning;
  if (a.rgba_sha256) {
    const Image rgba = to_rgba(image);
    out["rgba_sha256"] =
        sha256_hex({reinterpret_cast<const char*>(rgba.pixels.data()), rgba.pixels.size()});
  }
  if (!a.out.empty()) write_file_atomic(a.out, encode_png(image));
  fmt::print("{}\n", out.dump());
  return 0;
}

const RegisterCommand kImage({"image", "decode a PNG or JPEG, describe it as JSON",
                              "ocellus image photo.jpg --resize 224x224 --filter bicubic --out small.png",
                              [](Options& options) -> std::function<int()> {
                                auto a = std::make_shared<ImageArguments>();
                                options.positional("file", a->file, "PNG or JPEG file");
                                options.flag("--rgba-sha256", a->rgba_sha256, "SHA-256 of the RGBA bytes");
                                options.flag("--raw-orientation", a->raw_orientation, "leave EXIF orientation alone");
                                options.option("--resize", a->resize, "WIDTHxHEIGHT");
                                options.option("--filter", a->filter, "nearest box bilinear hamming bicubic lanczos");
                                options.option("--out", a->out, "write the picture as PNG");
                                options.json(a->json);
                                return [a] { return run(*a); };
                              }});

}  // namespace
}  // namespace ocellus
