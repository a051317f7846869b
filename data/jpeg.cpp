// JPEG through libjpeg-turbo, with the settings that Pillow uses, so that pixels agree. Errors come
// by longjmp: as in png.cpp, functions that call setjmp hold only plain values.
#include <cstddef>
#include <cstdio>
#include <cstring>
// jpeglib.h needs size_t and FILE from the lines above.
#include <jpeglib.h>

#include <csetjmp>

#include "data/byte_math.h"
#include "data/image.h"
#include "engine/check.h"

namespace ocellus {
namespace {

constexpr int kMaxScans = 500;  // a progressive file may claim thousands of passes over every pixel

struct JpegReader {
  jpeg_error_mgr errors;  // first: libjpeg hands back a pointer to it
  jpeg_progress_mgr progress;
  jpeg_decompress_struct jpeg;
  std::jmp_buf on_error;
  int warnings = 0;
  char message[JMSG_LENGTH_MAX] = "", first_warning[JMSG_LENGTH_MAX] = "";
  bool created = false;
  ~JpegReader() {
    if (created) jpeg_destroy_decompress(&jpeg);
  }
};

JpegReader* reader_of(j_common_ptr common) { return static_cast<JpegReader*>(common->client_data); }

[[noreturn]] void error_exit(j_common_ptr common) {
  JpegReader* reader = reader_of(common);
  common->err->format_message(common, reader->message);
  std::longjmp(reader->on_error, 1);
}

void emit_message(j_common_ptr common, int level) {
  if (level >= 0) return;  // only level −1 is damage; the rest is tracing
  JpegReader* reader = reader_of(common);
  if (reader->warnings++ == 0) common->err->format_message(common, reader->first_warning);
}

void watch_scans(j_common_ptr common) {
  auto* jpeg = reinterpret_cast<j_decompress_ptr>(common);
  if (jpeg->input_scan_number <= kMaxScans) return;
  JpegReader* reader = reader_of(common);
  std::snprintf(reader->message, sizeof reader->message, "more than %d scans", kMaxScans);
  std::longjmp(reader->on_error, 1);
}

bool read_jpeg_header(JpegReader* r, const unsigned char* bytes, unsigned long size) {
  if (setjmp(r->on_error)) return false;
  jpeg_create_decompress(&r->jpeg);
  r->created = true;
  r->jpeg.client_data = r;
  jpeg_save_markers(&r->jpeg, JPEG_APP0 + 1, 0xffff);  // EXIF
  jpeg_mem_src(&r->jpeg, bytes, size);
  jpeg_read_header(&r->jpeg, TRUE);
  return true;
}

bool start(JpegReader* r) {
  if (setjmp(r->on_error)) return false;
  r->progress.progress_monitor = watch_scans;
  r->jpeg.progress = &r->progress;
  r->jpeg.dct_method = JDCT_ISLOW;
  r->jpeg.do_fancy_upsampling = TRUE;
  r->jpeg.out_color_space = r->jpeg.num_components == 1   ? JCS_GRAYSCALE
                            : r->jpeg.num_components == 3 ? JCS_RGB
                                                          : JCS_CMYK;
  jpeg_start_decompress(&r->jpeg);
  return true;
}

bool read_jpeg_rows(JpegReader* r, unsigned char* out, size_t row_bytes) {
  if (setjmp(r->on_error)) return false;
  while (r->jpeg.output_scanline < r->jpeg.output_height) {
    JSAMPROW row = out + row_bytes * r->jpeg.output_scanline;
    jpeg_read_scanlines(&r->jpeg, &row, 1);
  }
  jpeg_finish_decompress(&r->jpeg);
  return true;
}

int orientation_of(const jpeg_decompress_struct& jpeg) {
  for (const jpeg_marker_struct* m = jpeg.marker_list; m; m = m->next)
    if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 &&
        std::memcmp(m->data, "Exif\0\0", 6) == 0)
      return exif_orientation({reinterpret_cast<const char*>(m->data) + 6, m->data_length - 6});
  return 1;
}

// Stored values are inverted (0 = full ink), so each is one minus its ink already: R =
// (255−C)(255−K)/255. Written as Pillow rounds it, from the ink values.
Image cmyk_to_rgb(const Image& stored) {
  Image out{stored.width, stored.height, 3, std::vector<uint8_t>(stored.pixels.size() / 4 * 3)};
  const uint8_t* from = stored.pixels.data();
  for (size_t i = 0; i < out.pixels.size(); i += 3, from += 4) {
    const int white = from[3];
    for (size_t c = 0; c < 3; ++c)
      out.pixels[i + c] = static_cast<uint8_t>(white - multiply_255(255 - from[c], white));
  }
  return out;
}

}  // namespace

Image decode_jpeg(std::string_view bytes, const std::string& name, const DecodeOptions& options,
                  DecodeInfo* info) {
  JpegReader reader{};
  reader.jpeg.err = jpeg_std_error(&reader.errors);
  reader.jpeg.client_data = &reader;
  reader.errors.error_exit = error_exit;
  reader.errors.emit_message = emit_message;
  auto need = [&](bool ok) {
    check<FormatError>(ok, "{}: not a readable JPEG: {}", name,
                       static_cast<const char*>(reader.message));
  };

  need(read_jpeg_header(&reader, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
  const int components = reader.jpeg.num_components;
  check_image_size(name, reader.jpeg.image_width, reader.jpeg.image_height, options.max_pixels);
  check<FormatError>(components == 1 || components == 3 || components == 4,
                     "{}: a JPEG must have 1, 3 or 4 components, this one has {}", name,
                     components);
  info->orientation = orientation_of(reader.jpeg);  // the markers are freed with the last row
  need(start(&reader));
  check<FormatError>(reader.jpeg.output_components == components,
                     "{}: the JPEG decoder gives {} channels for {} components", name,
                     reader.jpeg.output_components, components);

  Image image{static_cast<int>(reader.jpeg.output_width),
              static_cast<int>(reader.jpeg.output_height),
              components,
              {}};
  const size_t row_bytes = size_t{reader.jpeg.output_width} * static_cast<size_t>(components);
  image.pixels.resize(row_bytes * reader.jpeg.output_height);
  need(read_jpeg_rows(&reader, image.pixels.data(), row_bytes));

  info->mode = components == 1 ? "L" : components == 3 ? "RGB" : "CMYK";
  info->warnings = reader.warnings;
  info->first_warning = reader.first_warning;
  check<FormatError>(!options.strict || reader.warnings == 0, "{}: damaged JPEG, refused: {}", name,
                     info->first_warning);
  return components == 4 ? cmyk_to_rgb(image) : image;
}

}  // namespace ocellus
