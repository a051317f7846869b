// Softmax, norms, rope and the vision ops: special cases, numbers from PyTorch, and what is
// refused.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/random.h"

using namespace ocellus;

namespace {

using Doubles = std::vector<double>;
constexpr double kInf = std::numeric_limits<double>::infinity();

Variable of(const Doubles& values, const Shape& shape) {
  return constant(Tensor::from(values, shape));
}
Variable ones(const Shape& shape, DType dtype = DType::kF64) {
  return constant(Tensor::full(shape, 1, dtype));
}
Tensor counting(const Shape& shape) {
  Doubles values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return Tensor::from(values, shape);
}
Tensor normals(const Shape& shape) {
  Doubles values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal_at({4, 4}, i);
  return Tensor::from(values, shape);
}
Doubles values(const Variable& x) { return x.value().to_vector<double>(); }

void check_close(const Doubles& got, const Doubles& expected, double tolerance) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    if (std::isinf(expected[i]))
      CHECK(got[i] == expected[i]);
    else
      CHECK(std::fabs(got[i] - expected[i]) <= tolerance);
  }
}

}  // namespace

TEST_CASE("softmax: numbers of PyTorch, -infinity among them") {
  const Variable x = of({0.5, -1, 2, 0, 3, 3, 3, -kInf}, {2, 4});
  check_close(values(softmax(x)),
              {0.15844470951497974, 0.035353793408748876, 0.7100999228861743, 0.09610157419009724,
               1.0 / 3, 1.0 / 3, 1.0 / 3, 0},
              1e-15);
  check_close(values(log_softmax(x)),
              {-1.842349582389822, -3.342349582389822, -0.342349582389822, -2.342349582389822,
               -1.0986122886681098, -1.0986122886681098, -1.0986122886681098, -kInf},
              1e-15);
}

TEST_CASE("softmax: a row of -infinity alone gives 0, or -infinity; NaN stays visible") {
  const Variable x = of({-kInf, -kInf}, {1, 2});
  CHECK(values(softmax(x)) == Doubles{0, 0});
  CHECK(values(log_softmax(x)) == Doubles{-kInf, -kInf});
  const double nan = std::nan("");
  for (const Doubles& row : {Doubles{nan, 1}, Doubles{nan, -kInf}, Doubles{kInf, 1}}) {
    CHECK(std::isnan(values(softmax(of(row, {2})))[0]));
    CHECK(std::isnan(values(log_softmax(of(row, {2})))[0]));
  }
}

TEST_CASE("softmax: large values neither overflow nor lose the sum, in f32") {
  const Variable x = constant(of({1e30, -1e30, 1e30}, {3}).value().to(DType::kF32));
  check_close(values(softmax(x)), {0.5, 0, 0.5}, 0);
  const Variable rows = constant(normals({3, 1000}).to(DType::kF32));
  for (double total : values(sum(softmax(rows), {-1}))) CHECK(std::fabs(total - 1) < 2e-6);
  check_close(values(log_softmax(rows)), values(log_softmax(constant(normals({3, 1000})))), 4e-6);
}

TEST_CASE("softmax: no rows, and what is refused") {
  CHECK(softmax(constant(Tensor::zeros({0, 3}, DType::kF32))).shape() == Shape{0, 3});
  CHECK_THROWS_WITH_AS(softmax(of({1}, {})),
                       "softmax: x must have a last dimension of at least 1, got [] f64 on cpu",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      log_softmax(constant(Tensor::zeros({2, 0}, DType::kF32))),
      "log_softmax: x must have a last dimension of at least 1, got [2, 0] f32 on cpu", ShapeError);
  CHECK_THROWS_WITH_AS(softmax(constant(Tensor::zeros({2}, DType::kI32))),
                       "softmax: dtype must be one of f32 bf16 f64, got i32", DTypeError);
}

TEST_CASE("norms: numbers of PyTorch") {
  const Variable x = of({1, 2, 3, 4, -1, 0, 1, 6}, {2, 4});
  const Variable w = of({1, -2, 0.5, 3}, {4}), b = of({0.1, 0.2, 0.3, 0.4}, {4});
  check_close(values(layer_norm(x, w, b, 1e-2f)),
              {-1.2363062095621218, 1.0908708063747479, 0.522717701593687, 4.408918628686366,
               -0.8278370237815069, 1.3134044285378081, 0.2072162976218493, 5.4103199284201375},
              1e-9);  // eps is a float here, a double there
  check_close(values(rms_norm(x, w, 1e-2f)),
              {0.36490518258441335, -1.4596207303376534, 0.54735777387662, 4.37886219101296,
               -0.32427221756276076, 0, 0.16213610878138038, 5.836899916129694},
              1e-9);
}

TEST_CASE("norms: a constant row, a far-off mean, no rows") {
  const Variable w = ones({64}, DType::kF32);
  const Variable flat = constant(Tensor::full({2, 64}, 5, DType::kF32));
  for (double y : values(layer_norm(flat, w, {}, 1e-5f))) CHECK(y == 0);
  // Deviations of about 1 around 10000: squares and their mean would lose them in f32.
  Tensor shifted = normals({8, 64});
  double* at = shifted.mutable_data<double>("test");
  for (int i = 0; i < 8 * 64; ++i) at[i] = static_cast<float>(at[i] + 10000);
  check_close(values(layer_norm(constant(shifted.to(DType::kF32)), w, {}, 1e-5f)),
              values(layer_norm(constant(shifted), ones({64}), {}, 1e-5f)), 2e-3);
  Tape tape;
  const Variable none = leaf(Tensor::zeros({0, 4}, DType::kF32)),
                 weight = leaf(Tensor::full({4}, 1, DType::kF32));
  const Variable y = layer_norm(none, weight, weight, 1e-5f), z = rms_norm(none, weight, 1e-5f);
  CHECK(y.shape() == Shape{0, 4});
  tape.backward({y, z}, {Tensor::zeros({0, 4}, DType::kF32), Tensor::zeros({0, 4}, DType::kF32)});
  CHECK(tape.gradient(weight).to_vector<double>() == Doubles{0, 0, 0, 0});
}

TEST_CASE("norms: gradients that are not needed are not computed, the others are the same") {
  const Tensor x = normals({6, 10}), w = normals({10}), b = normals({10});
  const auto gradients = [&](bool need_x, bool need_w, bool need_b) {
    Tape tape;
    const auto in = [](const Tensor& t, bool need) { return need ? leaf(t) : constant(t); };
    const Variable vx = in(x, need_x), vw = in(w, need_w), vb = in(b, need_b);
    tape.backward(sum(square(layer_norm(vx, vw, vb, 1e-3f))));
    Tensors out;
    out.push_back(need_x ? tape.gradient(vx) : Tensor());
    out.push_back(need_w ? tape.gradient(vw) : Tensor());
    out.push_back(need_b ? tape.gradient(vb) : Tensor());
    return out;
  };
  const Tensors all = gradients(true, true, true);
  for (int mask = 1; mask < 8; ++mask) {
    const Tensors some = gradients(mask & 1, mask & 2, mask & 4);
    for (int i = 0; i < 3; ++i)
      if (mask >> i & 1) CHECK(some[i].to_vector<double>() == all[i].to_vector<double>());
  }
}

TEST_CASE("norms: an output rebuilt in backward has the bits of the first") {
  const Tensor x = normals({5, 33}).to(DType::kF32), w = normals({33}).to(DType::kF32);
  const auto gradient = [&](bool rebuild) {
    const RecomputeScope scope(rebuild);
    Tape tape;
    const Variable vx = leaf(x), vw = leaf(w);
    // square saves its input: the norm's output.
    tape.backward(
        sum(square(add(square(layer_norm(vx, vw, vw, 1e-3f)), square(rms_norm(vx, vw, 1e-3f))))));
    return tape.gradient(vx);
  };
  const Tensor kept = gradient(false), rebuilt = gradient(true);
  CHECK(std::memcmp(kept.raw(), rebuilt.raw(), static_cast<size_t>(kept.bytes())) == 0);
}

TEST_CASE("norms: what is refused") {
  const Variable x = constant(Tensor::zeros({2, 16, 768}, DType::kBF16));
  CHECK_THROWS_WITH_AS(rms_norm(x, ones({512}, DType::kBF16), 1e-5f),
                       "rms_norm: weight must be [768] (the last dimension of x), got [512]; "
                       "x is [2, 16, 768] bf16 on cpu",
                       ShapeError);
  CHECK_THROWS_WITH_AS(rms_norm(x, ones({768}, DType::kF32), 1e-5f),
                       "rms_norm: weight must be bf16 as x is, got f32", DTypeError);
  CHECK_THROWS_WITH_AS(
      layer_norm(x, ones({768}, DType::kBF16), ones({768, 1}, DType::kBF16), 1e-5f),
      "layer_norm: bias must be [768] (the last dimension of x), got [768, 1]; "
      "x is [2, 16, 768] bf16 on cpu",
      ShapeError);
  CHECK_THROWS_WITH_AS(rms_norm(ones({}), ones({1}), 1e-5f),
                       "rms_norm: x must have a last dimension of at least 1, got [] f64 on cpu",
                       ShapeError);
}

TEST_CASE("rope: a turn by a right angle, its inverse, and lengths stay") {
  // Angles 90° and 0° for the two pairs of a head of 4.
  const Tensor cos = of({0, 1}, {1, 1, 2}).value(), sin = of({1, 0}, {1, 1, 2}).value();
  Tape tape;
  const Variable x = leaf(of({1, 2, 3, 4}, {1, 1, 1, 4}).value());
  const Variable y = rope(x, cos, sin);
  CHECK(values(y) == Doubles{-3, 2, 1, 4});
  tape.backward({y}, {y.value()});
  CHECK(tape.gradient(x).to_vector<double>() == Doubles{1, 2, 3, 4});  // turned back
}

TEST_CASE("rope: tables of another type than x, and strided heads") {
  const Tensor angle = normals({1, 3, 2});
  const Variable c = constant(angle);  // any numbers serve
  const Tensor x = normals({2, 3, 4, 4});
  const Doubles expected = values(rope(constant(x), c.value(), c.value()));
  check_close(values(rope(constant(x), angle.to(DType::kF32), angle.to(DType::kF32))), expected,
              1e-5);
  const Tensor fused = Tensor::zeros({2, 3, 12, 4}, DType::kF64);
  const Variable part = slice(concat({constant(x), constant(fused)}, 2), 2, 0, 4);
  CHECK(values(rope(part, angle, angle)) == expected);
  const Variable turned = transpose(constant(x.transposed(1, 2).contiguous()), 1, 2);
  CHECK(values(rope(turned, angle, angle)) == expected);
}

TEST_CASE("rope: what is refused") {
  const Variable x = constant(Tensor::zeros({2, 3, 1, 6}, DType::kF32));
  const auto table = [](const Shape& shape) { return Tensor::zeros(shape, DType::kF32); };
  CHECK_THROWS_WITH_AS(rope(ones({2, 3, 1, 5}), table({1, 3, 2}), table({1, 3, 2})),
                       "rope: x must be [B, T, H, D] with even D, got [2, 3, 1, 5] f64 on cpu",
                       ShapeError);
  const char* needed =
      "rope: cos and sin must be [2 or 1, 3, 3] (B, T, D/2 of x), got [1, 4, 3] and [1, 4, 3]; "
      "x is [2, 3, 1, 6] f32 on cpu";
  CHECK_THROWS_WITH_AS(rope(x, table({1, 4, 3}), table({1, 4, 3})), needed, ShapeError);
  CHECK_THROWS_AS(rope(x, table({2, 3, 3}), table({1, 3, 3})), ShapeError);
  CHECK_THROWS_AS(rope(x, table({3, 3, 3}), table({3, 3, 3})), ShapeError);
}

TEST_CASE("pixel_shuffle: the order of Idefics3, and its own inverse in the gradient") {
  // 4×4 tokens of 2 channels, factor 2, as view, permute and reshape of the original give them.
  CHECK(values(pixel_shuffle(constant(counting({1, 16, 2})), 4, 4, 2)) ==
        Doubles{0,  1,  2,  3,  8,  9,  10, 11, 4,  5,  6,  7,  12, 13, 14, 15,
                16, 17, 18, 19, 24, 25, 26, 27, 20, 21, 22, 23, 28, 29, 30, 31});
  const Tensor x = normals({2, 24, 3});
  const auto literally = [&](int64_t h, int64_t w, int64_t f) {  // step by step, for any h and w
    Tensor y = x.view_as({2, h, w, 3}).view_as({2, h, w / f, 3 * f}).permuted({0, 2, 1, 3});
    y = y.reshaped({2, w / f, h / f, 3 * f * f}).permuted({0, 2, 1, 3});
    return y.reshaped({2, h * w / (f * f), 3 * f * f}).to_vector<double>();
  };
  CHECK(values(pixel_shuffle(constant(x), 4, 6, 2)) == literally(4, 6, 2));
  CHECK(values(pixel_shuffle(constant(x), 6, 4, 2)) == literally(6, 4, 2));
  CHECK(values(pixel_shuffle(constant(x), 6, 4, 1)) == x.to_vector<double>());
  Tape tape;
  const Variable v = leaf(x);
  const Variable y = pixel_shuffle(v, 4, 6, 2);
  tape.backward({y}, {y.value()});
  CHECK(tape.gradient(v).to_vector<double>() == x.to_vector<double>());
}

TEST_CASE("pixel_shuffle: what is refused") {
  CHECK_THROWS_WITH_AS(pixel_shuffle(ones({2, 15, 3}), 4, 4, 2),
                       "pixel_shuffle: x must be [B, 4·4, C], got [2, 15, 3] f64 on cpu",
                       ShapeError);
  CHECK_THROWS_WITH_AS(pixel_shuffle(ones({2, 12, 3}), 4, 3, 2),
                       "pixel_shuffle: factor must divide 4 and 3, got 2", ShapeError);
  CHECK_THROWS_WITH_AS(pixel_shuffle(ones({2, 12, 3}), 4, 3, 0),
                       "pixel_shuffle: factor must divide 4 and 3, got 0", ShapeError);
}

TEST_CASE("patch_embed: numbers of PyTorch's convolution; a rest at the border is left out") {
  Doubles pixels(32), weights(24);
  for (size_t i = 0; i < 32; ++i) pixels[i] = std::cos(static_cast<double>(i));
  for (size_t i = 0; i < 24; ++i) weights[i] = std::sin(static_cast<double>(i));
  const Variable x = of(pixels, {1, 2, 4, 4}), w = of(weights, {3, 2, 2, 2});
  const Doubles expected = {0.915067313,  1.230270328, 0.081423904,  -0.87206069,
                            -3.871910647, 3.353286917, -0.865321491, -3.637106931,
                            3.27821982,   0.869273795, -0.365243918, 0.591512176};
  check_close(values(patch_embed(x, w, of({0.5, -0.5, 1}, {3}))), expected, 1e-9);
  const Variable wider = pad(pad(x, 2, 0, 1, 100), 3, 0, 1, 100);
  check_close(values(patch_embed(wider, w, of({0.5, -0.5, 1}, {3}))), expected, 1e-9);
  check_close(values(add(patch_embed(x, w, {}), of({0.5, -0.5, 1}, {3}))), expected, 1e-9);
}

TEST_CASE("patch_embed: what is refused") {
  CHECK_THROWS_WITH_AS(
      patch_embed(ones({1, 3, 8, 8}), ones({5, 1, 4, 4}), {}),
      "patch_embed: weight must be [C, 3, P, P] (channels of the pixels), got [5, 1, "
      "4, 4]; pixels are [1, 3, 8, 8] f64 on cpu",
      ShapeError);
  CHECK_THROWS_WITH_AS(patch_embed(ones({1, 3, 3, 8}), ones({5, 3, 4, 4}), {}),
                       "patch_embed: pixels must be at least 4x4, got [1, 3, 3, 8] f64 on cpu",
                       ShapeError);
  CHECK_THROWS_WITH_AS(patch_embed(ones({1, 3, 8, 8}), ones({5, 3, 4, 4}), ones({4})),
                       "patch_embed: bias must be [5], got [4]", ShapeError);
}

TEST_CASE("resize_positions: numbers of PyTorch's bicubic interpolate") {
  Doubles table(12);
  for (size_t i = 0; i < 12; ++i) table[i] = std::sin(static_cast<double>(i));
  const Variable x = of(table, {6, 2});  // 2 rows of 3 positions of 2 channels
  check_close(values(resize_positions(x, 2, 3, 3, 5)),
              {-0.060042099, 0.928514639,  0.485743555,  0.647660945,  0.902347703,  0.117595835,
               -0.061133542, -0.592324883, -0.936324699, -1.058363238, -0.244255165, 0.794599308,
               0.398019312,  0.656293795,  0.949327837,  0.276619247,  0.048697739,  -0.526127451,
               -0.803986809, -1.100040583, -0.428468231, 0.660683977,  0.31029507,   0.664926645,
               0.996307971,  0.435642659,  0.15852902,   -0.459930019, -0.671648918, -1.141717929},
              2e-9);
  CHECK(values(resize_positions(x, 2, 3, 2, 3)) == table);
  // The weights of a place sum to 1: a constant table stays constant.
  for (double y : values(resize_positions(ones({6, 1}), 3, 2, 7, 5)))
    CHECK(std::fabs(y - 1) < 1e-12);
  for (double y : values(resize_positions(ones({35, 1}), 7, 5, 2, 1)))
    CHECK(std::fabs(y - 1) < 1e-12);
}

TEST_CASE("resize_positions: what is refused") {
  CHECK_THROWS_WITH_AS(resize_positions(ones({7, 2}), 3, 2, 4, 4),
                       "resize_positions: table must be [3·2, C], got [7, 2] f64 on cpu",
                       ShapeError);
  CHECK_THROWS_WITH_AS(resize_positions(ones({6, 2}), 3, 2, 0, 4),
                       "resize_positions: the new size must be positive, got 0×4", ShapeError);
}
