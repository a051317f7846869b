#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "data/byte_math.h"
#include "engine/check.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace ocellus {
namespace {

constexpr int kFractionBits = 22;  // 32 − 8 bits of pixel − 2 bits of headroom
constexpr int kTile = 16;         // rows, or bytes of a row, that are worked on together

using Bytes16 = uint8_t __attribute__((vector_size(16)));

// ---- filters ----

// A product that is added to something is rounded first: a fused multiply-add would move a rare
// coefficient by one unit in the last place.
double rounded(double x) {
  volatile double stored = x;
  return stored;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }
double triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }
double hamming(double x) {
  x = std::fabs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= std::numbers::pi;
  return std::sin(x) / x * (double{0.54f} + rounded(double{0.46f} * std::cos(x)));
}
// Keys 1981, with a = −1/2.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return rounded((rounded((a + 2.0) * x) - (a + 3.0)) * x * x) + 1.0;
  if (x < 2.0) return (rounded((rounded((x - 5.0) * x) + 8.0) * x) - 4.0) * a;
  return 0.0;
}
double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::kBox:
      return {box, 0.5};
    case Filter::kBilinear:
      return {triangle, 1.0};
    case Filter::kHamming:
      return {hamming, 1.0};
    case Filter::kBicubic:
      return {bicubic, 2.0};
    default:
      return {lanczos, 3.0};
  }
}

// ---- windows ----

// Output i is the sum of input first[i] … first[i] + count[i] − 1, weighted by the row of
// coefficients.
struct Windows {
  int longest = 0;
  std::vector<int> first, count;
  std::vector<int32_t> coefficients;  // [outputs, longest], 22 fractional bits
};

// `extent` is how much of the input is resized: all of it, but for a last pixel that stands for
// less after reducing.
Windows windows_of(int in, double extent, int out, const Kernel& kernel) {
  const double scale = extent / out;
  const double stretch =
      std::max(scale, 1.0);  // the filter is widened when shrinking: antialiasing
  const double support = kernel.support * stretch;
  Windows w;
  w.longest = static_cast<int>(std::ceil(support)) * 2 + 1;
  w.first.resize(static_cast<size_t>(out));
  w.count.resize(static_cast<size_t>(out));
  w.coefficients.resize(static_cast<size_t>(out) * static_cast<size_t>(w.longest));
  std::vector<double> weights(static_cast<size_t>(w.longest));
  for (int i = 0; i < out; ++i) {
    const double center = rounded((i + 0.5) * scale);
    const int begin = std::max(0, static_cast<int>(center - support + 0.5));
    const int end = std::min(in, static_cast<int>(center + support + 0.5));
    double sum = 0.0;
    for (int j = 0; j < end - begin; ++j) {
      const double weight = kernel.weight((j + begin - center + 0.5) * (1.0 / stretch));
      weights[static_cast<size_t>(j)] = weight;
      sum += weight;
    }
    int32_t* row = w.coefficients.data() + static_cast<size_t>(i) * static_cast<size_t>(w.longest);
    for (int j = 0; j < end - begin; ++j) {
      double weight = weights[static_cast<size_t>(j)];
      if (sum != 0.0) weight /= sum;
      weight *= 1 << kFractionBits;
      row[j] = static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    w.first[static_cast<size_t>(i)] = begin;
    w.count[static_cast<size_t>(i)] = end - begin;
  }
  return w;
}

// ---- arithmetic on 16 values ----

// g++ 12 takes a conversion of 8 bytes to 8 integers apart into scalars, hence the intrinsics.
#ifdef __AVX2__
struct Sums16 {
  __m256i low = _mm256_set1_epi32(1 << (kFractionBits - 1));
  __m256i high = low;

  void add(const uint8_t* bytes, int32_t coefficient) {
    const __m256i k = _mm256_set1_epi32(coefficient);
    const __m256i a =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
    const __m256i b =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + 8)));
    low = _mm256_add_epi32(low, _mm256_mullo_epi32(a, k));
    high = _mm256_add_epi32(high, _mm256_mullo_epi32(b, k));
  }
  void store(uint8_t* bytes) const {  // the packing instructions clip to 0 … 255
    const __m256i a = _mm256_srai_epi32(low, kFractionBits),
                  b = _mm256_srai_epi32(high, kFractionBits);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0b11011000);
    const __m128i packed =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), packed);
  }
};
#else
struct Sums16 {
  int32_t sums[16];

  Sums16() { std::fill(sums, sums + 16, 1 << (kFractionBits - 1)); }
  void add(const uint8_t* bytes, int32_t coefficient) {
    for (int i = 0; i < 16; ++i) sums[i] += bytes[i] * coefficient;
  }
  void store(uint8_t* bytes) const {
    for (int i = 0; i < 16; ++i)
      bytes[i] = static_cast<uint8_t>(std::clamp(sums[i] >> kFractionBits, 0, 255));
  }
};
#endif

// Four perfect shuffles turn 16 rows of 16 bytes into 16 columns.
void transpose(Bytes16 (&rows)[16]) {
  Bytes16 other[16];
  for (int stage = 0; stage < 4; ++stage) {
    for (int i = 0; i < 8; ++i) {
      const Bytes16 a = rows[i], b = rows[i + 8];
      other[2 * i] =
          __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      other[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29,
                                                 14, 30, 15, 31);
    }
    std::copy(other, other + 16, rows);
  }
}

// ---- passes ----
size_t padded(size_t bytes) { return (bytes + kTile - 1) / kTile * kTile; }

// `count` ≤ 16 rows of `bytes` bytes → columns[byte][16]; absent rows repeat the last one.
void rows_to_columns(const uint8_t* rows, size_t stride, int count, size_t bytes,
                     uint8_t* columns) {
  for (size_t at = 0; at < bytes; at += kTile) {
    Bytes16 tile[16] = {};
    const size_t width = std::min<size_t>(kTile, bytes - at);
    for (int r = 0; r < kTile; ++r) {
      const uint8_t* from = rows + static_cast<size_t>(std::min(r, count - 1)) * stride + at;
      if (width == kTile) {
        std::memcpy(&tile[r], from, kTile);
      } else {
        std::memcpy(&tile[r], from, width);
      }
    }
    transpose(tile);
    std::memcpy(columns + at * kTile, tile, sizeof tile);
  }
}

void columns_to_rows(const uint8_t* columns, size_t bytes, uint8_t* rows, size_t stride,
                     int count) {
  for (size_t at = 0; at < bytes; at += kTile) {
    Bytes16 tile[16];
    std::memcpy(tile, columns + at * kTile, sizeof tile);
    transpose(tile);
    const size_t width = std::min<size_t>(kTile, bytes - at);
    for (int r = 0; r < count; ++r)
      std::memcpy(rows + static_cast<size_t>(r) * stride + at, &tile[r], width);
  }
}

// Along rows: 16 rows at a time are turned to columns, so that a tap is one multiplication of 16
// values.
template <int C>
void horizontal_block(const uint8_t* columns, const Windows& w, uint8_t* out) {
  for (size_t i = 0; i < w.first.size(); ++i, out += C * kTile) {
    const int32_t* k = w.coefficients.data() + i * static_cast<size_t>(w.longest);
    const uint8_t* from = columns + static_cast<size_t>(w.first[i]) * C * kTile;
    Sums16 sums[C];
    for (int tap = 0; tap < w.count[i]; ++tap, from += C * kTile)
      for (int c = 0; c < C; ++c) sums[c].add(from + c * kTile, k[tap]);
    for (int c = 0; c < C; ++c) sums[c].store(out + c * kTile);
  }
}

// Rows first … last − 1 of `image`, resized along the row.
Image horizontal(const Image& image, int width, const Windows& w, int first, int last) {
  const size_t channels = static_cast<size_t>(image.channels);
  const size_t in_bytes = static_cast<size_t>(image.width) * channels,
               out_bytes = static_cast<size_t>(width) * channels;
  Image out{width, last - first, image.channels,
            std::vector<uint8_t>(out_bytes * static_cast<size_t>(last - first))};
  std::vector<uint8_t> columns(padded(in_bytes) * kTile), result(padded(out_bytes) * kTile);
  for (int row = first; row < last; row += kTile) {
    const int count = std::min(kTile, last - row);
    rows_to_columns(image.pixels.data() + static_cast<size_t>(row) * in_bytes, in_bytes, count,
                    in_bytes, columns.data());
    switch (image.channels) {
      case 1:
        horizontal_block<1>(columns.data(), w, result.data());
        break;
      case 3:
        horizontal_block<3>(columns.data(), w, result.data());
        break;
      default:
        horizontal_block<4>(columns.data(), w, result.data());
    }
    columns_to_rows(result.data(), out_bytes,
                    out.pixels.data() + static_cast<size_t>(row - first) * out_bytes, out_bytes,
                    count);
  }
  return out;
}

// Along columns: a tap is one multiplication of neighbouring bytes. `image` begins at row `first`.
Image vertical(const Image& image, int height, const Windows& w, int first) {
  const size_t bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  Image out{image.width, height, image.channels,
            std::vector<uint8_t>(bytes * static_cast<size_t>(height))};
  for (int y = 0; y < height; ++y) {
    const size_t i = static_cast<size_t>(y);
    const int32_t* k = w.coefficients.data() + i * static_cast<size_t>(w.longest);
    const uint8_t* from = image.pixels.data() + static_cast<size_t>(w.first[i] - first) * bytes;
    uint8_t* to = out.pixels.data() + i * bytes;
    size_t at = 0;
    for (; at + 2 * kTile <= bytes; at += 2 * kTile) {
      Sums16 a, b;
      for (int tap = 0; tap < w.count[i]; ++tap) {
        a.add(from + static_cast<size_t>(tap) * bytes + at, k[tap]);
        b.add(from + static_cast<size_t>(tap) * bytes + at + kTile, k[tap]);
      }
      a.store(to + at);
      b.store(to + at + kTile);
    }
    for (; at < bytes; ++at) {
      int32_t sum = 1 << (kFractionBits - 1);
      for (int tap = 0; tap < w.count[i]; ++tap)
        sum += from[static_cast<size_t>(tap) * bytes + at] * k[tap];
      to[at] = static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
    }
  }
  return out;
}

// ---- nearest, alpha ----

// Source positions are accumulated, not multiplied: that is where Pillow's ties fall.
std::vector<int> nearest_positions(int in, int out) {
  std::vector<int> positions(static_cast<size_t>(out));
  const double step = static_cast<double>(in) / out;
  double at = step * 0.5;
  for (int& p : positions) {
    p = std::min(static_cast<int>(at), in - 1);
    at += step;
  }
  return positions;
}

Image nearest(const Image& image, int width, int height) {
  const size_t channels = static_cast<size_t>(image.channels);
  const std::vector<int> columns = nearest_positions(image.width, width),
                         rows = nearest_positions(image.height, height);
  Image out{width, height, image.channels, {}};
  out.pixels.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * channels);
  uint8_t* to = out.pixels.data();
  for (int row : rows) {
    const uint8_t* from = image.pixels.data() +
                          static_cast<size_t>(row) * static_cast<size_t>(image.width) * channels;
    for (int column : columns)
      for (size_t c = 0; c < channels; ++c)
        *to++ = from[static_cast<size_t>(column) * channels + c];
  }
  return out;
}

Image premultiplied(Image image) {
  for (size_t i = 0; i < image.pixels.size(); i += 4)
    for (size_t c = 0; c < 3; ++c)
      image.pixels[i + c] =
          static_cast<uint8_t>(multiply_255(image.pixels[i + c], image.pixels[i + 3]));
  return image;
}

Image unpremultiplied(Image image) {
  for (size_t i = 0; i < image.pixels.size(); i += 4) {
    const int alpha = image.pixels[i + 3];
    if (alpha == 0 || alpha == 255) continue;
    for (size_t c = 0; c < 3; ++c)
      image.pixels[i + c] = static_cast<uint8_t>(std::min(255, 255 * image.pixels[i + c] / alpha));
  }
  return image;
}

// Which pass comes first changes rounding. This is the rule of Pillow 13 (found by experiment over
// sizes and filters); earlier versions always resized along rows first.
bool columns_first(const Image& image, int width, int height) {
  return height < image.height && 2 * (image.width - width) < image.height - height;
}

// The part of a picture that is resized, from its top left corner.
struct Extent {
  double width, height;
};

Image two_passes(const Image& image, Extent extent, int width, int height, Filter filter) {
  const Kernel kernel = kernel_of(filter);
  const bool same_width = extent.width == width && image.width == width;
  const bool same_height = extent.height == height && image.height == height;
  const Windows columns = windows_of(image.width, extent.width, width, kernel),
                rows = windows_of(image.height, extent.height, height, kernel);
  if (same_width) return same_height ? image : vertical(image, height, rows, 0);
  if (same_height) return horizontal(image, width, columns, 0, height);
  if (columns_first(image, width, height))
    return horizontal(vertical(image, height, rows, 0), width, columns, 0, height);
  const int first = rows.first.front(), last = rows.first.back() + rows.count.back();
  return vertical(horizontal(image, width, columns, first, last), height, rows, first);
}

// Sums of a box then fit 32 bits.
constexpr int kMostReduced = 4095;

Image reduced(const Image& image, int across, int down) {
  const int width = (image.width + across - 1) / across, height = (image.height + down - 1) / down;
  const size_t channels = static_cast<size_t>(image.channels);
  Image out{width, height, image.channels, {}};
  out.pixels.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * channels);
  std::vector<uint32_t> sums(static_cast<size_t>(width) * channels);
  uint8_t* to = out.pixels.data();
  for (int y = 0; y < height; ++y, to += sums.size()) {
    std::fill(sums.begin(), sums.end(), 0);
    const int first = y * down, last = std::min(image.height, first + down);
    for (int row = first; row < last; ++row) {
      const uint8_t* from = image.pixels.data() +
                            static_cast<size_t>(row) * static_cast<size_t>(image.width) * channels;
      for (int x = 0; x < image.width; ++x)
        for (size_t c = 0; c < channels; ++c)
          sums[static_cast<size_t>(x / across) * channels + c] += *from++;
    }
    for (int x = 0; x < width; ++x) {
      const int count = (last - first) * std::min(across, image.width - x * across);
      // The quotient as Pillow has it: a product with 2^24/count, in single precision.
      const auto factor = static_cast<uint32_t>(0x1p32f / (static_cast<float>(count) * 256));
      for (size_t c = 0; c < channels; ++c) {
        const size_t i = static_cast<size_t>(x) * channels + c;
        to[i] = static_cast<uint8_t>(((sums[i] + static_cast<uint32_t>(count) / 2) * factor) >> 24);
      }
    }
  }
  return out;
}

}  // namespace

Filter filter_from_name(std::string_view name) {
  constexpr std::pair<std::string_view, Filter> names[] = {
      {"nearest", Filter::kNearest}, {"box", Filter::kBox},         {"bilinear", Filter::kBilinear},
      {"hamming", Filter::kHamming}, {"bicubic", Filter::kBicubic}, {"lanczos", Filter::kLanczos}};
  for (const auto& [known, filter] : names)
    if (name == known) return filter;
  fail<UsageError>(
      "resize: the filter must be nearest, box, bilinear, hamming, bicubic or lanczos, got \"{}\"",
      name);
}

Image resize(const Image& image, int width, int height, Filter filter, double reducing_gap) {
  constexpr int kLongest = 1 << 24;
  check<UsageError>(width >= 1 && height >= 1 && width <= kLongest && height <= kLongest,
                    "resize: both sides must be in 1 … {}, got {} x {}", kLongest, width, height);
  check<UsageError>(image.width > 0 && image.height > 0 && image.width <= kLongest &&
                        image.height <= kLongest &&
                        (image.channels == 1 || image.channels == 3 || image.channels == 4) &&
                        image.pixels.size() == static_cast<size_t>(image.width) *
                                                   static_cast<size_t>(image.height) *
                                                   static_cast<size_t>(image.channels),
                    "resize: an image needs width · height · channels bytes and 1, 3 or 4 "
                    "channels, got {}x{}x{} with {} bytes",
                    image.width, image.height, image.channels, image.pixels.size());
  if (width == image.width && height == image.height) return image;
  if (filter == Filter::kNearest) return nearest(image, width, height);
  check<UsageError>(reducing_gap == 0 || reducing_gap >= 1,
                    "resize: reducing_gap must be at least 1, got {}", reducing_gap);
  auto factor = [&](int from, int to) {
    return reducing_gap == 0
               ? 1
               : std::clamp(static_cast<int>(static_cast<double>(from) / to / reducing_gap), 1,
                            kMostReduced);
  };
  auto passes = [&](const Image& x) {
    const int across = factor(x.width, width), down = factor(x.height, height);
    const Extent extent{static_cast<double>(x.width) / across,
                        static_cast<double>(x.height) / down};
    if (across == 1 && down == 1) return two_passes(x, extent, width, height, filter);
    return two_passes(reduced(x, across, down), extent, width, height, filter);
  };
  if (image.channels != 4) return passes(image);
  return unpremultiplied(passes(premultiplied(image)));
}

Image reduce(const Image& image, int across, int down) {
  check<UsageError>(across >= 1 && down >= 1 && across <= kMostReduced && down <= kMostReduced,
                    "reduce: both factors must be in 1 … {}, got {} and {}", kMostReduced, across,
                    down);
  check<UsageError>(image.width > 0 && image.height > 0 &&
                        image.pixels.size() == static_cast<size_t>(image.width) *
                                                   static_cast<size_t>(image.height) *
                                                   static_cast<size_t>(image.channels),
                    "reduce: an image needs width · height · channels bytes, got {}x{}x{} with {}",
                    image.width, image.height, image.channels, image.pixels.size());
  if (across == 1 && down == 1) return image;
  if (image.channels != 4) return reduced(image, across, down);
  return unpremultiplied(reduced(premultiplied(image), across, down));
}

}  // namespace ocellus
