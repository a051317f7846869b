#include "engine/kernels/matmul.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {

// The product as its definition says it: every term, then the sum over the inner dimension.
static Variable plain_matmul(Variable a, Variable b, bool transpose_a, bool transpose_b) {
  if (transpose_a) a = transpose(a, -1, -2);
  if (transpose_b) b = transpose(b, -1, -2);
  Shape left = a.shape(), right;  // [..., M, K, 1] and [..., 1, K, N]
  left.push_back(1);
  for (int i = 0; i + 2 < b.rank(); ++i) right.push_back(b.dim(i));
  right.push_back(1);
  right.push_back(b.dim(-2));
  right.push_back(b.dim(-1));
  return sum(mul(reshape(a, left), reshape(b, right)), {-2});
}

static Sample matmul_sample(Rng& r, const Shape& a, const Shape& b, bool transpose_a,
                            bool transpose_b) {
  return {.inputs = {r.normal(a), r.normal(b)},
          .run =
              [=](const Variables& in) {
                return Variables{matmul(in[0], in[1], transpose_a, transpose_b)};
              },
          .reference =
              [=](const Variables& in) {
                return Variables{plain_matmul(in[0], in[1], transpose_a, transpose_b)};
              }};
}
static const OpDef kMatmul{
    .name = "matmul",
    .inputs = {{"a"}, {"b"}},
    .precision = Precision::kLow,
    .samples = {{"matrices",
                 [](Rng& r) {
                   return matmul_sample(r, {4, 8}, {8, 6}, false, false);
                 }},
                {"odd b transposed",
                 [](Rng& r) {
                   return matmul_sample(r, {2, 3, 5}, {2, 7, 5}, false, true);
                 }},
                {"odd a transposed",
                 [](Rng& r) {
                   return matmul_sample(r, {5, 3}, {5, 7}, true, false);
                 }},
                {"both transposed",
                 [](Rng& r) {
                   return matmul_sample(r, {2, 6, 3}, {4, 6}, true, true);
                 }},
                {"odd batches broadcast",
                 [](Rng& r) {
                   return matmul_sample(r, {3, 1, 2, 5}, {2, 5, 3}, false, false);
                 }},
                {"one matrix for a batch",
                 [](Rng& r) {
                   return matmul_sample(r, {3, 2, 5}, {5, 4}, false, false);
                 }},
                {"odd row by a batch",
                 [](Rng& r) {
                   return matmul_sample(r, {1, 5}, {3, 7, 5}, false, true);
                 }},
                {"large batch",
                 [](Rng& r) {
                   return matmul_sample(r, {20, 48, 24}, {20, 24, 48}, false, false);
                 }},
                {"large", [](Rng& r) {
                   return matmul_sample(r, {150, 70}, {90, 70}, false, true);
                 }}}};

/// matmul — y = op(a)·op(b) over the last two dimensions; dA = dY·Bᵀ, dB = Aᵀ·dY, summed over the
/// batch dimensions that were broadcast. op(a) [..., M, K], op(b) [..., K, N] → [..., M, N]. Saves
/// a and b where the other wants a gradient.
Variable matmul(const Variable& a_in, const Variable& b_in, bool transpose_a, bool transpose_b) {
  auto [a, b] = autocast(kMatmul, a_in, b_in);
  check<ShapeError>(a.rank() >= 2 && b.rank() >= 2,
                    "matmul: a and b must have at least two dimensions, got {} and {}",
                    to_string(a.shape()), to_string(b.shape()));
  auto oriented = [](const Tensor& x, bool transposed) {
    return transposed ? x.transposed(-1, -2) : x;
  };
  const Tensor left = oriented(a.value(), transpose_a), right = oriented(b.value(), transpose_b);
  const Shape batch_a = batch_of(a.shape()), batch_b = batch_of(b.shape());
  Tensor y = matmul_forward(left, right, broadcast_shapes("matmul", batch_a, batch_b));
  const SavedTensor saved_a = b.requires_grad() ? save(a) : SavedTensor();
  const SavedTensor saved_b = a.requires_grad() ? save(b) : SavedTensor();
  return record(kMatmul, {a, b}, y, [=](const Tensor& dy, Needs needs) {
    Tensors gradients(2);
    const Tensor dy_transposed = dy.transposed(-1, -2);
    if (needs[0]) {  // dA = dY·Bᵀ; where a came transposed, (dA)ᵀ = B·dYᵀ
      const Tensor right = oriented(saved_b(), transpose_b);
      gradients[0] = transpose_a ? matmul_forward(right, dy_transposed, batch_a)
                                 : matmul_forward(dy, right.transposed(-1, -2), batch_a);
    }
    if (needs[1]) {
      const Tensor left = oriented(saved_a(), transpose_a);
      gradients[1] = transpose_b ? matmul_forward(dy_transposed, left, batch_b)
                                 : matmul_forward(left.transposed(-1, -2), dy, batch_b);
    }
    return gradients;
  });
}

}  // namespace ocellus
