// Sums and means over dimensions.
#include "engine/kernels/reduce.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

// The result's shape with every summed dimension as 1, and without.
struct Reduced {
  Shape kept, squeezed;
};

// No dimension named means all.
Reduced reduced(const char* op, const Shape& shape, const std::vector<int>& dims) {
  bool summed[kMaxRank] = {};
  for (int i = 0; i < shape.rank(); ++i) summed[i] = dims.empty();
  for (int d : dims) {
    const int i = normalize_dim(op, d, shape.rank());
    check<ShapeError>(!summed[i], "{}: dimension {} is named twice", op, i);
    summed[i] = true;
  }
  Reduced out;
  for (int i = 0; i < shape.rank(); ++i) {
    out.kept.push_back(summed[i] ? 1 : shape[i]);
    if (!summed[i]) out.squeezed.push_back(shape[i]);
  }
  return out;
}

// y = factor·Σ x; every element summed gets factor·dy.
Variable reduce(const OpDef& op, const Variable& x, const Reduced& to, bool keep, double factor) {
  const Tensor y = sum_to(x.value(), to.kept, factor, op.name);
  return record(op, {x}, y.view_as(keep ? to.kept : to.squeezed),
                [from = x.shape(), kept = to.kept, factor](const Tensor& dy, Needs) {
                  // Summing over nothing, only scaled: one number for each result, seen many times.
                  const Tensor scaled = sum_to(dy.reshaped(kept), kept, factor);
                  return Tensors{scaled.broadcast_to(from)};
                });
}

// factor·Σ x as a product with a matrix that says which elements belong to which result.
Variable sum_as_product(const Variable& x, const std::vector<int>& dims, bool keep, bool average) {
  const Shape from = x.shape();
  const Reduced to = reduced("reference", from, dims);
  const int64_t n = from.numel(), groups = to.kept.numel();
  std::vector<double> matrix(static_cast<size_t>(n * groups), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i, group = 0, stride = 1;
    for (int d = from.rank() - 1; d >= 0; --d) {
      if (to.kept[d] == from[d]) group += rest % from[d] * stride, stride *= from[d];
      rest /= from[d];
    }
    matrix[static_cast<size_t>(group * n + i)] =
        average ? static_cast<double>(groups) / static_cast<double>(n) : 1.0;
  }
  const Variable chosen = constant(Tensor::from(matrix, {groups, n}).to(x.dtype()));
  return reshape(matmul(chosen, reshape(x, {n, 1})), keep ? to.kept : to.squeezed);
}

using Reduction = Variable (*)(const Variable&, const std::vector<int>&, bool);

Samples samples_of(Reduction op, bool average) {
  auto make = [=](Rng& r, const Shape& shape, std::vector<int> dims, bool keep) {
    return Sample{.inputs = {r.normal(shape)},
                  .run = [=](const Variables& in) { return Variables{op(in[0], dims, keep)}; },
                  .reference =
                      [=](const Variables& in) {
                        return Variables{sum_as_product(in[0], dims, keep, average)};
                      }};
  };
  return {{"all",
           [=](Rng& r) {
             return make(r, {3, 4}, {}, false);
           }},
          {"last kept",
           [=](Rng& r) {
             return make(r, {2, 3, 8}, {-1}, true);
           }},
          {"odd outer two",
           [=](Rng& r) {
             return make(r, {3, 5, 7}, {0, 1}, false);
           }},
          {"odd first and last",
           [=](Rng& r) {
             return make(r, {3, 5, 7}, {2, 0}, true);
           }},
          {"middle kept",
           [=](Rng& r) {
             return make(r, {2, 3, 4}, {1}, true);
           }},
          {"large row, summed in parts",
           [=](Rng& r) {
             return make(r, {1, 70001}, {1}, false);
           }},
          {"large columns", [=](Rng& r) {
             return make(r, {260, 70}, {0}, false);
           }}};
}

}  // namespace

static const OpDef kSum{.name = "sum",
                        .inputs = {{"x"}},
                        .precision = Precision::kFull,
                        .samples = samples_of(&ocellus::sum, false)};

/// sum — y = Σ x over the given dimensions, all if none is named; dx = dy, spread. Saves nothing.
/// ShapeError for a dimension that x has not, or named twice.
Variable sum(const Variable& x_in, const std::vector<int>& dims, bool keep) {
  auto [x] = autocast(kSum, x_in);
  return reduce(kSum, x, reduced("sum", x.shape(), dims), keep, 1);
}

static const OpDef kMean{.name = "mean",
                         .inputs = {{"x"}},
                         .precision = Precision::kFull,
                         .samples = samples_of(&ocellus::mean, true)};

/// mean — y = Σ x / n over the given dimensions, all if none is named; dx = dy/n, spread. Saves
/// nothing. ShapeError where there is nothing to average.
Variable mean(const Variable& x_in, const std::vector<int>& dims, bool keep) {
  auto [x] = autocast(kMean, x_in);
  const Reduced to = reduced("mean", x.shape(), dims);
  int64_t n = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (to.kept[i] != x.shape()[i]) n *= x.shape()[i];
  check<ShapeError>(n > 0, "mean: x must have elements to average, got {}", x.value().describe());
  return reduce(kMean, x, to, keep, 1 / static_cast<double>(n));
}

static Sample mean_last_sample(Rng& r, const Shape& shape) {
  return {.inputs = {r.normal(shape)},
          .run = [](const Variables& in) { return Variables{mean_last(in[0])}; }};
}
static const OpDef kMeanLast{.name = "mean_last",
                             .inputs = {{"x"}},
                             .precision = Precision::kFull,
                             .samples = {{"row of 8",
                                          [](Rng& r) {
                                            return mean_last_sample(r, {3, 8});
                                          }},
                                         {"odd row",
                                          [](Rng& r) {
                                            return mean_last_sample(r, {2, 1, 7});
                                          }},
                                         {"large",
                                          [](Rng& r) {
                                            return mean_last_sample(r, {300, 70});
                                          }}},
                             .composite = true};

/// mean_last — mean over the last dimension, kept as 1. Made of mean.
Variable mean_last(const Variable& x) {
  check<ShapeError>(x.rank() > 0, "mean_last: x must have a last dimension, got {}",
                    x.value().describe());
  return mean(x, {-1}, true);
}

}  // namespace ocellus
