#include "engine/tensor.h"

#include <doctest/doctest.h>

#include <limits>

#include "engine/dispatch.h"
#include "engine/kernels/copy.h"

using namespace ocellus;

namespace {
// 0, 1, 2 … in the given shape.
Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor::from(values, shape);
}
using Floats = std::vector<float>;
}  // namespace

TEST_CASE("tensor: made from values, filled, scalar, undefined") {
  const Tensor t = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(t.describe() == "[2, 3] f32 on cpu");
  CHECK(t.numel() == 6);
  CHECK(t.bytes() == 24);
  CHECK(t.is_contiguous());
  CHECK(Tensor::zeros({2, 2}, DType::kI64).to_vector<int64_t>() == std::vector<int64_t>(4, 0));
  CHECK(Tensor::full({3}, 2.5, DType::kBF16).to_vector<double>() == std::vector<double>(3, 2.5));
  CHECK(Tensor::scalar(7, DType::kF64).item() == 7);
  const Tensor none;
  CHECK_FALSE(none.defined());
  CHECK(none.numel() == 0);
  CHECK(none.describe() == "undefined");
  CHECK_THROWS_WITH_AS(Tensor::from<float>({1, 2}, {3}), "Tensor::from: [3] needs 3 values, got 2",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.item(), "item: the tensor must have one element, got [2, 3]", ShapeError);
}

TEST_CASE("tensor: views share the storage, copies do not") {
  Tensor t = counting({4, 3});
  Tensor row = t.sliced(0, 1, 2), copy = t.sliced(0, 1, 2).clone();
  const uint32_t before = t.version();
  row.mutable_data<float>("test")[0] = 50;
  CHECK(t.to_vector<float>()[3] == 50);
  CHECK(copy.to_vector<float>()[0] == 3);
  CHECK(t.version() == before + 1);  // counted for every view
  CHECK(t.storage()->last_writer == std::string("test"));
  CHECK(copy.version() != 0);  // its own writes alone
}

TEST_CASE("tensor: sliced, transposed and permuted views read the right elements") {
  const Tensor t = counting({2, 3, 4});
  CHECK(t.sliced(1, 1, 3).to_vector<float>() ==
        Floats{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23});
  CHECK(t.sliced(-1, 2, 3).to_vector<float>() == Floats{2, 6, 10, 14, 18, 22});
  CHECK(t.sliced(0, 1, 1).numel() == 0);
  CHECK(counting({2, 3}).transposed(0, 1).to_vector<float>() == Floats{0, 3, 1, 4, 2, 5});
  const Tensor p = t.permuted({2, 0, 1});
  CHECK(p.shape() == Shape{4, 2, 3});
  CHECK_FALSE(p.is_contiguous());
  CHECK(p.to_vector<float>()[5] == 20);  // [0, 1, 2] is t[1, 2, 0]
  CHECK(p.contiguous().is_contiguous());
  CHECK(p.sliced(0, 1, 3).transposed(1, 2).to_vector<float>()[1] == 13);  // t[1, 0, 1]
  CHECK_THROWS_WITH_AS(t.sliced(1, 2, 4),
                       "slice: begin and end must be in [0, 3] (dimension 1 of x [2, 3, 4]) and in "
                       "order, got 2 and 4",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.sliced(1, 2, 1),
                       "slice: begin and end must be in [0, 3] (dimension 1 of x [2, 3, 4]) and in "
                       "order, got 2 and 1",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.permuted({0, 1}), "permute: order must name 3 dimensions, got 2",
                       ShapeError);
  CHECK_THROWS_WITH_AS(t.permuted({0, 1, 1}), "permute: dimension 1 is named twice", ShapeError);
}

TEST_CASE("tensor: contiguity does not look at extents of 1") {
  CHECK(counting({3, 1}).transposed(0, 1).is_contiguous());
  CHECK_FALSE(counting({3, 2}).transposed(0, 1).is_contiguous());
  CHECK(counting({4, 3}).sliced(0, 1, 3).is_contiguous());
  CHECK_FALSE(counting({4, 3}).sliced(1, 1, 3).is_contiguous());
}

TEST_CASE("tensor: reshape") {
  const Tensor t = counting({2, 6});
  CHECK(t.view_as({3, -1}).shape() == Shape{3, 4});
  CHECK(t.view_as({12}).storage() == t.storage());
  CHECK(t.transposed(0, 1).reshaped({4, 3}).to_vector<float>() ==
        Floats{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  CHECK_THROWS_WITH_AS(t.transposed(0, 1).view_as({12}),
                       "view_as: x must be contiguous, got strides [1, 6] of [6, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(t.view_as({5}),
                       "reshape: shape must have the 12 elements of x [2, 6], got [5]", ShapeError);
  CHECK_THROWS_WITH_AS(t.view_as({5, -1}),
                       "reshape: shape must have the 12 elements of x [2, 6], got [5, -1]",
                       ShapeError);
  CHECK_THROWS_AS(t.view_as({-1, -1}), ShapeError);
}

TEST_CASE("tensor: broadcast views have strides of 0") {
  const Tensor row = counting({1, 3});
  const Tensor wide = row.broadcast_to({2, 4, 3});
  CHECK(wide.strides() == Strides{0, 0, 1});
  CHECK(wide.to_vector<float>()[10] == 1);
  CHECK_THROWS_WITH_AS(row.broadcast_to({2, 4}),
                       "broadcast_to: shape must be a broadcast of x [1, 3], got [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(counting({4, 3}).broadcast_to({1, 3}),
                       "broadcast_to: shape must be a broadcast of x [4, 3], got [1, 3]",
                       ShapeError);
}

TEST_CASE("tensor: conversions between element types") {
  const Tensor t = Tensor::from<float>({-1.75f, 0, 0.5f, 3}, {4});
  CHECK(t.to(DType::kF32).storage() == t.storage());
  CHECK(t.to(DType::kF64).to_vector<double>() == std::vector<double>{-1.75, 0, 0.5, 3});
  CHECK(t.to(DType::kI32).to_vector<int64_t>() == std::vector<int64_t>{-1, 0, 0, 3});
  CHECK(t.to(DType::kBool).to_vector<int64_t>() == std::vector<int64_t>{1, 0, 1, 1});
  const Tensor ids = Tensor::from<int64_t>({5, -3, int64_t{1} << 40}, {3});
  CHECK(ids.to(DType::kF64).to_vector<double>()[2] == 0x1p40);
  CHECK(ids.to(DType::kBF16).to_vector<double>()[1] == -3);
  CHECK(ids.transposed(0, 0).to(DType::kI32).to_vector<int32_t>()[1] == -3);
  // Strided source, more elements than the conversion's buffer.
  const Tensor tall = counting({300, 2}).transposed(0, 1).to(DType::kF64);
  CHECK(tall.to_vector<double>()[299] == 598);
  CHECK(tall.to_vector<double>()[300] == 1);
}

TEST_CASE("tensor: bf16 rounds to nearest even, keeps infinities and NaN") {
  const auto rounded = [](float x) { return static_cast<float>(bf16(x)); };
  CHECK(rounded(1.0f) == 1.0f);
  CHECK(rounded(1.0f + 0x1p-8f) == 1.0f);                // halfway, down to even
  CHECK(rounded(1.0f + 3 * 0x1p-8f) == 1.0f + 0x1p-6f);  // halfway, up to even
  CHECK(rounded(1.0f + 0x1p-8f + 0x1p-20f) == 1.0f + 0x1p-7f);
  CHECK(rounded(-0.0f) == 0.0f);
  CHECK(rounded(3.4e38f) == std::numeric_limits<float>::infinity());
  CHECK(rounded(-std::numeric_limits<float>::infinity()) ==
        -std::numeric_limits<float>::infinity());
  const float nan = rounded(std::numeric_limits<float>::quiet_NaN());
  CHECK(nan != nan);
}

TEST_CASE("tensor: a wrong element type or size is refused") {
  Tensor t = counting({2});
  CHECK_THROWS_WITH_AS(t.data<double>(), "Tensor: elements are f32, asked for f64", DTypeError);
  CHECK_THROWS_WITH_AS(t.mutable_data<int32_t>("x"), "Tensor: elements are f32, asked for i32",
                       DTypeError);
  Tensor none;
  CHECK_THROWS_WITH_AS(none.mutable_data<float>("writer"), "writer: the output tensor is undefined",
                       Error);
  const int64_t big = int64_t{1} << 61;
  CHECK_THROWS_WITH_AS(Tensor::empty({big, 2}, DType::kF64, kCpu, "huge"),
                       "huge: the bytes of [2305843009213693952, 2] f64 do not fit 64 bits",
                       ShapeError);
  Tensor out = counting({3});
  CHECK_THROWS_WITH_AS(copy(t, out), "copy: out must be [2], got [3]", ShapeError);
}

TEST_CASE("tensor: a mapped block is read in place and kept alive") {
  auto bytes = std::make_shared<std::vector<float>>(Floats{1, 2, 3, 4});
  std::weak_ptr<std::vector<float>> watch = bytes;
  {
    Memory memory = Memory::borrowed(bytes->data(), 16, bytes);
    const float* at = bytes->data();
    bytes.reset();
    const Tensor t = Tensor::wrap(std::move(memory), {2, 2}, DType::kF32);
    CHECK(t.data<float>() == at);
    CHECK_FALSE(watch.expired());
  }
  CHECK(watch.expired());
  CHECK_THROWS_WITH_AS(Tensor::wrap(Memory::borrowed(nullptr, 12, nullptr), {4}, DType::kF32),
                       "Tensor::wrap: [4] f32 needs 16 bytes, got 12", ShapeError);
  CHECK_THROWS_WITH_AS(
      Tensor::wrap(Memory::borrowed(nullptr, 12, nullptr), {int64_t{1} << 62}, DType::kF32),
      "Tensor::wrap: the bytes of [4611686018427387904] f32 do not fit 64 bits", ShapeError);
}

TEST_CASE("tensor: devices that are not there, and types that an op does not take") {
  CHECK_THROWS_WITH_AS(Tensor::empty({2}, DType::kF32, Device{DeviceType::kFake, 9}),
                       "fake:9: there is no such device in this process", DeviceError);
  CHECK_THROWS_WITH_AS(on_float("my_op", DType::kI32, [](auto) {}),
                       "my_op: dtype must be one of f32 bf16 f64, got i32", DTypeError);
  if (!cuda_linked())
    CHECK_THROWS_WITH_AS(on_cpu_only("my_op", Device{DeviceType::kCuda, 0}, [](auto) {}),
                         "my_op: this program was built without CUDA", DeviceError);
  CHECK_THROWS_WITH_AS(on_cpu_only("my_op", Device{DeviceType::kFake, 0}, [](auto) {}),
                       "my_op: no kernel for fake:0 yet", DeviceError);
}
