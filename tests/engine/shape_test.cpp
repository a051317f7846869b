#include "engine/shape.h"

#include <doctest/doctest.h>

using namespace ocellus;

TEST_CASE("shape: numel, rows, dim from the end, with, text") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.numel() == 24);
  CHECK(s.rows() == 6);
  CHECK(s.dim(-1) == 4);
  CHECK(s.back() == 4);
  CHECK(s.dim(0) == 2);
  CHECK(s.with(-2, 7) == Shape{2, 7, 4});
  CHECK(to_string(s) == "[2, 3, 4]");
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{}.rows() == 1);
  CHECK(to_string(Shape{}) == "[]");
  CHECK(Shape{5, 0, 3}.numel() == 0);
  CHECK(Shape{2, 3} != Shape{2, 3, 1});
  CHECK(Shape{2, 3} != Shape{3, 2});
}

TEST_CASE("shape: contiguous strides") {
  CHECK(Strides::contiguous({2, 3, 4}) == Strides{12, 4, 1});
  CHECK(Strides::contiguous({5}) == Strides{1});
  CHECK(Strides::contiguous({}) == Strides{});
}

TEST_CASE("shape: more than eight dimensions are refused") {
  CHECK(Shape{1, 2, 3, 4, 5, 6, 7, 8}.rank() == 8);
  CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), "Shape: at most 8 dimensions, got 9",
                       ShapeError);
  Shape s{1, 1, 1, 1, 1, 1, 1, 1};
  CHECK_THROWS_WITH_AS(s.push_back(1), "Shape: at most 8 dimensions, got 9", ShapeError);
  CHECK_THROWS_WITH_AS(Dims::filled(9, 0), "Shape: at most 8 dimensions, got 9", ShapeError);
  CHECK_THROWS_WITH_AS(Dims::filled(-1, 0), "Shape: at most 8 dimensions, got -1", ShapeError);
}

TEST_CASE("shape: a number of elements beyond 64 bits, or a negative extent, is refused") {
  const int64_t big = int64_t{1} << 32;
  CHECK(Shape{big, big / 2 - 1}.numel() > 0);
  CHECK_THROWS_WITH_AS(
      (Shape{big, big}.numel()),
      "Shape: the number of elements of [4294967296, 4294967296] does not fit 64 bits", ShapeError);
  CHECK_THROWS_AS((Shape{2, -1}.numel()), ShapeError);
}

TEST_CASE("shape: dimensions outside are refused by name") {
  CHECK(normalize_dim("sum", -1, 3) == 2);
  CHECK(normalize_dim("sum", 0, 3) == 0);
  CHECK_THROWS_WITH_AS(normalize_dim("sum", 3, 3), "sum: dimension must be in [-3, 3), got 3",
                       ShapeError);
  CHECK_THROWS_WITH_AS(normalize_dim("sum", -4, 3), "sum: dimension must be in [-3, 3), got -4",
                       ShapeError);
  CHECK_THROWS_WITH_AS((Shape{2, 3}.dim(2)), "Shape: dimension must be in [-2, 2), got 2",
                       ShapeError);
  CHECK_THROWS_AS(Shape{}.back(), ShapeError);
}

TEST_CASE("shape: broadcasting follows numpy") {
  CHECK(broadcast_shapes("add", {3, 1}, {4}) == Shape{3, 4});
  CHECK(broadcast_shapes("add", {4}, {3, 1}) == Shape{3, 4});
  CHECK(broadcast_shapes("add", {}, {2, 5}) == Shape{2, 5});
  CHECK(broadcast_shapes("add", {2, 1, 5}, {7, 1}) == Shape{2, 7, 5});
  CHECK(broadcast_shapes("add", {0, 3}, {1, 3}) == Shape{0, 3});
  CHECK_THROWS_WITH_AS(broadcast_shapes("add", {3, 2}, {4, 2}),
                       "add: b must broadcast with a [3, 2], got [4, 2]", ShapeError);
  CHECK_THROWS_AS(broadcast_shapes("add", {0}, {3}), ShapeError);
}
