#include "engine/kernels/contrastive.h"

#include <cmath>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/matmul.h"

namespace ocellus {
namespace {

// image, text [N, D] and the numbers, checked.
void check_pairs(const char* op, const Variable& image, const Variable& text,
                 std::initializer_list<std::pair<const char*, const Variable*>> numbers) {
  check<ShapeError>(image.rank() == 2, "{}: image must be [N, D], got {}", op,
                    to_string(image.shape()));
  check<ShapeError>(text.shape() == image.shape(), "{}: text must be {} (as image), got {}", op,
                    to_string(image.shape()), to_string(text.shape()));
  check<DTypeError>(text.dtype() == image.dtype(), "{}: text must be {} (as image), got {}", op,
                    dtype_name(image.dtype()), dtype_name(text.dtype()));
  for (const auto& [name, value] : numbers) {
    check<ShapeError>(value->value().numel() == 1, "{}: {} must be one number, got {}", op, name,
                      to_string(value->shape()));
    check<DTypeError>(is_floating(value->dtype()), "{}: {} must be floating, got {}", op, name,
                      dtype_name(value->dtype()));
  }
}

// Similarities and their gradients are f32, of f64 features f64.
Tensor widened(const Tensor& x) { return x.dtype() == DType::kF64 ? x : x.to(DType::kF32); }

Tensor similarity_of(const Variable& image, const Variable& text) {
  return matmul_forward(widened(image.value()), widened(text.value()).transposed(0, 1), Shape{});
}

// d of one side: factor·dlogits·(features of the other side), in the type of the features.
Tensor side_gradient(const Tensor& dlogits, const Tensor& features, double factor) {
  // The factor goes to the [N, D] features, not to the [N, N] logits.
  const Tensor wide = widened(features);
  Tensor scaled = wide.clone();
  scale_in_place(scaled, factor);
  return matmul_forward(dlogits, scaled, Shape{}).to(features.dtype());
}

// A side is needed for the gradient of the other one only.
SavedTensor save_if(bool needed, const Variable& x) { return needed ? save(x) : SavedTensor(); }

Tensor number(double value, const Shape& shape, DType dtype, Device device) {
  return Tensor::full(shape, value, dtype, device);
}

// The pieces that both samples and references share.
Tensor diagonal(int64_t n, double on, double off, DType dtype) {
  std::vector<double> values(static_cast<size_t>(n * n), off);
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i * n + i)] = on;
  return Tensor::from(values, {n, n}).to(dtype);
}

// Products and sums one by one: no kernel that the ops use.
Variable plain_logits(const Variable& image, const Variable& text, const Variable& log_scale) {
  const DType wide = image.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const int64_t n = image.dim(0), columns = image.dim(1);
  const Variable rows = reshape(cast(image, wide), {n, 1, columns});
  return mul(sum(mul(rows, reshape(cast(text, wide), {1, text.dim(0), columns})), {-1}),
             exp(reshape(cast(log_scale, wide), {})));
}

Sample sigmoid_sample(Rng& r, int64_t n, int64_t columns, const Shape& number_shape) {
  return {.inputs = {r.normal({n, columns}), r.normal({n, columns}, 0.7),
                     r.uniform(number_shape, 0.2, 0.9), r.normal(number_shape)},
          .run =
              [](const Variables& in) {
                return Variables{sigmoid_contrastive(in[0], in[1], in[2], in[3])};
              },
          .reference =
              [](const Variables& in) {
                const Variable products = plain_logits(in[0], in[1], in[2]);
                const Variable logits = add(products, reshape(cast(in[3], products.dtype()), {}));
                const Variable signs = constant(diagonal(in[0].dim(0), 1, -1, logits.dtype()));
                // -log σ(a) = log(1 + e^{-a}); the samples' |a| are small.
                return Variables{sum(log(add(exp(neg(mul(signs, logits))), 1)))};
              }};
}
Sample softmax_sample(Rng& r, int64_t n, int64_t columns, const Shape& number_shape,
                      double least_scale = 0.2) {
  return {
      .inputs = {r.normal({n, columns}), r.normal({n, columns}, 0.7),
                 r.uniform(number_shape, least_scale, least_scale + 0.7)},
      .run =
          [](const Variables& in) { return Variables{softmax_contrastive(in[0], in[1], in[2])}; },
      .reference =
          [](const Variables& in) {
            const Variable logits = plain_logits(in[0], in[1], in[2]);
            const Variable both =
                add(log_softmax(logits), transpose(log_softmax(transpose(logits, 0, 1)), 0, 1));
            return Variables{
                sum(mul(both, constant(diagonal(in[0].dim(0), -0.5, 0, logits.dtype()))))};
          }};
}

const OpDef kSigmoidContrastive{
    .name = "sigmoid_contrastive",
    .inputs = {{"image"}, {"text"}, {"log_scale"}, {"bias"}},
    .precision = Precision::kFull,
    .samples = {{"pairs", [](Rng& r) { return sigmoid_sample(r, 4, 8, {}); }},
                {"odd", [](Rng& r) { return sigmoid_sample(r, 5, 3, {1}); }},
                {"odd single pair", [](Rng& r) { return sigmoid_sample(r, 1, 3, {}); }},
                {"large", [](Rng& r) { return sigmoid_sample(r, 140, 6, {}); }}}};

const OpDef kSoftmaxContrastive{
    .name = "softmax_contrastive",
    .inputs = {{"image"}, {"text"}, {"log_scale"}},
    .precision = Precision::kFull,
    .samples = {{"pairs", [](Rng& r) { return softmax_sample(r, 4, 8, {}); }},
                {"odd", [](Rng& r) { return softmax_sample(r, 5, 3, {1}); }},
                {"odd two pairs", [](Rng& r) { return softmax_sample(r, 2, 7, {}); }},
                {"logits of hundreds",  // e^x alone is not finite in f32
                 [](Rng& r) { return softmax_sample(r, 6, 9, {}, 4.6); }},
                {"large", [](Rng& r) { return softmax_sample(r, 140, 6, {}); }}}};

}  // namespace

/// sigmoid_contrastive — Σ_ij softplus(-z_ij·l_ij), l_ij = e^s·⟨image_i, text_j⟩ + b, z = 1 on the
/// diagonal, else -1.  Zhai et al. 2023, arXiv:2303.15343, equation 1 without the division by N.
/// With g_ij = -z_ij·σ(-z_ij·l_ij):  dimage = e^s·g·text, dtext = e^s·gᵀ·image, ds = Σ g·(l - b),
/// db = Σ g. image, text [N, D], s and b one number → [] f32 (f64).   Saves image, text and g [N,
/// N], which is formed in the forward pass in place of the similarities.
Variable sigmoid_contrastive(const Variable& image_in, const Variable& text_in,
                             const Variable& log_scale_in, const Variable& bias_in) {
  auto [image, text, log_scale, bias] =
      autocast(kSigmoidContrastive, image_in, text_in, log_scale_in, bias_in);
  check_pairs("sigmoid_contrastive", image, text, {{"log_scale", &log_scale}, {"bias", &bias}});
  const bool gradient = image.requires_grad() || text.requires_grad() ||
                        log_scale.requires_grad() || bias.requires_grad();
  const double s = log_scale.value().item();
  const ContrastiveOut out =
      sigmoid_contrastive_forward(similarity_of(image, text), s, bias.value().item(), gradient);
  return record(
      kSigmoidContrastive, {image, text, log_scale, bias}, out.loss,
      [image = save_if(text.requires_grad(), image), text = save_if(image.requires_grad(), text),
       dlogits = save(out.dlogits), factor = std::exp(s), dscale = out.dscale, dbias = out.dbias,
       scale_shape = log_scale.shape(), scale_type = log_scale.dtype(), bias_shape = bias.shape(),
       bias_type = bias.dtype()](const Tensor& dloss, Needs needs) {
        const double seed = dloss.item();
        Tensors gradients(4);
        if (needs[0]) gradients[0] = side_gradient(dlogits(), text(), seed * factor);
        if (needs[1])
          gradients[1] = side_gradient(dlogits().transposed(0, 1), image(), seed * factor);
        if (needs[2]) gradients[2] = number(seed * dscale, scale_shape, scale_type, dloss.device());
        if (needs[3]) gradients[3] = number(seed * dbias, bias_shape, bias_type, dloss.device());
        return gradients;
      });
}

/// softmax_contrastive — ½·Σ_i -log softmax(l_i·)_i + ½·Σ_j -log softmax(l_·j)_j, l =
/// e^s·image·textᵀ. Radford et al. 2021, arXiv:2103.00020, figure 3, without the division by N.
/// With g = ½·(softmax over rows + softmax over columns) - 1 on the diagonal:  dimage = e^s·g·text,
/// dtext = e^s·gᵀ·image, ds = Σ g·l.
/// image, text [N, D], s one number → [] f32 (f64).   Saves image, text and g [N, N], as above.
Variable softmax_contrastive(const Variable& image_in, const Variable& text_in,
                             const Variable& log_scale_in) {
  auto [image, text, log_scale] = autocast(kSoftmaxContrastive, image_in, text_in, log_scale_in);
  check_pairs("softmax_contrastive", image, text, {{"log_scale", &log_scale}});
  const bool gradient = image.requires_grad() || text.requires_grad() || log_scale.requires_grad();
  const double s = log_scale.value().item();
  const ContrastiveOut out = softmax_contrastive_forward(similarity_of(image, text), s, gradient);
  return record(kSoftmaxContrastive, {image, text, log_scale}, out.loss,
                [image = save_if(text.requires_grad(), image),
                 text = save_if(image.requires_grad(), text), dlogits = save(out.dlogits),
                 factor = std::exp(s), dscale = out.dscale, scale_shape = log_scale.shape(),
                 scale_type = log_scale.dtype()](const Tensor& dloss, Needs needs) {
                  const double seed = dloss.item();
                  Tensors gradients(3);
                  if (needs[0]) gradients[0] = side_gradient(dlogits(), text(), seed * factor);
                  if (needs[1])
                    gradients[1] =
                        side_gradient(dlogits().transposed(0, 1), image(), seed * factor);
                  if (needs[2])
                    gradients[2] = number(seed * dscale, scale_shape, scale_type, dloss.device());
                  return gradients;
                });
}

}  // namespace ocellus
