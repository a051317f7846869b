// Sums and means over dimensions.
#include <algorithm>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/kernels/elementwise.h"

namespace ocellus {
namespace {

// x's shape with the summed dimensions set to 1; no dimension named means all.
Shape reduced_shape(const char* op, const Shape& shape, const std::vector<int>& dims) {
  Shape kept = shape;
  for (int i = 0; i < shape.rank(); ++i)
    if (dims.empty()) kept[i] = 1;
  for (int d : dims) kept[normalize_dim(op, d, shape.rank())] = 1;
  return kept;
}

Shape squeezed(const char* op, const Shape& shape, const std::vector<int>& dims) {
  std::vector<bool> gone(static_cast<size_t>(shape.rank()), dims.empty());
  for (int d : dims) gone[static_cast<size_t>(normalize_dim(op, d, shape.rank()))] = true;
  Shape out;
  for (int i = 0; i < shape.rank(); ++i)
    if (!gone[static_cast<size_t>(i)]) out.push_back(shape[i]);
  return out;
}

using Reduction = Variable (*)(const Variable&, const std::vector<int>&, bool);
Sample sample_of(Rng& r, const Shape& shape, Reduction op, std::vector<int> dims, bool keep) {
  return {.inputs = {r.normal(shape)},
          .run = [=](const Variables& in) { return Variables{op(in[0], dims, keep)}; }};
}

Samples reduction_samples(Reduction op) {
  return {{"all",
           [op](Rng& r) {
             return sample_of(r, {3, 4}, op, {}, false);
           }},
          {"last kept",
           [op](Rng& r) {
             return sample_of(r, {2, 3, 8}, op, {-1}, true);
           }},
          {"odd outer two",
           [op](Rng& r) {
             return sample_of(r, {3, 5, 7}, op, {0, 1}, false);
           }},
          {"middle kept",
           [op](Rng& r) {
             return sample_of(r, {2, 3, 4}, op, {1}, true);
           }},
          {"large columns", [op](Rng& r) {
             return sample_of(r, {700, 40}, op, {0}, false);
           }}};
}

// y = factor·Σ x, where factor is 1 or 1/number of terms; backward spreads factor·dy.
Variable reduce(const OpDef& def, const Variable& x, const std::vector<int>& dims, bool keep,
                bool mean) {
  const Shape kept = reduced_shape(def.name, x.shape(), dims);
  const Shape shape = keep ? kept : squeezed(def.name, x.shape(), dims);
  Tensor y = sum_to(x.value(), kept);
  const double factor = mean ? static_cast<double>(kept.numel()) /
                                   static_cast<double>(std::max<int64_t>(1, x.value().numel()))
                             : 1;
  if (mean) scale_in_place(y, factor);
  return record(def, {x}, y.view_as(shape),
                [from = x.shape(), kept, factor](const Tensor& dy, Needs) {
                  Tensor spread = dy.reshaped(kept);
                  if (factor != 1) {
                    spread = spread.clone();
                    scale_in_place(spread, factor);
                  }
                  return Tensors{spread.broadcast_to(from)};
                });
}

}  // namespace

static const OpDef kSum{.name = "sum",
                        .inputs = {{"x"}},
                        .precision = Precision::kFull,
                        .samples = reduction_samples(&ocellus::sum)};
/// sum — Σ x over the given dimensions, all if none is named; dx = dy spread. Saves nothing.
Variable sum(const Variable& x_in, const std::vector<int>& dims, bool keep) {
  auto [x] = autocast(kSum, x_in);
  return reduce(kSum, x, dims, keep, false);
}

static const OpDef kMean{.name = "mean",
                         .inputs = {{"x"}},
                         .precision = Precision::kFull,
                         .samples = reduction_samples(&ocellus::mean)};
/// mean — Σ x over the given dimensions divided by the number of terms; dx = dy/n spread. Saves
/// nothing.
Variable mean(const Variable& x_in, const std::vector<int>& dims, bool keep) {
  auto [x] = autocast(kMean, x_in);
  return reduce(kMean, x, dims, keep, true);
}

static const OpDef kMeanLast{
    .name = "mean_last",
    .inputs = {{"x"}},
    .precision = Precision::kFull,
    .samples = {{"row of 8",
                 [](Rng& r) {
                   return Sample{.inputs = {r.normal({3, 8})}, .run = [](const Variables& in) {
                                   return Variables{mean_last(in[0])};
                                 }};
                 }},
                {"odd row",
                 [](Rng& r) {
                   return Sample{.inputs = {r.normal({2, 1, 7})}, .run = [](const Variables& in) {
                                   return Variables{mean_last(in[0])};
                                 }};
                 }}},
    .composite = true};
/// mean_last — mean over the last dimension, kept as 1. Made of mean.
Variable mean_last(const Variable& x) { return mean(x, {-1}, true); }

}  // namespace ocellus
