// PNG through libpng. libpng reports errors by longjmp, which must not skip destructors: every
// function that calls setjmp here holds only plain values, and owns nothing.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "data/image.h"
#include "engine/check.h"

namespace ocellus {
namespace {

struct PngReader {
  const unsigned char* bytes;
  size_t size, at = 0;
  bool ended = false;  // libpng asked for more than there is
  char message[160] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (count > reader->size - reader->at) {
    reader->ended = true;
    png_error(png, "file ends too early");
  }
  std::memcpy(out, reader->bytes + reader->at, count);
  reader->at += count;
}

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof reader->message, "%s", text);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}

struct PngHeader {
  uint32_t width, height;
  int depth, colour, interlace;
};

// Chunks that carry nothing we use are skipped unread: no text, no profile, nothing to inflate.
constexpr unsigned char kIgnored[] =
    "iCCP\0tEXt\0zTXt\0iTXt\0sPLT\0hIST\0pCAL\0sCAL\0"
    "pHYs\0oFFs\0tIME\0cHRM\0gAMA\0sRGB\0sBIT\0bKGD";

bool read_png_header(PngReader* r, PngHeader* header) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  png_set_read_fn(r->png, r, read_bytes);
  // libpng's limit on each side is lifted: ours is on width · height.
  png_set_user_limits(r->png, 0x7fffffff, 0x7fffffff);
  png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, kIgnored, sizeof kIgnored / 5);
  png_read_info(r->png, r->info);
  return png_get_IHDR(r->png, r->info, &header->width, &header->height, &header->depth,
                      &header->colour, &header->interlace, nullptr, nullptr) != 0;
}

bool set_transforms(PngReader* r, size_t* row_bytes, int* channels) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  png_set_expand(r->png);  // palette to RGB, low depths to 8 bits, tRNS to alpha (compared before
                           // the next line)
  png_set_strip_16(r->png);
  png_set_interlace_handling(r->png);
  if (png_get_color_type(r->png, r->info) == PNG_COLOR_TYPE_GRAY_ALPHA ||
      (png_get_color_type(r->png, r->info) == PNG_COLOR_TYPE_GRAY &&
       png_get_valid(r->png, r->info, PNG_INFO_tRNS)))
    png_set_gray_to_rgb(r->png);
  png_read_update_info(r->png, r->info);
  *row_bytes = png_get_rowbytes(r->png, r->info);
  *channels = png_get_channels(r->png, r->info);
  return true;
}

bool read_png_rows(PngReader* r, png_bytepp rows) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  png_read_image(r->png, rows);
  png_read_end(r->png, nullptr);  // checks the last checksums, and that the file is whole
  return true;
}

bool read_orientation(PngReader* r, int* orientation) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  png_uint_32 count = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(r->png, r->info, &count, &exif) && exif)
    *orientation = exif_orientation({reinterpret_cast<const char*>(exif), count});
  return true;
}

[[noreturn]] void refuse_png(const std::string& name, const PngReader& reader) {
  if (reader.ended)
    fail<FormatError>("{}: the PNG file ends too early, at byte {}", name, reader.size);
  fail<FormatError>("{}: damaged PNG near byte {}: {}", name, reader.at, reader.message);
}

const char* mode_name(const PngHeader& header) {
  const bool deep = header.depth == 16;
  switch (header.colour) {
    case PNG_COLOR_TYPE_GRAY:
      return deep ? "L;16" : "L";
    case PNG_COLOR_TYPE_GRAY_ALPHA:
      return deep ? "LA;16" : "LA";
    case PNG_COLOR_TYPE_PALETTE:
      return "P";
    case PNG_COLOR_TYPE_RGB:
      return deep ? "RGB;16" : "RGB";
    default:
      return deep ? "RGBA;16" : "RGBA";
  }
}

// The sizes stand at fixed places, so that they are judged before libpng sees the file.
void check_declared_size(std::string_view bytes, const std::string& name, int64_t max_pixels) {
  check<FormatError>(
      bytes.size() >= 33 && bytes.substr(12, 4) == "IHDR",
      "{}: a PNG file must begin with an IHDR chunk of 13 bytes, and this one does not", name);
  auto big_endian = [&](size_t at) {
    int64_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
  };
  const int64_t width = big_endian(16), height = big_endian(20);
  check_image_size(name, width, height, max_pixels);
  // Deflate shrinks at most 1032 : 1, so a file this short cannot hold what it claims.
  const int depth = bytes[24], colour = bytes[25];
  const int64_t samples = colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
  const int64_t raw_bytes = (width * samples * depth / 8 + 1) * height;
  check<FormatError>(raw_bytes / 1032 <= static_cast<int64_t>(bytes.size()),
                     "{}: the header says {} x {} pixels, which {} bytes of PNG cannot hold", name,
                     width, height, bytes.size());
}

struct PngWriter {
  std::string out;
  char message[160] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~PngWriter() { png_destroy_write_struct(&png, &info); }
};

bool write_rows(PngWriter* w, png_bytepp rows, uint32_t width, uint32_t height, int colour) {
  if (setjmp(png_jmpbuf(w->png))) return false;
  png_set_IHDR(w->png, w->info, width, height, 8, colour, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(w->png, w->info);
  png_write_image(w->png, rows);
  png_write_end(w->png, nullptr);
  return true;
}

[[noreturn]] void on_write_error(png_structp png, png_const_charp text) {
  auto* writer = static_cast<PngWriter*>(png_get_error_ptr(png));
  std::snprintf(writer->message, sizeof writer->message, "%s", text);
  png_longjmp(png, 1);
}

}  // namespace

Image decode_png(std::string_view bytes, const std::string& name, const DecodeOptions& options,
                 DecodeInfo* info) {
  check_declared_size(bytes, name, options.max_pixels);
  PngReader reader{reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()};
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png) reader.info = png_create_info_struct(reader.png);
  check<OutOfMemory>(reader.info != nullptr, "{}: no memory for the PNG decoder", name);

  PngHeader header{};
  if (!read_png_header(&reader, &header)) refuse_png(name, reader);
  check_image_size(name, header.width, header.height, options.max_pixels);
  size_t row_bytes = 0;
  int channels = 0;
  if (!set_transforms(&reader, &row_bytes, &channels)) refuse_png(name, reader);
  check<FormatError>(row_bytes == size_t{header.width} * static_cast<size_t>(channels) &&
                         (channels == 1 || channels == 3 || channels == 4),
                     "{}: libpng gives {} bytes a row for {} pixels of {} channels", name,
                     row_bytes, header.width, channels);

  Image image{static_cast<int>(header.width), static_cast<int>(header.height), channels, {}};
  image.pixels.resize(row_bytes * header.height);
  std::vector<png_bytep> rows(header.height);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = image.pixels.data() + y * row_bytes;
  if (!read_png_rows(&reader, rows.data())) refuse_png(name, reader);
  info->mode = mode_name(header);
  read_orientation(&reader, &info->orientation);
  return image;
}

std::string encode_png(const Image& image) {
  const bool ok = image.width > 0 && image.height > 0 &&
                  (image.channels == 1 || image.channels == 3 || image.channels == 4) &&
                  image.pixels.size() == static_cast<size_t>(image.width) *
                                             static_cast<size_t>(image.height) *
                                             static_cast<size_t>(image.channels);
  check<UsageError>(ok,
                    "encode_png: needs width · height · channels bytes and 1, 3 or 4 channels, got "
                    "{}x{}x{} with {} bytes",
                    image.width, image.height, image.channels, image.pixels.size());
  PngWriter writer;
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer, on_write_error, on_warning);
  if (writer.png) writer.info = png_create_info_struct(writer.png);
  check<OutOfMemory>(writer.info != nullptr, "encode_png: no memory for the encoder");
  png_set_write_fn(
      writer.png, &writer,
      [](png_structp png, png_bytep data, size_t count) {
        static_cast<PngWriter*>(png_get_io_ptr(png))->out.append(reinterpret_cast<char*>(data), count);
      },
      [](png_structp) {});

  const size_t row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  std::vector<png_bytep> rows(static_cast<size_t>(image.height));
  for (size_t y = 0; y < rows.size(); ++y)
    rows[y] = const_cast<png_bytep>(image.pixels.data()) + y * row_bytes;
  const int colour = image.channels == 1   ? PNG_COLOR_TYPE_GRAY
                     : image.channels == 3 ? PNG_COLOR_TYPE_RGB
                                           : PNG_COLOR_TYPE_RGBA;
  check<Error>(write_rows(&writer, rows.data(), static_cast<uint32_t>(image.width),
                          static_cast<uint32_t>(image.height), colour),
               "encode_png: libpng: {}", writer.message);
  return std::move(writer.out);
}

}  // namespace ocellus
