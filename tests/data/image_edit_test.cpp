#include "data/image_edit.h"

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

// A grey picture whose pixels count up from 1.
Image counting(int width, int height) {
  Image image{width, height, 1, {}};
  for (int i = 0; i < width * height; ++i) image.pixels.push_back(static_cast<uint8_t>(i + 1));
  return image;
}
using Bytes = std::vector<uint8_t>;

}  // namespace

TEST_CASE("window: inside it cuts, outside it shows the background") {
  const Image image = counting(3, 2);  // 1 2 3 / 4 5 6
  CHECK(window(image, 1, 0, 2, 2).pixels == Bytes{2, 3, 5, 6});
  CHECK(window(image, -1, 1, 3, 2).pixels == Bytes{0, 4, 5, 0, 0, 0});
  CHECK(window(image, 2, -1, 2, 2, {9}).pixels == Bytes{9, 9, 3, 9});
  CHECK(window(image, 7, 7, 1, 2, {4}).pixels == Bytes{4, 4});
  const Image rgb{1, 1, 3, {1, 2, 3}};
  CHECK(window(rgb, -1, 0, 2, 1, {7, 8, 9}).pixels == Bytes{7, 8, 9, 1, 2, 3});
  CHECK(contains(error_of<UsageError>([&] {
                   window(rgb, 0, 0, 2, 1, {7, 8});
                 }),
                 "background must have 1 or 3 values (as the picture has channels), got 2"));
  CHECK(contains(error_of<UsageError>([&] { window(rgb, 0, 0, 1 << 20, 1 << 20); }),
                 "window: both sides must be positive and the area at most"));
}

TEST_CASE("center_crop: the odd pixel is cut at the right and bottom, and padded in front") {
  const Image image = counting(4, 3);  // 1 2 3 4 / 5 6 7 8 / 9 10 11 12
  CHECK(center_crop(image, 2, 1).pixels == Bytes{6, 7});
  CHECK(center_crop(image, 1, 2).pixels == Bytes{2, 6});
  CHECK(center_crop(image, 3, 3).pixels == Bytes{1, 2, 3, 5, 6, 7, 9, 10, 11});
  // As transformers: one more row in front where the gap is odd.
  CHECK(center_crop(image, 2, 4).pixels == Bytes{0, 0, 2, 3, 6, 7, 10, 11});
  CHECK(center_crop(counting(1, 1), 4, 1).pixels == Bytes{0, 0, 1, 0});
}

TEST_CASE("pad_to_square: the picture lies in the middle, the odd row below") {
  CHECK(pad_to_square(counting(2, 1), {5}).pixels == Bytes{1, 2, 5, 5});
  CHECK(pad_to_square(counting(1, 4), {5}).pixels ==
        Bytes{5, 1, 5, 5, 5, 2, 5, 5, 5, 3, 5, 5, 5, 4, 5, 5});
  CHECK(pad_to_square(counting(2, 2), {5}).pixels == Bytes{1, 2, 3, 4});
}
