#include <doctest/doctest.h>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/rows_copy.h"

using namespace ocellus;

namespace {
Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor::from(values, shape);
}
Variable numbers(const Shape& shape) { return constant(counting(shape)); }
Tensor ids_of(std::vector<int32_t> ids) {
  return Tensor::from(ids, {static_cast<int64_t>(ids.size())});
}
using Floats = std::vector<float>;
Floats values(const Variable& x) { return x.value().to_vector<float>(); }
}  // namespace

TEST_CASE("shape ops: views share storage, copies are made only where strides cannot say it") {
  const Variable x = numbers({2, 3, 8});
  const auto same = [&](const Variable& y) { return y.value().storage() == x.value().storage(); };
  CHECK(same(reshape(x, {6, -1})));
  CHECK(same(permute(x, {2, 0, 1})));
  CHECK(same(transpose(x, 0, -1)));
  CHECK(same(slice(x, 1, 1, 2)));
  CHECK(same(split(x, {1, 7}, 2)[1]));
  CHECK(same(expand(x, {5, 2, 3, 8})));
  // Heads of a slice of a fused product: one dimension is split, none is merged.
  CHECK(same(reshape(slice(x, 2, 4, 8), {2, 3, 2, 2})));
  CHECK(same(reshape(transpose(x, 0, 1), {3, 2, 4, 2})));
  CHECK_FALSE(same(reshape(transpose(x, 0, 1), {6, 8})));
  CHECK_FALSE(same(reshape(slice(x, 2, 4, 8), {24})));
}

TEST_CASE("shape ops: a reshaped view has the elements of a reshaped copy") {
  const Tensor base = counting({4, 6, 5, 2});
  const Tensor views[] = {base,
                          base.transposed(0, 1),
                          base.transposed(1, 3),
                          base.sliced(1, 1, 5),
                          base.sliced(3, 1, 2),
                          base.permuted({2, 3, 0, 1}),
                          base.sliced(0, 0, 1).broadcast_to({4, 6, 5, 2}),
                          base.sliced(0, 1, 2).sliced(2, 2, 3)};
  const Shape shapes[] = {{-1},       {2, -1},    {-1, 2},   {4, -1, 1, 2},
                          {2, 2, -1}, {1, -1, 1}, {2, 3, -1}};
  int shared = 0;
  for (const Tensor& x : views)
    for (const Shape& shape : shapes) {
      int64_t known = 1;
      for (int64_t d : shape) known *= d > 0 ? d : 1;
      if (x.numel() % known != 0) continue;
      const Tensor y = reshaped_view(x, shape), copy = x.clone().view_as(shape);
      CHECK(y.shape() == copy.shape());
      CHECK(y.to_vector<float>() == copy.to_vector<float>());
      shared += y.storage() == x.storage();
    }
  CHECK(shared >= 20);
  CHECK(reshaped_view(counting({3, 0}).transposed(0, 1), {0, 7}).shape() == Shape{0, 7});
}

TEST_CASE("shape ops: values") {
  const Variable x = numbers({2, 3});
  CHECK(values(transpose(x, 0, 1)) == Floats{0, 3, 1, 4, 2, 5});
  CHECK(values(slice(x, -1, 1, 3)) == Floats{1, 2, 4, 5});
  CHECK(values(split(x, {2, 1}, 1)[0]) == Floats{0, 1, 3, 4});
  CHECK(values(concat({x, slice(x, 1, 0, 1)}, 1)) == Floats{0, 1, 2, 0, 3, 4, 5, 3});
  CHECK(values(pad(x, 1, 1, 2, 9)) == Floats{9, 0, 1, 2, 9, 9, 9, 3, 4, 5, 9, 9});
  CHECK(values(pad(x, 0, 0, 0)) == values(x));
  CHECK(values(expand(slice(x, 0, 1, 2), {2, 3})) == Floats{3, 4, 5, 3, 4, 5});
  CHECK(values(gather_rows(x, ids_of({1, 1, 0}))) == Floats{3, 4, 5, 3, 4, 5, 0, 1, 2});
  CHECK(values(scatter_rows(numbers({3, 2}), ids_of({2, 0}), numbers({2, 2}))) ==
        Floats{2, 3, 2, 3, 0, 1});
  CHECK(gather_rows(x, ids_of({})).shape() == Shape{0, 3});
  CHECK(values(scatter_rows(x, ids_of({}), constant(Tensor::zeros({0, 3}, DType::kF32)))) ==
        values(x));
}

TEST_CASE("shape ops: an output of split that nothing used has gradient zero") {
  Tape tape;
  const Variable x = leaf(counting({1, 5}));
  const Variables parts = split(x, {2, 2, 1}, 1);
  tape.backward(sum(mul(parts[1], 3.0)));
  CHECK(tape.gradient(x).to_vector<float>() == Floats{0, 0, 3, 3, 0});
}

TEST_CASE("shape ops: gradients of rows that are gathered twice add up") {
  Tape tape;
  const Variable x = leaf(counting({3, 1}));
  const Variable y = gather_rows(x, ids_of({2, 0, 2}));
  tape.backward({y}, {Tensor::from<float>({1, 10, 100}, {3, 1})});
  CHECK(tape.gradient(x).to_vector<float>() == Floats{10, 0, 101});
}

TEST_CASE("shape ops: concat and scatter_rows under autocast take the wider type") {
  const Autocast scope(DType::kBF16);
  const Variable low = constant(counting({1, 2}).to(DType::kBF16)), full = numbers({1, 2});
  CHECK(concat({low, full}, 0).dtype() == DType::kF32);
  CHECK(concat({low, low}, 0).dtype() == DType::kBF16);
  CHECK(scatter_rows(full, ids_of({0}), low).dtype() == DType::kF32);
}

TEST_CASE("shape ops: what is refused") {
  const Variable x = numbers({2, 3});
  CHECK_THROWS_WITH_AS(reshape(x, {4}),
                       "reshape: shape must have the 6 elements of x [2, 3], got [4]", ShapeError);
  CHECK_THROWS_WITH_AS(permute(x, {0}), "permute: order must name 2 dimensions, got 1", ShapeError);
  CHECK_THROWS_WITH_AS(transpose(x, 0, 2), "transpose: dimension must be in [-2, 2), got 2",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      slice(x, 0, 1, 3),
      "slice: begin and end must be in [0, 2] (dimension 0 of x [2, 3]) and in order, got 1 and 3",
      ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {1, 1}, 1),
                       "split: sizes must add up to 3 (dimension 1 of [2, 3]), got 2", ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {4, -1}, 1), "split: sizes must not be negative, got -1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {}, 1), "split: sizes must not be empty", ShapeError);
  CHECK_THROWS_WITH_AS(concat({}, 0), "concat: needs at least one tensor", ShapeError);
  CHECK_THROWS_WITH_AS(
      concat({x, numbers({2, 4})}, 0),
      "concat: xs[1] must be as xs[0] but for dimension 0, got [2, 4]; xs[0] is [2, 3] f32 on cpu",
      ShapeError);
  CHECK_THROWS_WITH_AS(concat({x, constant(counting({2, 3}).to(DType::kF64))}, 0),
                       "concat: xs[1] must be f32 as xs[0] is, got f64", DTypeError);
  CHECK_THROWS_WITH_AS(pad(x, 0, -1, 0), "pad: before and after must not be negative, got -1 and 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(expand(x, {2, 4}), "expand: shape must be a broadcast of x [2, 3], got [2, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(expand(x, {1, 3}),
                       "expand: shape must be a broadcast of x [2, 3], got [1, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(gather_rows(x, ids_of({0, 2})),
                       "gather_rows: ids[1] must be in [0, 2), got 2", ShapeError);
  CHECK_THROWS_WITH_AS(gather_rows(x, ids_of({-1})),
                       "gather_rows: ids[0] must be in [0, 2), got -1", ShapeError);
  CHECK_THROWS_WITH_AS(gather_rows(x, counting({2})),
                       "gather_rows: ids must be i32 or i64, got f32", DTypeError);
  CHECK_THROWS_WITH_AS(gather_rows(x, counting({1, 2})),
                       "gather_rows: ids must be [M], got [1, 2]; x is [2, 3] f32 on cpu",
                       ShapeError);
  CHECK_THROWS_WITH_AS(gather_rows(numbers({}), ids_of({0})),
                       "gather_rows: x must be [N, …], got [] f32 on cpu", ShapeError);
  CHECK_THROWS_WITH_AS(scatter_rows(x, ids_of({0, 0}), x),
                       "scatter_rows: ids[1] = 0 is named twice", ShapeError);
  CHECK_THROWS_WITH_AS(scatter_rows(x, ids_of({5}), numbers({1, 3})),
                       "scatter_rows: ids[0] must be in [0, 2), got 5", ShapeError);
  CHECK_THROWS_WITH_AS(scatter_rows(x, ids_of({0}), numbers({1, 4})),
                       "scatter_rows: rows must be [1, 3] (ids, columns of base), got [1, 4]; base "
                       "is [2, 3] f32 on cpu",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scatter_rows(numbers({3}), ids_of({0}), x),
                       "scatter_rows: base must be [N, C] and ids [M], got [3] f32 on cpu and [1]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(scatter_rows(x, ids_of({0}), constant(counting({1, 3}).to(DType::kF64))),
                       "scatter_rows: rows must be f32 as base is, got f64", DTypeError);
}

TEST_CASE("reductions: shapes, values, and what is refused") {
  const Variable x = numbers({2, 3});
  CHECK(sum(x).shape() == Shape{});
  CHECK(sum(x).value().item() == 15);
  CHECK(sum(x, {}, true).shape() == Shape{1, 1});
  CHECK(values(sum(x, {0})) == Floats{3, 5, 7});
  CHECK(sum(x, {-1}, true).shape() == Shape{2, 1});
  CHECK(values(mean(x, {1})) == Floats{1, 4});
  CHECK(mean(x).value().item() == 2.5);
  CHECK(mean_last(x).shape() == Shape{2, 1});
  CHECK(values(mean(numbers({2, 1}), {1})) == Floats{0, 1});
  CHECK(sum(constant(Tensor::zeros({0, 2}, DType::kF32))).value().item() == 0);
  CHECK_THROWS_WITH_AS(sum(x, {2}), "sum: dimension must be in [-2, 2), got 2", ShapeError);
  CHECK_THROWS_WITH_AS(sum(x, {1, -1}), "sum: dimension 1 is named twice", ShapeError);
  CHECK_THROWS_WITH_AS(mean(constant(Tensor::zeros({0, 2}, DType::kF32)), {0}),
                       "mean: x must have elements to average, got [0, 2] f32 on cpu", ShapeError);
  CHECK_THROWS_WITH_AS(sum(constant(ids_of({1}))),
                       "sum: dtype must be one of f32 bf16 f64, got i32", DTypeError);
}
