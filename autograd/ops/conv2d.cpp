// Two-dimensional convolution.
#include "engine/kernels/conv2d.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

// The definition in plain ops: for each tap the padded picture, shifted and thinned out, times that
// tap's [O, C] matrix of each group.
Variables conv2d_reference(const Variables& in, ConvShape s) {
  const int64_t p = s.padding, kernel_h = in[1].dim(2), kernel_w = in[1].dim(3);
  const int64_t rows = s.out(in[0].dim(2), kernel_h), columns = s.out(in[0].dim(3), kernel_w);
  const int64_t batch = in[0].dim(0), group_in = in[1].dim(1), group_out = in[1].dim(0) / s.groups;
  // Room behind, so that a slice of whole strides can be taken.
  const Variable x = pad(pad(in[0], 2, p, p + s.stride), 3, p, p + s.stride);
  auto thinned = [&](const Variable& v, int dim, int64_t from, int64_t count) {
    const Variable run = slice(v, dim, from, from + count * s.stride);
    Shape parts;
    for (int i = 0; i < 4; ++i) {
      parts.push_back(i == dim ? count : run.dim(i));
      if (i == dim) parts.push_back(s.stride);
    }
    const Variable first = slice(reshape(run, parts), dim + 1, 0, 1);
    Shape whole = run.shape();
    return reshape(first, whole.with(dim, count));
  };
  Variables groups;
  for (int64_t g = 0; g < s.groups; ++g) {
    Variable sum;
    const Variable weight = slice(in[1], 0, g * group_out, (g + 1) * group_out);
    const Variable part = slice(x, 1, g * group_in, (g + 1) * group_in);
    for (int64_t u = 0; u < kernel_h; ++u)
      for (int64_t v = 0; v < kernel_w; ++v) {
        const Variable tap =
            reshape(slice(slice(weight, 2, u, u + 1), 3, v, v + 1), {group_out, group_in});
        const Variable seen = reshape(thinned(thinned(part, 2, u, rows), 3, v, columns),
                                      {batch, group_in, rows * columns});
        const Variable term = matmul(tap, seen);
        sum = sum.defined() ? add(sum, term) : term;
      }
    groups.push_back(reshape(sum, {batch, group_out, rows, columns}));
  }
  const Variable y = concat(groups, 1);
  return {in.size() > 2 ? add(y, reshape(in[2], {1, in[2].dim(0), 1, 1})) : y};
}

Sample conv_sample(Rng& r, const Shape& x, const Shape& weight, ConvShape shape, bool bias) {
  Tensors inputs = {r.normal(x), r.normal(weight)};
  if (bias) inputs.push_back(r.normal({weight[0]}));
  return {.inputs = inputs,
          .run =
              [=](const Variables& in) {
                return Variables{conv2d(in[0], in[1], bias ? in[2] : Variable(), shape)};
              },
          .reference = [=](const Variables& in) { return conv2d_reference(in, shape); }};
}

}  // namespace

static const OpDef kConv2d{
    .name = "conv2d",
    .inputs = {{"x"}, {"weight"}, {"bias"}},
    .precision = Precision::kLow,
    .samples = {{"3x3 padded",
                 [](Rng& r) {
                   return conv_sample(r, {2, 3, 5, 6}, {4, 3, 3, 3}, {1, 1, 1}, true);
                 }},
                {"odd stride 2 with a rest",
                 [](Rng& r) {
                   return conv_sample(r, {1, 2, 8, 7}, {3, 2, 5, 3}, {2, 2, 1}, false);
                 }},
                {"1x1",
                 [](Rng& r) {
                   return conv_sample(r, {2, 4, 3, 3}, {5, 4, 1, 1}, {1, 0, 1}, true);
                 }},
                {"1x1 stride 2",
                 [](Rng& r) {
                   return conv_sample(r, {2, 3, 5, 4}, {2, 3, 1, 1}, {2, 0, 1}, false);
                 }},
                {"two groups",
                 [](Rng& r) {
                   return conv_sample(r, {1, 4, 4, 5}, {6, 2, 3, 3}, {1, 1, 2}, true);
                 }},
                {"depthwise",
                 [](Rng& r) {
                   return conv_sample(r, {2, 3, 6, 5}, {3, 1, 7, 7}, {1, 3, 3}, true);
                 }},
                {"odd depthwise, two outputs a channel, stride 2",
                 [](Rng& r) {
                   return conv_sample(r, {1, 3, 7, 5}, {6, 1, 3, 3}, {2, 1, 3}, false);
                 }},
                {"large", [](Rng& r) {
                   return conv_sample(r, {4, 8, 12, 12}, {16, 8, 3, 3}, {1, 1, 1}, true);
                 }}}};

/// conv2d — y[b, o, i, j] = bias[o] + Σ_{c, u, v} weight[o, c, u, v]·x[b, c', i·s + u - p, j·s + v
/// - p], zeros outside of the picture; channels in groups, c' being channel c of o's group.  x [B,
/// C, H, W], weight [O, C/groups, KH, KW], bias [O] or absent → [B, O, OH, OW], OH = ⌊(H + 2p -
/// KH)/s⌋ + 1. dx is the transposed map of dy, dweight = Σ dy·x.  LeCun et al. 1989.  Saves x and
/// weight.
Variable conv2d(const Variable& x_in, const Variable& weight_in, const Variable& bias_in,
                ConvShape shape) {
  auto [x, weight, bias] = autocast(kConv2d, x_in, weight_in, bias_in);
  check<ShapeError>(
      x.rank() == 4 && weight.rank() == 4,
      "conv2d: x must be [B, C, H, W] and weight [O, C/groups, KH, KW], got {} and {}",
      to_string(x.shape()), to_string(weight.shape()));
  check<ShapeError>(
      shape.stride > 0 && shape.padding >= 0 && shape.groups > 0,
      "conv2d: stride and groups must be positive and padding not negative, got {}, {}, {}",
      shape.stride, shape.groups, shape.padding);
  check<ShapeError>(
      x.dim(1) == weight.dim(1) * shape.groups && weight.dim(0) % shape.groups == 0,
      "conv2d: x of {} channels in {} groups needs weight [multiple of {}, {}, KH, KW], "
      "got {}",
      x.dim(1), shape.groups, shape.groups, x.dim(1) / shape.groups, to_string(weight.shape()));
  check<ShapeError>(
      shape.out(x.dim(2), weight.dim(2)) > 0 && shape.out(x.dim(3), weight.dim(3)) > 0,
      "conv2d: a picture of {}x{} with padding {} is smaller than the kernel of {}x{}", x.dim(2),
      x.dim(3), shape.padding, weight.dim(2), weight.dim(3));
  check<ShapeError>(!bias.defined() || bias.shape() == Shape{weight.dim(0)},
                    "conv2d: bias must be [{}], got {}", weight.dim(0), to_string(bias.shape()));
  const Tensor y = conv2d_forward(x.value(), weight.value(), bias.value(), shape);
  return record(
      kConv2d, {x, weight, bias}, y,
      [x = save(x), w = save(weight), x_shape = x.shape(), shape](const Tensor& dy, Needs needs) {
        Tensors gradients(3);
        if (needs[0]) gradients[0] = conv2d_backward_input(dy, w(), x_shape, shape);
        if (needs[1])
          gradients[1] = conv2d_backward_weight(dy, x(), w().shape(), shape, w().dtype());
        if (needs[2]) gradients[2] = channel_sums(dy, w().dtype());
        return gradients;
      });
}

}  // namespace ocellus
