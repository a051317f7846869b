// Batch normalisation, with given statistics and with those of the batch.
#include "engine/kernels/batch_norm.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

void check_channels(const char* op, const Variable& x, const Variable& weight,
                    const Variable& bias) {
  check<ShapeError>(x.rank() == 4 && x.dim(0) * x.dim(2) * x.dim(3) > 0,
                    "{}: x must be [B, C, H, W] and not empty, got {}", op, to_string(x.shape()));
  for (const auto& [name, v] : {std::pair{"weight", &weight}, std::pair{"bias", &bias}})
    check<ShapeError>(v->shape() == Shape{x.dim(1)},
                      "{}: {} must be [{}] (the channels of x), got {}", op, name, x.dim(1),
                      to_string(v->shape()));
}

// (x - mean)/√(variance + eps)·w + b with all of them [1, C, 1, 1].
Variable normalised(const Variable& x, const Variable& mean, const Variable& variance,
                    const Variable& w, const Variable& b, double eps) {
  const Shape channels{1, x.dim(1), 1, 1};
  const Variable scale = mul(rsqrt(add(variance, eps)), reshape(w, channels));
  return add(mul(sub(x, mean), scale), reshape(b, channels));
}

Sample given_sample(Rng& r, const Shape& x, float eps) {
  const Tensor mean = r.normal({x[1]}), variance = r.uniform({x[1]}, 0.2, 2);
  return {.inputs = {r.normal(x), r.normal({x[1]}), r.normal({x[1]})},
          .run =
              [=](const Variables& in) {
                const Device where = in[0].value().device();
                return Variables{
                    batch_norm(in[0], in[1], in[2], mean.to(where), variance.to(where), eps)};
              },
          .reference =
              [=](const Variables& in) {
                const Shape channels{1, x[1], 1, 1};
                const DType dtype = in[0].dtype();
                return Variables{normalised(in[0], constant(mean.to(dtype).view_as(channels)),
                                            constant(variance.to(dtype).view_as(channels)), in[1],
                                            in[2], eps)};
              }};
}

Sample batch_sample(Rng& r, const Shape& x, float eps) {
  return {.inputs = {r.normal(x), r.normal({x[1]}), r.normal({x[1]})},
          .run =
              [=](const Variables& in) {
                return Variables{batch_norm_train(in[0], in[1], in[2], eps).y};
              },
          .reference =
              [=](const Variables& in) {
                const Variable m = mean(in[0], {0, 2, 3}, true);
                const Variable variance = mean(square(sub(in[0], m)), {0, 2, 3}, true);
                return Variables{normalised(in[0], m, variance, in[1], in[2], eps)};
              }};
}

Tensors wanted(const BatchNormGrads& g, DType dtype, Needs needs) {
  return {needs[0] ? g.dx : Tensor(), needs[1] ? g.dweight.to(dtype) : Tensor(),
          needs[2] ? g.dbias.to(dtype) : Tensor()};
}

}  // namespace

static const OpDef kBatchNorm{.name = "batch_norm",
                              .inputs = {{"x"}, {"weight"}, {"bias"}},
                              .precision = Precision::kFollow,
                              .samples = {{"4 channels",
                                           [](Rng& r) {
                                             return given_sample(r, {2, 4, 3, 2}, 1e-5f);
                                           }},
                                          {"odd sizes",
                                           [](Rng& r) {
                                             return given_sample(r, {3, 5, 1, 7}, 0.3f);
                                           }},
                                          {"large", [](Rng& r) {
                                             return given_sample(r, {4, 24, 34, 30}, 1e-3f);
                                           }}}};

/// batch_norm — y = (x - mean)/√(variance + eps)·w + b by channel, with statistics that are given
/// (those of training).  Ioffe & Szegedy 2015, arXiv:1502.03167.  x [B, C, H, W], all others [C].
/// dx = dy·w·r, dw = Σ dy·(x - mean)·r, db = Σ dy, r = 1/√(variance + eps).  Saves x and w.
Variable batch_norm(const Variable& x_in, const Variable& weight_in, const Variable& bias_in,
                    const Tensor& mean, const Tensor& variance, float eps) {
  auto [x, weight, bias] = autocast(kBatchNorm, x_in, weight_in, bias_in);
  check_channels("batch_norm", x, weight, bias);
  check<ShapeError>(mean.shape() == weight.shape() && variance.shape() == weight.shape(),
                    "batch_norm: mean and variance must be [{}], got {} and {}", x.dim(1),
                    to_string(mean.shape()), to_string(variance.shape()));
  const ChannelStatistics given{mean, variance};
  const Tensor y = batch_norm_forward(x.value(), weight.value(), bias.value(), given, eps);
  return record(kBatchNorm, {x, weight, bias}, y,
                [x = save(x), w = save(weight), given, eps](const Tensor& dy, Needs needs) {
                  BatchNormGrads g = batch_norm_backward(x(), w(), given, eps, dy, false);
                  return wanted(g, w().dtype(), needs);
                });
}

static const OpDef kBatchNormTrain{.name = "batch_norm_train",
                                   .inputs = {{"x"}, {"weight"}, {"bias"}},
                                   .precision = Precision::kFollow,
                                   .samples = {{"4 channels",
                                                [](Rng& r) {
                                                  return batch_sample(r, {2, 4, 3, 2}, 0.1f);
                                                }},
                                               {"odd sizes",
                                                [](Rng& r) {
                                                  return batch_sample(r, {3, 5, 1, 7}, 0.3f);
                                                }},
                                               {"large", [](Rng& r) {
                                                  return batch_sample(r, {4, 24, 34, 30}, 0.1f);
                                                }}}};

/// batch_norm_train — batch_norm with the mean and variance of x itself, which are returned for the
/// running averages. With g = dy·w, x̂ = (x - mean)·r:  dx = r·(g - mean(g) - x̂·mean(g·x̂)).  Saves
/// x, w, mean and variance.
BatchNormTrained batch_norm_train(const Variable& x_in, const Variable& weight_in,
                                  const Variable& bias_in, float eps) {
  auto [x, weight, bias] = autocast(kBatchNormTrain, x_in, weight_in, bias_in);
  check_channels("batch_norm_train", x, weight, bias);
  const ChannelStatistics own = channel_statistics(x.value());
  const Tensor y = batch_norm_forward(x.value(), weight.value(), bias.value(), own, eps);
  const Variable out = record(
      kBatchNormTrain, {x, weight, bias}, y,
      [x = save(x), w = save(weight), mean = save(own.mean), variance = save(own.variance), eps](
          const Tensor& dy, Needs needs) {
        BatchNormGrads g = batch_norm_backward(x(), w(), {mean(), variance()}, eps, dy, true);
        return wanted(g, w().dtype(), needs);
      });
  return {out, own.mean, own.variance};
}

}  // namespace ocellus
