#include "data/image.h"

#include <cmath>

#include "data/sha256.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

std::string digest(const Image& image) {
  return sha256_hex({reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()});
}

Image gradient(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  for (int i = 0; i < width * height * channels; ++i)
    image.pixels.push_back(static_cast<uint8_t>(i * 7 + i / 256));
  return image;
}

// A PNG that is only a header: IHDR with the given sizes (its checksum is not looked at before
// them).
std::string png_header(uint32_t width, uint32_t height) {
  std::string out("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  for (uint32_t v : {width, height})
    for (int s = 24; s >= 0; s -= 8) out.push_back(static_cast<char>(v >> s));
  return out + std::string("\x08\x02\0\0\0\0\0\0\0", 9);
}

std::string refusal(const std::string& bytes, DecodeOptions options = {}) {
  return error_of<FormatError>([&] { decode_image(bytes, "a.png", options); });
}

const std::filesystem::path kFolder = shared_root() / "data" / "image_conformance";

}  // namespace

TEST_CASE("sha256: the published vectors") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 pieces;
  const std::string million(1'000'000, 'a');
  for (size_t at = 0, step = 1; at < million.size(); at += step, step = step * 3 % 197 + 1)
    pieces.update(million.data() + at, std::min(step, million.size() - at));
  CHECK(pieces.hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("jpeg: EXIF orientation turns the picture upright") {
  if (!have_shared("data/image_conformance/jpeg")) return;
  const std::string plain = slurp(kFolder / "jpeg/pillow_hopper.jpg");
  const Image expected = decode_image(plain, "hopper");
  for (int orientation : {2, 3, 5, 6, 8}) {
    CAPTURE(orientation);
    const std::string file = "pillow_hopper_orientation_" + std::to_string(orientation) + ".jpg";
    const Image image = decode_image(slurp(kFolder / "jpeg" / file), file);
    double difference = 0;  // recompressed copies: close, not equal
    for (size_t i = 0; i < image.pixels.size(); ++i)
      difference += std::abs(image.pixels[i] - expected.pixels[i]);
    CHECK(difference / static_cast<double>(image.pixels.size()) < 6);
  }
}

TEST_CASE("jpeg: YCCK becomes RGB close to the RGB version of the same picture") {
  if (!have_shared("data/image_conformance/jpeg")) return;
  DecodeInfo info;
  const Image cmyk =
      decode_image(slurp(kFolder / "jpeg/pillow_pil_sample_cmyk.jpg"), "cmyk", {}, &info);
  const Image rgb = decode_image(slurp(kFolder / "jpeg/pillow_pil_sample_rgb.jpg"), "rgb");
  CHECK(info.mode == "CMYK");
  REQUIRE(cmyk.pixels.size() == rgb.pixels.size());
  double difference = 0;
  for (size_t i = 0; i < rgb.pixels.size(); ++i)
    difference += std::abs(cmyk.pixels[i] - rgb.pixels[i]);
  CHECK(difference / static_cast<double>(rgb.pixels.size()) < 12);
}

TEST_CASE("jpeg: progressive, CMYK and turned files have the pixels that Pillow 13 gives") {
  const auto folder = source_root() / "tests/fuzz/corpus/jpeg";
  const auto decoded = [&](const std::string& file) {
    return digest(decode_image(slurp(folder / file), file));
  };
  CHECK(decoded("progressive.jpg") ==
        "90e6a0ee36b67609465e3cabcb90997ed539e0f2be6bde490babc3a899463d3d");
  CHECK(decoded("cmyk.jpg") == "ce871cb41a6e88777493fc956009ac15071d359b4bc244c4ca843546015a0388");
  CHECK(decoded("exif6.jpg") == "efe84d185cde3521fd9531b7615297f92bdbef1fc3e087efd88db81bddcd5dfa");
  const Image image = decode_image(slurp(folder / "exif6.jpg"), "exif6.jpg");
  CHECK(image.width == 9);
  CHECK(image.height == 17);
  CHECK(
      decode_image(slurp(folder / "exif6.jpg"), "exif6.jpg", {.apply_orientation = false}).width ==
      17);
}

TEST_CASE("image: other formats are refused by name") {
  auto refused_as = [](std::string_view bytes) {
    return error_of<FormatError>([&] { decode_image(bytes, "pictures/x.jpg"); });
  };
  CHECK(refused_as("") == "pictures/x.jpg: not a PNG or JPEG picture but an empty file");
  CHECK(refused_as("GIF89a....") == "pictures/x.jpg: not a PNG or JPEG picture but GIF");
  CHECK(refused_as("BM123456") == "pictures/x.jpg: not a PNG or JPEG picture but BMP");
  CHECK(refused_as("RIFF\x10\x20\x30\x40WEBPVP8 ") ==
        "pictures/x.jpg: not a PNG or JPEG picture but WebP");
  CHECK(refused_as({"II*\0\x08\0\0\0", 8}) == "pictures/x.jpg: not a PNG or JPEG picture but TIFF");
  CHECK(refused_as({"\0\0\0\x1c"
                    "ftypavif",
                    12}) == "pictures/x.jpg: not a PNG or JPEG picture but AVIF");
  CHECK(refused_as({"\0\0\0\x1c"
                    "ftypheic",
                    12}) == "pictures/x.jpg: not a PNG or JPEG picture but HEIC");
  CHECK(refused_as("\n <!DOCTYPE html><html>404") ==
        "pictures/x.jpg: not a PNG or JPEG picture but HTML");
  CHECK(refused_as("<?xml version='1.0'?><svg/>") ==
        "pictures/x.jpg: not a PNG or JPEG picture but SVG");
  CHECK(refused_as("abcd") ==
        "pictures/x.jpg: not a PNG or JPEG picture but a file that begins with the bytes 61 62 63 "
        "64");
  CHECK(contains(refused_as("version https://git-lfs.github.com/spec/v1\noid"), "Git LFS pointer"));
  if (!have_shared("data/image_conformance/not_png_or_jpeg")) return;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder / "not_png_or_jpeg"))
    CHECK(contains(refused_as(slurp(entry.path())), "not a PNG or JPEG picture but "));
}

TEST_CASE("png: a file that declares 10^9 pixels is refused in one sentence") {
  CHECK(
      refusal(png_header(31623, 31623)) ==
      "a.png: the header says 31623 x 31623 = 1000014129 pixels, more than the limit of 178956970");
  CHECK(contains(refusal(png_header(0xffffffff, 0xffffffff)), "more than the limit"));
  CHECK(refusal(png_header(0, 5)) == "a.png: the header says 0 x 5 pixels; both must be positive");
  CHECK(refusal(png_header(10000, 10000)) ==
        "a.png: the header says 10000 x 10000 pixels, which 33 bytes of PNG cannot hold");
  CHECK(refusal(encode_png(gradient(5, 4, 3)), {.max_pixels = 19}) ==
        "a.png: the header says 5 x 4 = 20 pixels, more than the limit of 19");
  CHECK(contains(refusal(std::string("\x89PNG\r\n\x1a\n", 8)), "IHDR"));
}

TEST_CASE("png: every truncation and every flipped bit is refused or decoded, never worse") {
  const Image image = gradient(9, 7, 4);
  const std::string bytes = encode_png(image);
  CHECK(digest(decode_image(bytes, "a.png")) == digest(image));
  for (size_t n = 0; n < bytes.size(); ++n) CHECK(contains(refusal(bytes.substr(0, n)), "a.png: "));
  CHECK(
      contains(refusal(bytes.substr(0, bytes.size() / 2)), "the PNG file ends too early, at byte"));
  int silent = 0;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    try {
      silent += digest(decode_image(damaged, "a.png")) != digest(image);
    } catch (const FormatError&) {
    }
  }
  CHECK(silent == 0);  // checksums cover every byte that matters
}

TEST_CASE("jpeg: every truncation is refused or decoded with a warning") {
  if (!have_shared("data/image_conformance/jpeg")) return;
  const std::string bytes = slurp(kFolder / "jpeg/pillow_app13.jpg");
  for (size_t n = 3; n < bytes.size(); ++n) {
    DecodeInfo info;
    const std::string said =
        error_of<FormatError>([&] { decode_image(bytes.substr(0, n), "a.jpg", {}, &info); });
    CHECK((said != "(no error)" || info.warnings > 0));
    CHECK(error_of<FormatError>([&] {
            decode_image(bytes.substr(0, n), "a.jpg", {.strict = true});
          }) != "(no error)");
  }
}

TEST_CASE("jpeg: unusual kinds are refused in a sentence") {
  if (!have_shared("data/image_conformance/jpeg")) return;
  CHECK(error_of<FormatError>([] {
          decode_image(slurp(kFolder / "jpeg/ljt_monkey12.jpg"), "m.jpg");
        }) == "m.jpg: not a readable JPEG: Unsupported JPEG data precision 12");
  // A header of 65500 x 65500 pixels.
  std::string bytes = slurp(kFolder / "jpeg/pillow_app13.jpg");
  const size_t frame = bytes.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  for (size_t i : {5u, 7u})
    bytes[frame + i] = static_cast<char>(0xff), bytes[frame + i + 1] = static_cast<char>(0xdc);
  CHECK(error_of<FormatError>([&] { decode_image(bytes, "big.jpg"); }) ==
        "big.jpg: the header says 65500 x 65500 = 4290250000 pixels, more than the limit of "
        "178956970");
}

TEST_CASE("png: 1x1, 30000x1 and 1x30000 pictures survive the round trip") {
  for (auto [w, h] : {std::pair{1, 1}, {30000, 1}, {1, 30000}})
    for (int channels : {1, 3, 4}) {
      const Image image = gradient(w, h, channels);
      const Image back = decode_image(encode_png(image), "a.png");
      CHECK(back.width == w);
      CHECK(back.height == h);
      CHECK(back.channels == channels);
      CHECK(back.pixels == image.pixels);
    }
}

TEST_CASE("image: alpha is laid on the stated colour, or dropped") {
  const Image image{2, 2, 4, {10, 20, 30, 0, 10, 20, 30, 255, 10, 20, 30, 128, 200, 0, 255, 1}};
  // x·a + b·(255−a), divided by 255 and rounded to nearest
  CHECK(to_rgb(image).pixels ==
        std::vector<uint8_t>{255, 255, 255, 10, 20, 30, 132, 137, 142, 255, 254, 255});
  CHECK(to_rgb(image, kBlack).pixels ==
        std::vector<uint8_t>{0, 0, 0, 10, 20, 30, 5, 10, 15, 1, 0, 1});
  CHECK(drop_alpha(image).pixels ==
        std::vector<uint8_t>{10, 20, 30, 10, 20, 30, 10, 20, 30, 200, 0, 255});
  const Image grey{2, 1, 1, {7, 9}};
  CHECK(to_rgb(grey).pixels == std::vector<uint8_t>{7, 7, 7, 9, 9, 9});
  CHECK(to_rgba(grey).pixels == std::vector<uint8_t>{7, 7, 7, 255, 9, 9, 9, 255});
}

TEST_CASE("image: the eight orientations of a 3x2 picture") {
  // a b c      Row 0 of the stored picture is what the tag says it shows (EXIF 2.3, table 6).
  // d e f
  const Image image{3, 2, 1, {'a', 'b', 'c', 'd', 'e', 'f'}};
  const char* expected[] = {"abcdef", "cbafed", "fedcba", "defabc",
                            "adbecf", "daebfc", "fcebda", "cfbead"};
  for (int o = 1; o <= 8; ++o) {
    const Image out = upright(image, o);
    CHECK(std::string(out.pixels.begin(), out.pixels.end()) == expected[o - 1]);
    CHECK(out.width == (o >= 5 ? 2 : 3));
  }
  CHECK(upright(image, 0).pixels == image.pixels);
  CHECK(upright(image, 99).pixels == image.pixels);
}

TEST_CASE("image: EXIF blocks, whole and broken") {
  const std::string little("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 26);
  const std::string big("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0", 26);
  CHECK(exif_orientation(little) == 6);
  CHECK(exif_orientation(big) == 8);
  for (size_t n = 0; n < 22; ++n) CHECK(exif_orientation(little.substr(0, n)) == 1);
  std::string wild = little;
  wild[18] = 77;
  CHECK(exif_orientation(wild) == 1);
  wild = little;
  for (size_t i = 4; i < 8; ++i) wild[i] = '\xff';
  CHECK(exif_orientation(wild) == 1);
}

TEST_CASE("image: inconsistent pictures are usage errors") {
  const Image broken{3, 3, 3, {1, 2, 3}};
  CHECK(contains(error_of<UsageError>([&] { to_rgb(broken); }), "got 3x3x3 with 3 bytes"));
  CHECK(contains(error_of<UsageError>([&] { encode_png(broken); }), "encode_png: needs width"));
}
