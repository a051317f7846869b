#include "vlm/language_loss.h"

namespace ocellus {

Tensor shifted_labels(const Tensor& labels, int64_t ignore) {
  check<ShapeError>(labels.rank() == 2, "shifted_labels: labels must be [B, T], got {}",
                    to_string(labels.shape()));
  const int64_t rows = labels.dim(0), tokens = labels.dim(1);
  const auto from = labels.to_vector<int64_t>();
  std::vector<int64_t> to(from.size(), ignore);
  for (int64_t b = 0; b < rows; ++b)
    for (int64_t t = 0; t + 1 < tokens; ++t) to[b * tokens + t] = from[b * tokens + t + 1];
  return Tensor::from(to, labels.shape());
}

LossSum next_token_loss(const Variable& hidden, const Variable& head, const Tensor& labels,
                        int64_t chunk) {
  check<ShapeError>(hidden.rank() == 3 && labels.shape() == Shape({hidden.dim(0), hidden.dim(1)}),
                    "next_token_loss: labels must be [B, T] of hidden {}, got {}",
                    to_string(hidden.shape()), to_string(labels.shape()));
  const int64_t rows = hidden.dim(0) * hidden.dim(1);
  return linear_cross_entropy(reshape(hidden, {rows, hidden.dim(2)}), head,
                              shifted_labels(labels).view_as({rows}), -100, chunk);
}

}  // namespace ocellus
