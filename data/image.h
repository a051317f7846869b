// Pictures as bytes: decoding PNG and JPEG, alpha on a stated colour, PNG writing for reports.
// Decoding never allocates by a size that a file only claims: the header is checked first.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ocellus {

/// Image — `pixels` are height · width · channels bytes, row by row, channels interleaved.
/// channels: 1 grey, 3 RGB, 4 RGBA (alpha not premultiplied).
struct Image {
  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> pixels;  // [height, width, channels]
};

/// A colour to lay transparent pixels on.
using Rgb = std::array<uint8_t, 3>;
inline constexpr Rgb kWhite{255, 255, 255};
inline constexpr Rgb kBlack{0, 0, 0};

struct DecodeOptions {
  int64_t max_pixels = 178'956'970;  // width · height; the limit at which Pillow refuses as well
  bool apply_orientation = true;     // turn the picture upright as its EXIF orientation (1-8) says
  bool strict = false;               // refuse a JPEG that decodes only with warnings
};

/// What decoding found besides pixels.
struct DecodeInfo {
  std::string format;   // "png" | "jpeg"
  std::string mode;     // of the file: "L" "LA" "RGB" "RGBA" "P" "CMYK", 16-bit ones end in ";16"
  int orientation = 1;  // EXIF value, 1 if absent or invalid
  int warnings = 0;     // damage that was decoded through (JPEG only)
  std::string first_warning;  // in the decoder's words
};

/// sniff_image — "png", "jpeg", or what else the first bytes say ("GIF", "HTML", "an empty file",
/// …).
std::string sniff_image(std::string_view bytes);

/// decode_image — pixels of a PNG or JPEG file. Grey files give 1 channel, transparent PNGs 4,
/// others 3. PNG: 16-bit samples keep their high byte, low depths are scaled to 255, tRNS is
/// compared at full depth, colour profiles and gamma are ignored. JPEG: accurate integer inverse
/// transform and smooth chroma upsampling; CMYK and YCCK are taken as inverted (the Adobe
/// convention) and converted to RGB as Pillow does. Throws FormatError "NAME: …" for anything that
/// is not such a picture.
Image decode_image(std::string_view bytes, const std::string& name,
                   const DecodeOptions& options = {}, DecodeInfo* info = nullptr);

/// to_rgb — y = (x·a + background·(255 − a)) / 255, rounded to nearest, per channel; grey is
/// repeated.
Image to_rgb(const Image& image, Rgb background = kWhite);

/// drop_alpha — RGB without looking at alpha, as Pillow's convert("RGB") does; grey is repeated.
Image drop_alpha(const Image& image);

/// to_rgba — four channels, alpha 255 where there was none.
Image to_rgba(const Image& image);

/// upright — the picture turned as EXIF orientation 1-8 asks for; other values leave it alone.
Image upright(Image image, int orientation);

/// encode_png — a PNG file (8 bits; 1, 3 or 4 channels). Throws UsageError if sizes and bytes
/// disagree.
std::string encode_png(const Image& image);

/// exif_orientation — the orientation in an EXIF block ("II*\0…" or "MM\0*…"); 1 if there is none.
int exif_orientation(std::string_view tiff);

// The two decoders behind decode_image (png.cpp, jpeg.cpp).
Image decode_png(std::string_view bytes, const std::string& name, const DecodeOptions& options,
                 DecodeInfo* info);
Image decode_jpeg(std::string_view bytes, const std::string& name, const DecodeOptions& options,
                  DecodeInfo* info);

/// check_image_size — the one rule of size, applied to headers before anything is allocated.
void check_image_size(const std::string& name, int64_t width, int64_t height, int64_t max_pixels);

}  // namespace ocellus
