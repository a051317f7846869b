#include "data/resize.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "data/sha256.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

// The byte stream described in make_resize_golden.py.
Image picture(uint64_t seed, int channels, int width, int height, bool hard) {
  Image image{width, height, channels,
              std::vector<uint8_t>(static_cast<size_t>(width * height * channels))};
  for (uint8_t& byte : image.pixels) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<uint8_t>(seed >> 56);
    if (hard) byte = byte >> 7 ? 255 : 0;
  }
  return image;
}

}  // namespace

TEST_CASE("resize: byte-equal to Pillow over filters, modes and sizes") {
  std::istringstream in(slurp(source_root() / "tests/golden/resize.jsonl"));
  int compared = 0;
  for (std::string line; std::getline(in, line);) {
    const auto row = nlohmann::json::parse(line);
    if (row.contains("pillow")) continue;
    CAPTURE(line);
    const std::string mode = row["mode"];
    const int channels = mode == "L" ? 1 : mode == "RGB" ? 3 : 4;
    const Image image = picture(row["seed"], channels, row["in"][0], row["in"][1], row["hard"]);
    const Image out = resize(image, row["out"][0], row["out"][1],
                             filter_from_name(row["filter"].get<std::string>()));
    CHECK(sha256_hex({reinterpret_cast<const char*>(out.pixels.data()), out.pixels.size()}) ==
          row["sha256"]);
    if (row.contains("pixels")) CHECK(out.pixels == row["pixels"].get<std::vector<uint8_t>>());
    ++compared;
  }
  CHECK(compared == 240);
}

TEST_CASE("resize: a constant picture stays constant, and the same size is the same picture") {
  const Image image{31, 17, 3, std::vector<uint8_t>(31 * 17 * 3, 201)};
  for (Filter filter :
       {Filter::kBox, Filter::kBilinear, Filter::kHamming, Filter::kBicubic, Filter::kLanczos})
    for (auto [w, h] : {std::pair{5, 90}, {90, 5}, {1, 1}, {64, 64}})
      CHECK(resize(image, w, h, filter).pixels ==
            std::vector<uint8_t>(static_cast<size_t>(w * h * 3), 201));
  const Image noise = picture(5, 4, 13, 11, false);
  CHECK(resize(noise, 13, 11, Filter::kBicubic).pixels == noise.pixels);
}

TEST_CASE("resize: wrong sizes and filters are refused") {
  const Image image = picture(1, 3, 4, 4, false);
  CHECK(error_of<UsageError>([&] { resize(image, 0, 5, Filter::kBox); }) ==
        "resize: both sides must be in 1 … 16777216, got 0 x 5");
  CHECK(error_of<UsageError>([&] {
          resize({4, 4, 3, {1, 2}}, 2, 2, Filter::kBox);
        }) ==
        "resize: an image needs width · height · channels bytes and 1, 3 or 4 channels, got 4x4x3 "
        "with 2 bytes");
  CHECK(error_of<UsageError>([] { filter_from_name("cubic"); }) ==
        "resize: the filter must be nearest, box, bilinear, hamming, bicubic or lanczos, got "
        "\"cubic\"");
}

TEST_CASE("reduce: byte-equal to Pillow, alone and as the first step of resize") {
  std::istringstream in(slurp(source_root() / "tests/golden/reduce.jsonl"));
  int compared = 0;
  for (std::string line; std::getline(in, line);) {
    const auto row = nlohmann::json::parse(line);
    if (row.contains("pillow")) continue;
    CAPTURE(line);
    const std::string mode = row["mode"];
    const int channels = mode == "L" ? 1 : mode == "RGB" ? 3 : 4;
    const Image image = picture(row["seed"], channels, row["in"][0], row["in"][1], row["hard"]);
    const Image out = row.contains("factors")
                          ? reduce(image, row["factors"][0], row["factors"][1])
                          : resize(image, row["out"][0], row["out"][1],
                                   filter_from_name(row["filter"].get<std::string>()), row["gap"]);
    CHECK(sha256_hex({reinterpret_cast<const char*>(out.pixels.data()), out.pixels.size()}) ==
          row["sha256"]);
    ++compared;
  }
  CHECK(compared == 120);
}

TEST_CASE("reduce: factors out of range and a gap below one are refused") {
  const Image image = picture(1, 3, 4, 4, false);
  CHECK(contains(error_of<UsageError>([&] { reduce(image, 0, 2); }), "factors must be in 1 … 4095"));
  CHECK(contains(error_of<UsageError>([&] { reduce(image, 2, 4096); }), "got 2 and 4096"));
  CHECK(contains(error_of<UsageError>([&] { resize(image, 2, 2, Filter::kBox, 0.5); }),
                 "reducing_gap must be at least 1, got 0.5"));
}
