// The decoders against files with known pixels (the shared conformance set).
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/image.h"
#include "data/sha256.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

std::vector<json> read_table(const std::filesystem::path& path) {
  std::vector<json> rows;
  std::istringstream in(slurp(path));
  for (std::string line; std::getline(in, line);) rows.push_back(json::parse(line));
  return rows;
}

std::string digest(const Image& image) {
  return sha256_hex({reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()});
}

const std::filesystem::path kFolder = shared_root() / "data" / "image_conformance";

}  // namespace

TEST_CASE("png: every file of the conformance set decodes to the expected bytes or is refused") {
  if (!have_shared("data/image_conformance/png.jsonl")) return;
  int decoded = 0, refused = 0;
  for (const json& row : read_table(kFolder / "png.jsonl")) {
    const std::string file = row["file"];
    CAPTURE(file);
    const std::string bytes = slurp(kFolder / file);
    const bool malformed = row["status"] == "malformed";
    try {
      const Image image = decode_image(bytes, file, {.apply_orientation = false});
      ++decoded;
      if (malformed) continue;
      CHECK(image.width == row["width"]);
      CHECK(image.height == row["height"]);
      CHECK(digest(to_rgba(image)) == row["rgba8_sha256"]);
    } catch (const FormatError& error) {
      ++refused;
      CHECK_MESSAGE(malformed, error.what());
      CHECK(contains(error.what(), file));
    }
  }
  CHECK(decoded > 100);
  CHECK(refused > 5);
}

TEST_CASE("jpeg: every file of the conformance set agrees with another decoder") {
  if (!have_shared("data/image_conformance/jpeg.jsonl")) return;
  int compared = 0, refused = 0;
  for (const json& row : read_table(kFolder / "jpeg.jsonl")) {
    const std::string file = row["file"], status = row["status"];
    CAPTURE(file);
    const std::string bytes = slurp(kFolder / file);
    if (file ==
        "jpeg/pillow_icc-after-SOF.jpg") {  // ImageIO gives up on it; libjpeg and Pillow do not
      const Image image = decode_image(bytes, file);
      CHECK(image.pixels == std::vector<uint8_t>(100, 0));
      continue;
    }
    if (status != "ok" && status != "damaged") {
      CHECK(contains(error_of<FormatError>([&] { decode_image(bytes, file); }), file));
      ++refused;
      continue;
    }
    DecodeInfo info;
    const Image image = decode_image(bytes, file, {.apply_orientation = false}, &info);
    CHECK(image.width == row["width"]);
    CHECK(image.height == row["height"]);
    CHECK((info.warnings > 0) == (status == "damaged"));
    CHECK(info.orientation ==
          (row["exif_orientation"].is_null() ? 1 : row["exif_orientation"].get<int>()));
    const std::string strict =
        error_of<FormatError>([&] { decode_image(bytes, file, {.strict = true}); });
    CHECK((strict == "(no error)") == (status == "ok"));
    if (row["components"] == 4 || status == "damaged") continue;
    auto mean = [&](size_t c) {
      double sum = 0;
      for (size_t i = c; i < image.pixels.size(); i += static_cast<size_t>(image.channels))
        sum += image.pixels[i];
      return sum * image.channels / static_cast<double>(image.pixels.size());
    };
    if (file == "jpeg/imagers_portrait_2.jpg") {  // ImageIO applied its colour profile: means from
                                                  // Pillow instead
      CHECK(std::abs(mean(0) - 99.90631268) < 1e-6);
      CHECK(std::abs(mean(1) - 102.83126844) < 1e-6);
      CHECK(std::abs(mean(2) - 83.00572271) < 1e-6);
      continue;
    }
    for (const auto& sample : row["samples"]) {
      const size_t at =
          (sample[1].get<size_t>() * static_cast<size_t>(image.width) + sample[0].get<size_t>()) *
          static_cast<size_t>(image.channels);
      for (size_t c = 0; c < static_cast<size_t>(image.channels); ++c)
        CHECK(std::abs(image.pixels[at + c] - sample[2 + c].get<int>()) <= 1);
    }
    for (size_t c = 0; c < static_cast<size_t>(image.channels); ++c)
      CHECK(std::abs(mean(c) - row["mean"][c].get<double>()) < 0.02);
    ++compared;
  }
  CHECK(compared >= 24);
  CHECK(refused == 2);
}
