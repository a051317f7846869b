#include "engine/kernels/embedding.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {

// A product with rows that are 1 at the id and 0 elsewhere.
static Variable one_hot_product(const Variable& weight, const Tensor& ids) {
  const auto list = ids.to_vector<int64_t>();
  const int64_t rows = static_cast<int64_t>(list.size()), classes = weight.dim(0);
  std::vector<double> one_hot(static_cast<size_t>(rows * classes), 0.0);
  for (int64_t i = 0; i < rows; ++i) one_hot[static_cast<size_t>(i * classes + list[i])] = 1;
  const Tensor chosen = Tensor::from(one_hot, {rows, classes}).to(weight.dtype());
  Shape shape = ids.shape();
  shape.push_back(weight.dim(1));
  return reshape(matmul(constant(chosen), weight), shape);
}

static Sample embedding_sample(Rng& r, const Shape& weight, const Shape& ids, DType dtype) {
  return {.inputs = {r.normal(weight), r.integers(ids, 0, weight[0], dtype)},
          .run = [](const Variables& in) { return Variables{embedding(in[0], in[1].value())}; },
          .reference =
              [](const Variables& in) { return Variables{one_hot_product(in[0], in[1].value())}; }};
}
static const OpDef kEmbedding{
    .name = "embedding",
    .inputs = {{"weight"}, {"ids", NotDifferentiable{"indices"}}},
    .precision = Precision::kFollow,
    .samples = {{"batch",
                 [](Rng& r) {
                   return embedding_sample(r, {8, 4}, {2, 5}, DType::kI64);
                 }},
                {"odd row, few ids",
                 [](Rng& r) {
                   return embedding_sample(r, {3, 7}, {11}, DType::kI32);
                 }},
                {"odd one id",
                 [](Rng& r) {
                   return embedding_sample(r, {5, 1}, {}, DType::kI64);
                 }},
                {"large", [](Rng& r) {
                   return embedding_sample(r, {150, 300}, {3, 130}, DType::kI32);
                 }}}};

/// embedding — y[i] = weight[ids[i]];  dweight[v] = Σ dy[i] over the i with ids[i] = v.
/// weight [V, C], ids [...] i32 or i64 in [0, V) → [..., C] in weight's type.   Saves ids.
Variable embedding(const Variable& weight, const Tensor& ids) {
  check<ShapeError>(weight.rank() == 2, "embedding: weight must be [V, C], got {}",
                    to_string(weight.shape()));
  Tensor y = embedding_forward(weight.value(), ids);
  return record(kEmbedding, {weight}, y,
                [ids = save(ids), rows = weight.dim(0)](const Tensor& dy, Needs) {
                  return Tensors{embedding_backward(dy, ids(), rows)};
                });
}

}  // namespace ocellus
