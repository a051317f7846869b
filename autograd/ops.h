// The public list of differentiable functions: a table of contents with formulas. Each op's own file
// in autograd/ops/ has its definition, samples, forward and backward.
#pragma once
#include <vector>

#include "autograd/variable.h"
#include "engine/kernels/conv2d.h"
#include "engine/kernels/max_pool2d.h"
#include "engine/random.h"

namespace ocellus {

// Elementwise, one input: formulas in engine/scalar/activations.h.
#define UNARY(name, Functor) Variable name(const Variable& x);
#include "engine/scalar/unary_ops.def"
#undef UNARY

// Elementwise, two inputs with broadcasting: formulas in engine/scalar/arithmetic.h.
#define BINARY(name, Functor) Variable name(const Variable& a, const Variable& b);
#include "engine/scalar/binary_ops.def"
#undef BINARY

// y = x·s, y = x + s with a number.
Variable mul(const Variable& x, double s);
Variable add(const Variable& x, double s);

/// cast — y = x in another element type; the gradient returns in x's type.
Variable cast(const Variable& x, DType dtype);

// ---- Shape -------------------------------------------------------------------------------------

/// reshape — same elements, other shape; one dimension may be -1.
Variable reshape(const Variable& x, const Shape& shape);
/// permute — dimensions in the given order.
Variable permute(const Variable& x, const std::vector<int>& order);
/// transpose — dimensions a and b exchanged.
Variable transpose(const Variable& x, int a, int b);
/// slice — elements [begin, end) of dimension dim.
Variable slice(const Variable& x, int dim, int64_t begin, int64_t end);
/// split — consecutive slices of the given sizes along dim; they must cover it.
Variables split(const Variable& x, const std::vector<int64_t>& sizes, int dim);
/// concat — xs one after the other along dim.
Variable concat(const Variables& xs, int dim);
/// pad — `before` and `after` elements of `value` around dimension dim.
Variable pad(const Variable& x, int dim, int64_t before, int64_t after, double value = 0);
/// expand — x broadcast to `shape`.
Variable expand(const Variable& x, const Shape& shape);
/// gather_rows — y[i] = x[ids[i]];  x [N, C…], ids [M] i32 or i64 → [M, C…].
Variable gather_rows(const Variable& x, const Tensor& ids);
/// scatter_rows — y = base with y[ids[i]] = rows[i]; ids are distinct.  base [N, C], rows [M, C] → [N, C].
Variable scatter_rows(const Variable& base, const Tensor& ids, const Variable& rows);

// ---- Reductions: accumulate in f32 (f64) -----------------------------------------------------------

/// sum — Σ over the given dimensions (all if empty), kept as 1 if keep.
Variable sum(const Variable& x, const std::vector<int>& dims = {}, bool keep = false);
/// mean — the same divided by the number of elements summed.
Variable mean(const Variable& x, const std::vector<int>& dims = {}, bool keep = false);
/// mean_last — mean over the last dimension, kept as 1.
Variable mean_last(const Variable& x);

// ---- Products --------------------------------------------------------------------------------------

/// matmul — y = op(a)·op(b) over the last two dimensions, the others broadcast; op transposes on demand.
Variable matmul(const Variable& a, const Variable& b, bool transpose_a = false,
                bool transpose_b = false);
/// linear — y = x·Wᵀ + bias;  x [..., I], weight [O, I], bias [O] or absent → [..., O].
Variable linear(const Variable& x, const Variable& weight, const Variable& bias = {});

// ---- Rows --------------------------------------------------------------------------------------------

/// softmax — e^{x - max}/Σ over the last dimension.  log_softmax — its logarithm.
Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);
/// layer_norm — (x - mean)/√(var + eps)·weight + bias over the last dimension; bias may be absent.
Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, float eps);
/// rms_norm — x/√(mean(x²) + eps)·weight over the last dimension.
Variable rms_norm(const Variable& x, const Variable& weight, float eps);

// ---- Transformer parts -------------------------------------------------------------------------------

/// embedding — y[i] = weight[ids[i]];  weight [V, C], ids [...] → [..., C].
Variable embedding(const Variable& weight, const Tensor& ids);
/// rope — rotary position embedding, halves form: y = x·cos + rotate_half(x)·sin.
/// x [B, T, H, D], cos and sin [B or 1, T, D/2] f32 (f64 in checks).
Variable rope(const Variable& x, const Tensor& cos, const Tensor& sin);

/// AttentionMask — which keys a query sees; never a dense [T, T]. All conditions must hold, but the
/// first `prefix` keys are seen by every query of the same segment.
struct AttentionMask {
  bool causal = false;   // key j ≤ query i + (Tk - Tq)
  int64_t prefix = 0;    // keys below this are exempt from causal and window
  int64_t window = 0;    // > 0: key j > query i + (Tk - Tq) - window
  Tensor q_segment;      // [B, Tq] i32; equal ids attend, negative ids attend nothing
  Tensor k_segment;      // [B, Tk] i32
  Variable bias;         // added to the scores, broadcastable to [B, H, Tq, Tk]; has a gradient
  Tensor slopes;         // [H] f32, ALiBi: score += slope·(j - i - (Tk - Tq))
  double softcap = 0;    // > 0: score = softcap·tanh(score/softcap), before all of the above
};
/// sdpa — softmax(scale·q·kᵀ + bias)·v per head;  q [B, Tq, H, D], k and v [B, Tk, K, D] with H a
/// multiple of K → [B, Tq, H, D]. scale 0 stands for 1/√D. A row that sees no key gives 0.
Variable sdpa(const Variable& q, const Variable& k, const Variable& v, const AttentionMask& mask,
              double scale = 0);

/// patch_embed — convolution with stride = kernel;  pixels [B, 3, H, W], weight [C, 3, P, P], bias [C] or
/// absent → [B, (H/P)·(W/P), C], rows first.
Variable patch_embed(const Variable& pixels, const Variable& weight, const Variable& bias);
/// pixel_shuffle — f×f neighbouring tokens into the channels;  x [B, h·w, C] → [B, (h/f)·(w/f), C·f²],
/// in the order of Idefics3.
Variable pixel_shuffle(const Variable& x, int64_t height, int64_t width, int64_t factor);
/// resize_positions — bicubic (a = -0.75, half-pixel centres, no antialias) resize of a table of
/// positions;  table [h·w, C] → [new_h·new_w, C].
Variable resize_positions(const Variable& table, int64_t height, int64_t width, int64_t new_height,
                          int64_t new_width);
/// resize_positions_antialias — the same with a = -0.5 and smoothing where it shrinks.
Variable resize_positions_antialias(const Variable& table, int64_t height, int64_t width,
                                    int64_t new_height, int64_t new_width);
/// conv2d — convolution with stride, zero padding and groups (ConvShape);  x [B, C, H, W], weight [O,
/// C/groups, KH, KW], bias [O] or absent → [B, O, OH, OW].
Variable conv2d(const Variable& x, const Variable& weight, const Variable& bias, ConvShape shape);
/// max_pool2d — largest value of each window (PoolShape);  x [B, C, H, W] → [B, C, OH, OW].
Variable max_pool2d(const Variable& x, PoolShape shape);
/// batch_norm — (x - mean)/√(variance + eps)·weight + bias by channel, statistics [C] given.
Variable batch_norm(const Variable& x, const Variable& weight, const Variable& bias, const Tensor& mean,
                    const Tensor& variance, float eps);
/// batch_norm_train — the same with the statistics of x, over batch and picture.
struct BatchNormTrained {
  Variable y;
  Tensor mean, variance;  // [C]; the variance is divided by the count
};
BatchNormTrained batch_norm_train(const Variable& x, const Variable& weight, const Variable& bias,
                                  float eps);
/// global_response_norm — w·x·n + b + x, n = ‖x‖ of each channel over its mean;  x [B, H, W, C].
Variable global_response_norm(const Variable& x, const Variable& weight, const Variable& bias);
/// dropout — y = x·keep/(1 - p), the mask drawn from `key` and regenerated in backward.
Variable dropout(const Variable& x, float p, RngKey key);

// ---- Losses: sums, so that the caller divides by what it counted over all micro-batches ---------------

/// LossSum — Σ of losses (one element, f32 or f64) and over how many targets.
struct LossSum {
  Variable sum;
  int64_t count = 0;
};
/// cross_entropy — Σ -log softmax(logits)[label] over rows whose label ≠ ignore;  logits [N, V], labels [N].
LossSum cross_entropy(const Variable& logits, const Tensor& labels, int64_t ignore = -100);
/// linear_cross_entropy — cross_entropy(x·weightᵀ, labels) by chunks of rows: logits [N, V] never exist.
LossSum linear_cross_entropy(const Variable& x, const Variable& weight, const Tensor& labels,
                             int64_t ignore = -100, int64_t chunk = 0);
/// sigmoid_contrastive — -Σ_ij log σ(z_ij·(e^s·⟨image_i, text_j⟩ + b)), z = 1 on the diagonal, else -1.
/// Zhai et al. 2023, arXiv:2303.15343. The sum, not divided by the batch.
Variable sigmoid_contrastive(const Variable& image, const Variable& text, const Variable& log_scale,
                             const Variable& bias);
/// softmax_contrastive — ½·Σ (cross-entropy of rows + of columns) of e^s·image·textᵀ, target the
/// diagonal.  Radford et al. 2021, arXiv:2103.00020. The sum, not divided by the batch.
Variable softmax_contrastive(const Variable& image, const Variable& text, const Variable& log_scale);

}  // namespace ocellus
