#include "vlm/image_arrange.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/image_edit.h"
#include "engine/check.h"
#include "engine/dispatch.h"

namespace ocellus {
namespace {

constexpr int64_t kMaxPixels = DecodeOptions{}.max_pixels;  // of one picture, after resizing too
constexpr int64_t kMaxNumbers = int64_t{1} << 31;           // of one call

// ---- sizes: the integer arithmetic is that of transformers, truncations included ----

double ratio(int64_t a, int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }
int64_t truncated(double x) { return static_cast<int64_t>(x); }

struct Wanted {
  int64_t height, width;
};

// The short edge becomes `edge`.
Wanted by_short_edge(const Image& x, int64_t edge) {
  const int64_t shorter = std::min(x.width, x.height), longer = std::max(x.width, x.height);
  const int64_t other = truncated(ratio(edge * longer, shorter));
  return x.width <= x.height ? Wanted{other, edge} : Wanted{edge, other};
}

// The short edge becomes `edge`, unless the long one would exceed `most`.
Wanted by_both_edges(const Image& x, int64_t edge, int64_t most) {
  const int64_t h = x.height, w = x.width, shorter = std::min(h, w), longer = std::max(h, w);
  double raw = static_cast<double>(edge);
  if (ratio(longer, shorter) * static_cast<double>(edge) > static_cast<double>(most)) {
    raw = ratio(most * shorter, longer);
    edge = truncated(std::nearbyint(raw));
  }
  if (shorter == edge) return {h, w};
  auto other = [&](int64_t a, int64_t b) {
    return truncated(raw * static_cast<double>(a) / static_cast<double>(b));
  };
  return w < h ? Wanted{other(h, w), edge} : Wanted{edge, other(w, h)};
}

Wanted within(const Image& x, int64_t max_height, int64_t max_width) {
  const double scale = std::min(ratio(max_height, x.height), ratio(max_width, x.width));
  return {truncated(x.height * scale), truncated(x.width * scale)};
}

Wanted plain_size(const SizeRule& rule, const Image& x) {
  if (rule.shortest_edge && rule.longest_edge)
    return by_both_edges(x, rule.shortest_edge, rule.longest_edge);
  if (rule.shortest_edge) return by_short_edge(x, rule.shortest_edge);
  if (rule.max_height) return within(x, rule.max_height, rule.max_width);
  check<FormatError>(rule.height > 0,
                     "image processor: this class takes no size of longest_edge alone");
  return {rule.height, rule.width};
}

// The long edge at most (or, if `grow`, exactly) `most`; the other by the ratio of the sides.
Wanted by_long_edge(int64_t h, int64_t w, int64_t most, bool grow) {
  const double aspect = ratio(w, h);
  if (w >= h && (grow || w > most)) return {truncated(static_cast<double>(most) / aspect), most};
  if (h > w && (grow || h > most)) return {most, truncated(static_cast<double>(most) * aspect)};
  return {h, w};
}

Image sized(const Image& x, Wanted to, Filter filter) {
  check<UsageError>(
      to.height >= 1 && to.width >= 1 && to.height <= kMaxPixels && to.width <= kMaxPixels &&
          to.height * to.width <= kMaxPixels,
      "image processor: a picture of {}x{} would become {}x{} pixels; both sides must "
      "be positive and the area at most {}",
      x.width, x.height, to.width, to.height, kMaxPixels);
  return resize(x, static_cast<int>(to.width), static_cast<int>(to.height), filter);
}

// ---- steps that classes share ----

// The picture in RGB where that is asked for; `room` holds it if it had to be made.
const Image& converted(const ImageProcessorConfig& c, const Image& x, Image& room) {
  if (!c.do_convert_rgb || x.channels == 3) return x;
  return room = to_rgb(x, kWhite);
}

Image cropped(const ImageProcessorConfig& c, Image x) {
  return c.do_center_crop ? center_crop(x, static_cast<int>(c.crop_size.width),
                                        static_cast<int>(c.crop_size.height))
                          : x;
}

Image fitted(const ImageProcessorConfig& c, const Image& x) {
  return cropped(c, c.do_resize ? sized(x, plain_size(c.size, x), c.resample) : x);
}

std::vector<uint8_t> mean_colour(const ImageProcessorConfig& c) {
  std::vector<uint8_t> colour;
  for (double mean : c.image_mean)
    colour.push_back(
        static_cast<uint8_t>(std::clamp(truncated(mean * 255), int64_t{0}, int64_t{255})));
  return colour;
}

/// Levels — the number for each byte of each channel: (v·rescale_factor - mean)/std, each step
/// rounded to T as numpy does.
template <class T>
class Levels {
 public:
  Levels(const ImageProcessorConfig& c, int channels)
      : table_(static_cast<size_t>(channels) * 256) {
    const auto expected = static_cast<size_t>(channels);
    check<UsageError>(!c.do_normalize || c.image_mean.size() == expected,
                      "image processor: image_mean has {} numbers, the picture {} channels{}",
                      c.image_mean.size(), channels,
                      c.do_convert_rgb ? "" : " (do_convert_rgb is off)");
    for (size_t i = 0; i < table_.size(); ++i) {
      const auto v = static_cast<double>(i % 256);
      T x = static_cast<T>(c.do_rescale ? v * c.rescale_factor : v);
      if (c.do_normalize)
        x = (x - static_cast<T>(c.image_mean[i / 256])) / static_cast<T>(c.image_std[i / 256]);
      table_[i] = x;
    }
  }
  const T* of(int channel) const { return table_.data() + static_cast<size_t>(channel) * 256; }

 private:
  std::vector<T> table_;
};

// [H, W, C] bytes → [C, height, width] numbers, at the top left.
template <class T>
void write_planes(const Image& x, const Levels<T>& levels, int64_t height, int64_t width, T* out) {
  const T* level[4] = {};
  for (int c = 0; c < x.channels; ++c) level[c] = levels.of(c);
  for (int y = 0; y < x.height; ++y) {
    const uint8_t* from =
        x.pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(x.width * x.channels);
    T* row = out + y * width;
    if (x.channels == 3) {
      T *r = row, *g = row + height * width, *b = g + height * width;
      for (int i = 0; i < x.width; ++i, from += 3) {
        r[i] = level[0][from[0]];
        g[i] = level[1][from[1]];
        b[i] = level[2][from[2]];
      }
    } else {
      for (int i = 0; i < x.width; ++i)
        for (int c = 0; c < x.channels; ++c) row[c * height * width + i] = level[c][*from++];
    }
  }
}

Wanted largest(const std::vector<Image>& images) {
  Wanted most{0, 0};
  for (const Image& x : images)
    most = {std::max<int64_t>(most.height, x.height), std::max<int64_t>(most.width, x.width)};
  return most;
}

void check_amount(int64_t pictures, int64_t numbers_each) {
  int64_t total = 0;
  check<UsageError>(!__builtin_mul_overflow(pictures, numbers_each, &total) && total <= kMaxNumbers,
                    "image processor: {} pictures of {} numbers are more than {} in one call",
                    pictures, numbers_each, kMaxNumbers);
}

/// Pictures of samples, `counts[s]` for sample s, as [samples, most, C, height, width] (without the
/// first dimension for a flat list): zeros where a picture is smaller or a sample has fewer.
struct Stack {
  std::vector<Image> images;
  std::vector<int64_t> counts;
  bool flat = false;
};

Tensor stacked(const ImageProcessorConfig& c, const Stack& s, Wanted size, bool may_pad,
               DType dtype) {
  const Image& first = s.images.front();
  const int64_t most = *std::max_element(s.counts.begin(), s.counts.end());
  for (const Image& x : s.images) {
    check<UsageError>(
        x.channels == first.channels,
        "image processor: pictures of one call must have the same channels, got {} and {}",
        first.channels, x.channels);
    check<UsageError>(
        may_pad || (x.width == size.width && x.height == size.height),
        "image processor: pictures of one call must come out equally large, got {}x{} and "
        "{}x{}; do_pad would pad them",
        size.width, size.height, x.width, x.height);
  }
  check<UsageError>(
      may_pad || s.flat || *std::min_element(s.counts.begin(), s.counts.end()) == most,
      "image processor: samples of one call must have equally many pictures or tiles; "
      "do_pad would pad them");
  const auto samples = static_cast<int64_t>(s.counts.size());
  const int64_t each = first.channels * size.height * size.width;
  check_amount(samples * most, each);
  const Shape shape = s.flat ? Shape{most, first.channels, size.height, size.width}
                             : Shape{samples, most, first.channels, size.height, size.width};
  Tensor out = Tensor::zeros(shape, dtype, kCpu, "image processor");
  on_dtype<f32, f64>("image processor", dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Levels<T> levels(c, first.channels);
    T* to = out.mutable_data<T>("image processor");
    size_t next = 0;
    for (int64_t sample = 0; sample < samples; ++sample)
      for (int64_t i = 0; i < s.counts[sample]; ++i)
        write_planes(s.images[next++], levels, size.height, size.width,
                     to + (sample * most + i) * each);
  });
  return out;
}

// 1 where stacked() has a picture, 0 where it has padding.  [samples, most, height, width] u8
Tensor pixel_mask(const Stack& s, Wanted size) {
  const int64_t most = *std::max_element(s.counts.begin(), s.counts.end());
  const auto samples = static_cast<int64_t>(s.counts.size());
  Tensor mask =
      Tensor::zeros({samples, most, size.height, size.width}, DType::kU8, kCpu, "image processor");
  auto* to = mask.mutable_data<uint8_t>("image processor");
  size_t next = 0;
  for (int64_t sample = 0; sample < samples; ++sample)
    for (int64_t i = 0; i < s.counts[sample]; ++i) {
      const Image& x = s.images[next++];
      uint8_t* picture = to + (sample * most + i) * size.height * size.width;
      for (int64_t y = 0; y < x.height; ++y)
        std::fill_n(picture + y * size.width, x.width, uint8_t{1});
    }
  return mask;
}

ProcessedImages one_each(const ImageProcessorConfig& c, std::vector<Image> images, DType dtype) {
  Wanted size{images[0].height, images[0].width};
  if (c.do_pad)
    size = c.pad_size.height ? Wanted{c.pad_size.height, c.pad_size.width} : largest(images);
  for (const Image& x : images)
    check<UsageError>(!c.do_pad || (x.height <= size.height && x.width <= size.width),
                      "image processor: pad_size {}x{} is smaller than a picture of {}x{}",
                      size.width, size.height, x.width, x.height);
  const auto count = static_cast<int64_t>(images.size());
  return {.tensors = {{"pixel_values",
                       stacked(c, {std::move(images), {count}, true}, size, c.do_pad, dtype)}}};
}

// Where a class takes several pictures a sample, a flat list is one sample.
std::vector<int64_t> samples_of(const ImageBatch& batch) {
  if (batch.counts.empty()) return {static_cast<int64_t>(batch.images.size())};
  return batch.counts;
}

ProcessedImages padded_samples(const ImageProcessorConfig& c, const Stack& stack, DType dtype) {
  ProcessedImages out;
  const Wanted size =
      c.do_pad ? largest(stack.images) : Wanted{stack.images[0].height, stack.images[0].width};
  out.tensors["pixel_values"] = stacked(c, stack, size, c.do_pad, dtype);
  if (c.do_pad) out.tensors["pixel_attention_mask"] = pixel_mask(stack, size);
  return out;
}

// ---- grids of tiles ----

// Squares of `side` cut row by row; what is left at the edges is smaller.
void append_tiles(const Image& x, int side, std::vector<Image>& tiles) {
  constexpr int64_t kMost = 1 << 14;
  const int64_t count =
      ((int64_t{x.height} + side - 1) / side) * ((int64_t{x.width} + side - 1) / side);
  check<UsageError>(count <= kMost,
                    "image processor: {}x{} pixels would be {} tiles of {}, more than {}", x.width,
                    x.height, count, side, kMost);
  for (int top = 0; top < x.height; top += side)
    for (int left = 0; left < x.width; left += side)
      tiles.push_back(
          window(x, left, top, std::min(side, x.width - left), std::min(side, x.height - top)));
}

// The grid that shows most of the picture's pixels, and of those the smallest.
PixelSize best_grid(const std::vector<PixelSize>& grids, const Image& x) {
  PixelSize best = grids.front();
  int64_t most_shown = 0, least_wasted = INT64_MAX;
  for (const PixelSize& grid : grids) {
    const double scale = std::min(ratio(grid.width, x.width), ratio(grid.height, x.height));
    const int64_t shown = std::min(truncated(x.width * scale) * truncated(x.height * scale),
                                   int64_t{x.width} * x.height);
    const int64_t wasted = int64_t{grid.width} * grid.height - shown;
    if (shown > most_shown || (shown == most_shown && wasted < least_wasted)) {
      most_shown = shown;
      least_wasted = wasted;
      best = grid;
    }
  }
  return best;
}

// The whole picture, then the tiles of its grid.
void append_anyres(const ImageProcessorConfig& c, const Image& x, std::vector<Image>& out) {
  check<FormatError>(!c.grid_pinpoints.empty(), "image processor: image_grid_pinpoints is missing");
  check<FormatError>(c.size.height || c.size.shortest_edge,
                     "image processor: size must have height and width or shortest_edge");
  const PixelSize grid = best_grid(c.grid_pinpoints, x);
  const double across = ratio(grid.width, x.width), down = ratio(grid.height, x.height);
  auto up = [](int64_t side, double scale, int most) {
    return std::min<int64_t>(static_cast<int64_t>(std::ceil(static_cast<double>(side) * scale)),
                             most);
  };
  const Wanted inner = across < down ? Wanted{up(x.height, across, grid.height), grid.width}
                                     : Wanted{grid.height, up(x.width, down, grid.width)};
  const Image placed =
      window(sized(x, inner, c.resample), -static_cast<int>((grid.width - inner.width) / 2),
             -static_cast<int>((grid.height - inner.height) / 2), grid.width, grid.height);
  const Wanted whole = c.size.height ? Wanted{c.size.height, c.size.width}
                                     : Wanted{c.size.shortest_edge, c.size.shortest_edge};
  const auto tile = static_cast<int>(c.crop_size.height ? c.crop_size.height : whole.height);
  std::vector<Image> parts = {sized(x, whole, c.resample)};
  append_tiles(placed, tile, parts);
  for (const Image& part : parts) out.push_back(fitted(c, part));
}

// The size that all tiles have.
Wanted tile_size(const std::vector<Image>& tiles) {
  const Image& first = tiles.front();
  for (const Image& x : tiles)
    check<UsageError>(x.height == first.height && x.width == first.width,
                      "image processor: tiles must come out equally large, got {}x{} and {}x{}",
                      first.width, first.height, x.width, x.height);
  return {first.height, first.width};
}

Tensor sizes_tensor(const std::vector<Image>& images) {
  std::vector<int64_t> sizes;
  for (const Image& x : images) sizes.insert(sizes.end(), {x.height, x.width});
  return Tensor::from(sizes, {static_cast<int64_t>(images.size()), 2});
}

}  // namespace

ProcessedImages arrange_plain(const ImageProcessorConfig& c, const ImageBatch& batch, DType dtype) {
  std::vector<Image> images;
  Image room;
  for (const Image& x : batch.images) images.push_back(fitted(c, converted(c, x, room)));
  return one_each(c, std::move(images), dtype);
}

ProcessedImages arrange_crop_pct(const ImageProcessorConfig& c, const ImageBatch& batch,
                                 DType dtype) {
  constexpr int64_t kSqueezedFrom = 384;
  const int64_t edge = c.size.shortest_edge;
  check<FormatError>(edge > 0, "image processor: size must have shortest_edge");
  std::vector<Image> images;
  for (const Image& given : batch.images) {
    Image room, x = converted(c, given, room);
    if (c.do_resize && edge < kSqueezedFrom) {
      const int64_t longer = truncated(static_cast<double>(edge) / c.crop_pct);
      x = center_crop(sized(x, by_short_edge(x, longer), c.resample), static_cast<int>(edge),
                      static_cast<int>(edge));
    } else if (c.do_resize) {
      x = sized(x, {edge, edge}, c.resample);
    }
    images.push_back(cropped(c, std::move(x)));
  }
  return one_each(c, std::move(images), dtype);
}

ProcessedImages arrange_square(const ImageProcessorConfig& c, const ImageBatch& batch,
                               DType dtype) {
  std::vector<Image> images;
  Image room;
  for (const Image& given : batch.images) {
    const Image& x = converted(c, given, room);
    images.push_back(c.do_pad ? fitted(c, pad_to_square(x, mean_colour(c))) : fitted(c, x));
  }
  ImageProcessorConfig unpadded = c;  // here do_pad is about squares, not about the batch
  unpadded.do_pad = false;
  return one_each(unpadded, std::move(images), dtype);
}

ProcessedImages arrange_anyres(const ImageProcessorConfig& c, const ImageBatch& batch,
                               DType dtype) {
  Stack stack;
  Image room;
  for (const Image& x : batch.images) {
    const size_t before = stack.images.size();
    append_anyres(c, converted(c, x, room), stack.images);
    stack.counts.push_back(static_cast<int64_t>(stack.images.size() - before));
  }
  const Wanted size = tile_size(stack.images);
  return {.tensors = {{"pixel_values", stacked(c, stack, size, c.do_pad, dtype)},
                      {"image_sizes", sizes_tensor(batch.images)}}};
}

ProcessedImages arrange_onevision(const ImageProcessorConfig& c, const ImageBatch& batch,
                                  DType dtype) {
  std::vector<int64_t> counts;
  for (int64_t count : batch.counts)
    if (count > 0) counts.push_back(count);
  if (counts.empty()) counts.assign(batch.images.size(), 1);
  Stack stack;
  Image room;
  size_t next = 0;
  for (int64_t count : counts)
    for (int64_t i = 0; i < count; ++i) {
      const Image& x = converted(c, batch.images[next++], room);
      const size_t before = stack.images.size();
      if (count == 1)
        append_anyres(c, x, stack.images);
      else
        stack.images.push_back(fitted(c, pad_to_square(x, mean_colour(c))));
      stack.counts.push_back(static_cast<int64_t>(stack.images.size() - before));
    }
  const Wanted size = tile_size(stack.images);
  return {.tensors = {
              {"pixel_values", stacked(c, stack, size, c.do_pad, dtype)},
              {"image_sizes", sizes_tensor(batch.images)},
              {"batch_num_images", Tensor::from(counts, {static_cast<int64_t>(counts.size())})}}};
}

ProcessedImages arrange_quarters(const ImageProcessorConfig& c, const ImageBatch& batch,
                                 DType dtype) {
  auto size_of = [&](const Image& x) -> Wanted {
    if (!c.size.shortest_edge || !c.size.longest_edge) return plain_size(c.size, x);
    const Wanted to = by_long_edge(x.height, x.width, c.size.longest_edge, false);
    return {std::max(to.height, c.size.shortest_edge), std::max(to.width, c.size.shortest_edge)};
  };
  Stack stack{{}, samples_of(batch)};
  Image room;
  for (const Image& given : batch.images) {
    const Image& x = converted(c, given, room);
    std::vector<Image> parts;
    if (c.do_image_splitting) {
      const int w = x.width / 2, h = x.height / 2;
      check<UsageError>(w > 0 && h > 0,
                        "image processor: a picture of {}x{} pixels cannot be split into quarters",
                        x.width, x.height);
      parts = {window(x, 0, 0, w, h), window(x, w, 0, x.width - w, h),
               window(x, 0, h, w, x.height - h), window(x, w, h, x.width - w, x.height - h)};
    }
    parts.push_back(x);
    for (Image& part : parts)
      stack.images.push_back(c.do_resize ? sized(part, size_of(part), c.resample)
                                         : std::move(part));
  }
  if (c.do_image_splitting)
    for (int64_t& count : stack.counts) count *= 5;
  return padded_samples(c, stack, dtype);
}

ProcessedImages arrange_tiles(const ImageProcessorConfig& c, const ImageBatch& batch, DType dtype) {
  constexpr int64_t kLongestEdge = 4096;
  const int64_t tile = c.tile;
  auto multiple = [&](int64_t side) { return (side + tile - 1) / tile * tile; };
  auto first_size = [&](const Image& x) -> Wanted {
    if (!c.size.longest_edge) return plain_size(c.size, x);
    Wanted to = by_long_edge(x.height, x.width, c.size.longest_edge, true);
    int64_t& shorter = x.width >= x.height ? to.height : to.width;
    shorter += shorter % 2;
    to = {std::max<int64_t>(to.height, 1), std::max<int64_t>(to.width, 1)};
    to = by_long_edge(to.height, to.width, kLongestEdge, false);
    return {std::max<int64_t>(to.height, 1), std::max<int64_t>(to.width, 1)};
  };
  auto tiled_size = [&](const Image& x) -> Wanted {
    const double aspect = ratio(x.width, x.height);
    if (x.width >= x.height) {
      const int64_t width = multiple(x.width);
      return {multiple(truncated(static_cast<double>(width) / aspect)), width};
    }
    const int64_t height = multiple(x.height);
    return {height, multiple(truncated(static_cast<double>(height) * aspect))};
  };

  ProcessedImages out;
  Stack stack;
  size_t next = 0;
  for (int64_t count : samples_of(batch)) {
    const size_t before = stack.images.size();
    std::vector<int64_t> rows, cols;
    for (int64_t i = 0; i < count; ++i) {
      Image room, x = converted(c, batch.images[next++], room);
      if (c.do_resize) x = sized(x, first_size(x), c.resample);
      if (c.do_image_splitting) x = sized(x, tiled_size(x), c.resample);
      const bool split = c.do_image_splitting && (x.height > tile || x.width > tile);
      rows.push_back(split ? x.height / tile : 0);
      cols.push_back(split ? x.width / tile : 0);
      if (split) append_tiles(x, static_cast<int>(tile), stack.images);
      // One that is a tile already stays as it is.
      stack.images.push_back(split || !c.do_image_splitting ? sized(x, {tile, tile}, c.resample)
                                                            : std::move(x));
    }
    stack.counts.push_back(static_cast<int64_t>(stack.images.size() - before));
    out.rows.push_back(std::move(rows));
    out.cols.push_back(std::move(cols));
  }
  out.tensors = padded_samples(c, stack, dtype).tensors;
  return out;
}

namespace {

// Sides to multiples of `factor`, the area between the two limits.
Wanted patched_size(const Image& x, int64_t factor, int64_t least, int64_t most) {
  const double h = x.height, w = x.width, f = static_cast<double>(factor);
  check<UsageError>(std::max(h, w) / std::min(h, w) <= 200,
                    "image processor: the longer side may be 200 times the shorter one, got {}x{}",
                    x.width, x.height);
  int64_t height = truncated(std::nearbyint(h / f)) * factor;
  int64_t width = truncated(std::nearbyint(w / f)) * factor;
  if (height * width > most) {
    const double beta = std::sqrt(h * w / static_cast<double>(most));
    height = std::max(factor, truncated(std::floor(h / beta / f)) * factor);
    width = std::max(factor, truncated(std::floor(w / beta / f)) * factor);
  } else if (height * width < least) {
    const double beta = std::sqrt(static_cast<double>(least) / (h * w));
    height = truncated(std::ceil(h * beta / f)) * factor;
    width = truncated(std::ceil(w * beta / f)) * factor;
  }
  return {height, width};
}

// One row a patch, [C, time, P, P] flattened; patches that will be merged follow one another. The
// picture is repeated in time.
template <class T>
void write_patches(const ImageProcessorConfig& c, const Image& x, const Levels<T>& levels, T* out) {
  const int p = static_cast<int>(c.patch_size), m = static_cast<int>(c.merge_size);
  for (int top = 0; top < x.height; top += p * m)
    for (int left = 0; left < x.width; left += p * m)
      for (int inner = 0; inner < m * m; ++inner)
        for (int channel = 0; channel < x.channels; ++channel) {
          const T* level = levels.of(channel);
          T* first = out;
          for (int y = top + inner / m * p, i = 0; i < p; ++i, ++y)
            for (int at = left + inner % m * p, j = 0; j < p; ++j, ++at)
              *out++ = level[x.pixels[static_cast<size_t>((int64_t{y} * x.width + at) * x.channels +
                                                          channel)]];
          for (int64_t t = 1; t < c.temporal_patch_size; ++t)
            out = std::copy(first, first + p * p, out);
        }
}

}  // namespace

ProcessedImages arrange_patches(const ImageProcessorConfig& c, const ImageBatch& batch,
                                DType dtype) {
  const int64_t factor = c.patch_size * c.merge_size;
  check<FormatError>(
      c.size.shortest_edge && c.size.longest_edge,
      "image processor: size must have shortest_edge and longest_edge (numbers of pixels)");
  std::vector<Image> images;
  std::vector<int64_t> grids;
  int64_t patches = 0;
  for (const Image& given : batch.images) {
    Image room, x = converted(c, given, room);
    if (c.do_resize)
      x = sized(x, patched_size(x, factor, c.size.shortest_edge, c.size.longest_edge), c.resample);
    check<UsageError>(
        x.height % factor == 0 && x.width % factor == 0 &&
            (images.empty() || x.channels == images[0].channels),
        "image processor: both sides must be multiples of {} (merged patches) and all "
        "pictures of the same channels, got {}x{}x{}",
        factor, x.width, x.height, x.channels);
    grids.insert(grids.end(), {1, x.height / c.patch_size, x.width / c.patch_size});
    patches += grids.rbegin()[0] * grids.rbegin()[1];
    images.push_back(std::move(x));
  }
  const int64_t each = images[0].channels * c.temporal_patch_size * c.patch_size * c.patch_size;
  check_amount(patches, each);
  Tensor pixels = Tensor::empty({patches, each}, dtype, kCpu, "image processor");
  on_dtype<f32, f64>("image processor", dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Levels<T> levels(c, images[0].channels);
    T* to = pixels.mutable_data<T>("image processor");
    for (const Image& x : images) {
      write_patches(c, x, levels, to);
      to += x.height / c.patch_size * (x.width / c.patch_size) * each;
    }
  });
  return {.tensors = {
              {"pixel_values", pixels},
              {"image_grid_thw", Tensor::from(grids, {static_cast<int64_t>(images.size()), 3})}}};
}

}  // namespace ocellus
