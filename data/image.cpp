#include "data/image.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "engine/check.h"

namespace ocellus {
namespace {

struct Magic {
  size_t offset;
  std::string_view bytes;
  const char* name;
};

using namespace std::string_view_literals;

constexpr Magic kMagic[] = {
    {0, "\x89PNG\r\n\x1a\n"sv, "png"},
    {0, "\xff\xd8\xff"sv, "jpeg"},
    {0, "GIF8"sv, "GIF"},
    {0, "BM"sv, "BMP"},
    {8, "WEBP"sv, "WebP"},
    {0, "II*\0"sv, "TIFF"},
    {0, "MM\0*"sv, "TIFF"},
    {4, "ftypavif"sv, "AVIF"},
    {4, "ftypavis"sv, "AVIF"},
    {4, "ftyphei"sv, "HEIC"},
    {4, "ftyphev"sv, "HEIC"},
    {4, "ftypmif1"sv, "HEIF"},
    {4, "ftyp"sv, "an MP4-like video"},
    {0, "\x1a\x45\xdf\xa3"sv, "a Matroska or WebM video"},
    {0, "\0\0\0\x0cJXL "sv, "JPEG XL"},
    {0, "\xff\x0a"sv, "JPEG XL"},
    {0, "\0\0\0\x0cjP  "sv, "JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
    {0, "8BPS"sv, "Photoshop"},
    {0, "\0\0\1\0"sv, "ICO"},
    {0, "qoif"sv, "QOI"},
    {0, "%PDF"sv, "PDF"},
    {0, "PK\3\4"sv, "ZIP"},
    {0, "\x1f\x8b"sv, "gzip"},
    {0, "P5"sv, "PGM"},
    {0, "P6"sv, "PPM"},
    {0, "version https://git-lfs"sv, "a Git LFS pointer (the file itself was not fetched)"},
};

// Text formats are told by their first tag, wherever white space lets it begin.
std::string sniff_text(std::string_view bytes) {
  std::string head;
  for (char c : bytes.substr(0, 512)) {
    if (head.empty() && (c == ' ' || c == '\n' || c == '\r' || c == '\t')) continue;
    head.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  if (head.rfind("\xef\xbb\xbf", 0) == 0) head.erase(0, 3);
  if (head.rfind("<!doctype html", 0) == 0 || head.rfind("<html", 0) == 0) return "HTML";
  if (head.rfind("<svg", 0) == 0 || head.find("<svg") != std::string::npos) return "SVG";
  if (head.rfind("<?xml", 0) == 0) return "XML";
  if (head.rfind("{", 0) == 0) return "JSON";
  return {};
}

void check_consistent(const Image& image, const char* who) {
  const bool ok = image.width > 0 && image.height > 0 &&
                  (image.channels == 1 || image.channels == 3 || image.channels == 4) &&
                  image.pixels.size() == static_cast<size_t>(image.width) *
                                             static_cast<size_t>(image.height) *
                                             static_cast<size_t>(image.channels);
  check<UsageError>(ok,
                    "{}: an image needs width · height · channels bytes and 1, 3 or 4 channels, "
                    "got {}x{}x{} with {} bytes",
                    who, image.width, image.height, image.channels, image.pixels.size());
}

uint8_t over(uint8_t x, uint8_t a, uint8_t background) {
  return static_cast<uint8_t>((x * a + background * (255 - a) + 127) / 255);
}

}  // namespace

std::string sniff_image(std::string_view bytes) {
  if (bytes.empty()) return "an empty file";
  for (const Magic& magic : kMagic)
    if (bytes.size() >= magic.offset + magic.bytes.size() &&
        bytes.substr(magic.offset, magic.bytes.size()) == magic.bytes)
      return magic.name;
  if (std::string text = sniff_text(bytes); !text.empty()) return text;
  std::string hex = "a file that begins with the bytes";
  for (char c : bytes.substr(0, 4)) hex += fmt::format(" {:02x}", static_cast<unsigned char>(c));
  return hex;
}

void check_image_size(const std::string& name, int64_t width, int64_t height, int64_t max_pixels) {
  check<FormatError>(width > 0 && height > 0,
                     "{}: the header says {} x {} pixels; both must be positive", name, width,
                     height);
  // Both sides are below 2^32, so the product fits 64 bits without a sign.
  const uint64_t pixels = static_cast<uint64_t>(width) * static_cast<uint64_t>(height);
  check<FormatError>(
      width <= UINT32_MAX && height <= UINT32_MAX && pixels <= static_cast<uint64_t>(max_pixels),
      "{}: the header says {} x {} = {} pixels, more than the limit of {}", name, width, height,
      pixels, max_pixels);
}

Image decode_image(std::string_view bytes, const std::string& name, const DecodeOptions& options,
                   DecodeInfo* info) {
  DecodeInfo unused;
  if (!info) info = &unused;
  *info = {};
  const std::string kind = sniff_image(bytes);
  Image image;
  if (kind == "png") {
    image = decode_png(bytes, name, options, info);
  } else if (kind == "jpeg") {
    image = decode_jpeg(bytes, name, options, info);
  } else {
    fail<FormatError>("{}: not a PNG or JPEG picture but {}", name, kind);
  }
  info->format = kind;
  return options.apply_orientation ? upright(std::move(image), info->orientation) : image;
}

Image to_rgb(const Image& image, Rgb background) {
  check_consistent(image, "to_rgb");
  if (image.channels != 4) return drop_alpha(image);
  Image out{image.width, image.height, 3, std::vector<uint8_t>(image.pixels.size() / 4 * 3)};
  const uint8_t* from = image.pixels.data();
  for (uint8_t *to = out.pixels.data(), *end = to + out.pixels.size(); to != end;
       to += 3, from += 4)
    for (int c = 0; c < 3; ++c) to[c] = over(from[c], from[3], background[static_cast<size_t>(c)]);
  return out;
}

Image drop_alpha(const Image& image) {
  check_consistent(image, "drop_alpha");
  if (image.channels == 3) return image;
  const size_t count = image.pixels.size() / static_cast<size_t>(image.channels);
  Image out{image.width, image.height, 3, std::vector<uint8_t>(count * 3)};
  for (size_t i = 0; i < count; ++i)
    for (size_t c = 0; c < 3; ++c)
      out.pixels[i * 3 + c] = image.channels == 1 ? image.pixels[i] : image.pixels[i * 4 + c];
  return out;
}

Image to_rgba(const Image& image) {
  check_consistent(image, "to_rgba");
  if (image.channels == 4) return image;
  const size_t count = image.pixels.size() / static_cast<size_t>(image.channels);
  Image out{image.width, image.height, 4, std::vector<uint8_t>(count * 4, 255)};
  for (size_t i = 0; i < count; ++i)
    for (size_t c = 0; c < 3; ++c)
      out.pixels[i * 4 + c] = image.channels == 1 ? image.pixels[i] : image.pixels[i * 3 + c];
  return out;
}

Image upright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  check_consistent(image, "upright");
  const int w = image.width, h = image.height;
  const bool swap = orientation >= 5;
  const size_t channels = static_cast<size_t>(image.channels);
  Image out{swap ? h : w, swap ? w : h, image.channels, std::vector<uint8_t>(image.pixels.size())};
  uint8_t* to = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x, to += channels) {
      // Where the pixel that belongs at (x, y) of the upright picture lies in the stored one.
      int sx = swap ? y : x, sy = swap ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        sx = w - 1 - sx;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        sy = h - 1 - sy;
      const uint8_t* from =
          image.pixels.data() +
          (static_cast<size_t>(sy) * static_cast<size_t>(w) + static_cast<size_t>(sx)) * channels;
      std::copy(from, from + channels, to);
    }
  }
  return out;
}

int exif_orientation(std::string_view tiff) {
  if (tiff.size() < 8) return 1;
  const bool little = tiff.substr(0, 4) == "II*\0"sv;
  if (!little && tiff.substr(0, 4) != "MM\0*"sv) return 1;
  auto number = [&](size_t at, size_t count) {
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i)
      value = value << 8 | static_cast<unsigned char>(tiff[at + (little ? count - 1 - i : i)]);
    return value;
  };
  const size_t directory = number(4, 4);
  if (directory > tiff.size() - 2) return 1;
  const size_t entries = number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + i * 12;
    if (at + 12 > tiff.size()) return 1;
    if (number(at, 2) != 0x0112) continue;
    const uint32_t type = number(at + 2, 2);
    const uint32_t value = type == 1   ? number(at + 8, 1)
                           : type == 3 ? number(at + 8, 2)
                           : type == 4 ? number(at + 8, 4)
                                       : 1;
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace ocellus
