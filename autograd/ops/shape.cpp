// Ops that move elements without computing: views where strides can say it, copies where they
// cannot.
#include <algorithm>
#include <numeric>

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/ops/row_checks.h"
#include "autograd/tape.h"
#include "engine/kernels/copy.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/rows_copy.h"

namespace ocellus {
namespace {

using Op1 = std::function<Variable(const Variable&)>;

Sample sample_of(Rng& r, const Shape& shape, Op1 op) {
  return {.inputs = {r.normal(shape)},
          .run = [op](const Variables& in) { return Variables{op(in[0])}; }};
}

/// A tensor of `shape` with `part` at [begin, begin + n) of `dim` and `value` elsewhere.
Tensor placed(const Shape& shape, const Tensor& part, int dim, int64_t begin, double value,
              const char* op) {
  Tensor out = Tensor::empty(shape, part.dtype(), part.device(), op);
  const int64_t end = begin + part.dim(dim);
  Tensor before = out.sliced(dim, 0, begin), window = out.sliced(dim, begin, end),
         after = out.sliced(dim, end, shape.dim(dim));
  fill(before, value);
  copy(part, window);
  fill(after, value);
  return out;
}

}  // namespace

static const OpDef kReshape{
    .name = "reshape",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"merge",
                 [](Rng& r) {
                   return sample_of(r, {2, 3, 4}, [](auto& x) { return reshape(x, {6, 4}); });
                 }},
                {"odd with -1", [](Rng& r) {
                   return sample_of(r, {3, 5}, [](auto& x) { return reshape(x, {5, -1}); });
                 }}}};

/// reshape — the same elements in another shape; dx = dy in x's shape. Saves nothing; copies only
/// if x is not contiguous.
Variable reshape(const Variable& x, const Shape& shape) {
  return record(
      kReshape, {x}, reshaped_view(x.value(), shape),
      [from = x.shape()](const Tensor& dy, Needs) { return Tensors{reshaped_view(dy, from)}; });
}

static const OpDef kPermute{
    .name = "permute",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"cycle",
                 [](Rng& r) {
                   return sample_of(r, {2, 3, 4}, [](auto& x) { return permute(x, {2, 0, 1}); });
                 }},
                {"odd swap", [](Rng& r) {
                   return sample_of(r, {3, 5}, [](auto& x) { return permute(x, {1, 0}); });
                 }}}};

/// permute — dimensions in the given order (a view); dx = dy in the inverse order. Saves nothing.
Variable permute(const Variable& x, const std::vector<int>& order) {
  Tensor y = x.value().permuted(order);
  std::vector<int> inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    inverse[static_cast<size_t>(normalize_dim("permute", order[i], x.rank()))] =
        static_cast<int>(i);
  return record(kPermute, {x}, y,
                [inverse](const Tensor& dy, Needs) { return Tensors{dy.permuted(inverse)}; });
}

static const OpDef kTranspose{
    .name = "transpose",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"last two",
                 [](Rng& r) {
                   return sample_of(r, {2, 3, 4}, [](auto& x) { return transpose(x, -1, -2); });
                 }},
                {"odd first and last", [](Rng& r) {
                   return sample_of(r, {3, 1, 5}, [](auto& x) { return transpose(x, 0, 2); });
                 }}}};

/// transpose — dimensions a and b exchanged (a view); dx = dy with them exchanged back. Saves
/// nothing.
Variable transpose(const Variable& x, int a, int b) {
  return record(kTranspose, {x}, x.value().transposed(a, b),
                [a, b](const Tensor& dy, Needs) { return Tensors{dy.transposed(a, b)}; });
}

static const OpDef kSlice{
    .name = "slice",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"rows",
                 [](Rng& r) {
                   return sample_of(r, {5, 4}, [](auto& x) { return slice(x, 0, 1, 4); });
                 }},
                {"odd last", [](Rng& r) {
                   return sample_of(r, {3, 7}, [](auto& x) { return slice(x, -1, 2, 3); });
                 }}}};

/// slice — elements [begin, end) of dimension dim (a view); dx = zeros with dy in their place.
/// Saves nothing.
Variable slice(const Variable& x, int dim, int64_t begin, int64_t end) {
  return record(kSlice, {x}, x.value().sliced(dim, begin, end),
                [from = x.shape(), dim, begin](const Tensor& dy, Needs) {
                  return Tensors{placed(from, dy, dim, begin, 0, "slice")};
                });
}

static Sample split_sample(Rng& r, const Shape& shape, std::vector<int64_t> sizes, int dim) {
  return {.inputs = {r.normal(shape)},
          .run = [=](const Variables& in) { return split(in[0], sizes, dim); }};
}
static const OpDef kSplit{.name = "split",
                          .inputs = {{"x"}},
                          .precision = Precision::kFollow,
                          .samples = {{"columns",
                                       [](Rng& r) {
                                         return split_sample(r, {3, 8}, {2, 6}, -1);
                                       }},
                                      {"large heads",
                                       [](Rng& r) {
                                         return split_sample(r, {40, 12, 64}, {4, 7, 1}, 1);
                                       }},
                                      {"odd three rows", [](Rng& r) {
                                         return split_sample(r, {5, 3}, {1, 3, 1}, 0);
                                       }}}};

/// split — consecutive slices (views) of the given sizes along dim; dx = their gradients one after
/// the other, zeros where none arrived. Saves nothing. ShapeError if the sizes do not cover dim.
Variables split(const Variable& x, const std::vector<int64_t>& sizes, int dim) {
  dim = normalize_dim("split", dim, x.rank());
  check<ShapeError>(!sizes.empty(), "split: sizes must not be empty");
  for (int64_t size : sizes)
    check<ShapeError>(size >= 0, "split: sizes must not be negative, got {}", size);
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  check<ShapeError>(total == x.dim(dim),
                    "split: sizes must add up to {} (dimension {} of {}), got {}", x.dim(dim), dim,
                    to_string(x.shape()), total);
  Tensors parts;
  int64_t begin = 0;
  for (int64_t size : sizes) {
    parts.push_back(x.value().sliced(dim, begin, begin + size));
    begin += size;
  }
  return record(kSplit, {x}, std::move(parts),
                [from = x.shape(), type = x.dtype(), device = x.value().device(), sizes, dim](
                    const Tensors& dys, Needs) {
                  Tensor dx = Tensor::empty(from, type, device, "split");
                  int64_t at = 0;
                  for (size_t i = 0; i < sizes.size(); ++i) {
                    Tensor window = dx.sliced(dim, at, at + sizes[i]);
                    if (dys[i].defined())
                      copy(dys[i], window);
                    else
                      fill(window, 0);
                    at += sizes[i];
                  }
                  return Tensors{dx};
                });
}

static Sample concat_sample(Rng& r, std::vector<Shape> shapes, int dim) {
  Sample sample;
  for (const Shape& shape : shapes) sample.inputs.push_back(r.normal(shape));
  sample.run = [dim](const Variables& in) { return Variables{concat(in, dim)}; };
  return sample;
}
static const OpDef kConcat{
    .name = "concat",
    .inputs = {{"x…"}},
    .precision = Precision::kFollow,
    .samples = {{"rows",
                 [](Rng& r) {
                   return concat_sample(r, {{2, 4}, {3, 4}}, 0);
                 }},
                {"large",
                 [](Rng& r) {
                   return concat_sample(r, {{130, 140}, {131, 140}}, 0);
                 }},
                {"odd middle", [](Rng& r) {
                   return concat_sample(r, {{2, 1, 3}, {2, 2, 3}, {2, 1, 3}}, 1);
                 }}}};

/// concat — xs one after the other along dim; dx_i = the slice of dy that x_i became. Saves
/// nothing.
Variable concat(const Variables& xs_in, int dim) {
  check<ShapeError>(!xs_in.empty(), "concat: needs at least one tensor");
  Variables xs = xs_in;
  std::vector<Variable*> pointers;
  for (Variable& x : xs) pointers.push_back(&x);
  if (Autocast::low_type() != DType::kF32)
    apply_autocast(kConcat, pointers.data(), static_cast<int>(xs.size()));
  const Tensor& first = xs[0].value();
  dim = normalize_dim("concat", dim, first.rank());
  int64_t total = 0;
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < xs.size(); ++i) {
    const Tensor& x = xs[i].value();
    check<ShapeError>(
        x.rank() == first.rank() && x.shape().with(dim, 1) == first.shape().with(dim, 1),
        "concat: xs[{}] must be as xs[0] but for dimension {}, got {}; xs[0] is {}", i, dim,
        to_string(x.shape()), first.describe());
    check<DTypeError>(x.dtype() == first.dtype(), "concat: xs[{}] must be {} as xs[0] is, got {}",
                      i, dtype_name(first.dtype()), dtype_name(x.dtype()));
    sizes.push_back(x.dim(dim));
    total += x.dim(dim);
  }
  Tensor y = Tensor::empty(xs[0].shape().with(dim, total), xs[0].dtype(), xs[0].value().device(),
                           "concat");
  int64_t begin = 0;
  for (const Variable& x : xs) {
    Tensor window = y.sliced(dim, begin, begin + x.dim(dim));
    copy(x.value(), window);
    begin += x.dim(dim);
  }
  return record(kConcat, xs, y, [sizes, dim](const Tensor& dy, Needs needs) {
    Tensors gradients(sizes.size());
    int64_t at = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (needs[i]) gradients[i] = dy.sliced(dim, at, at + sizes[i]);
      at += sizes[i];
    }
    return gradients;
  });
}

static const OpDef kPad{
    .name = "pad",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"zeros",
                 [](Rng& r) {
                   return sample_of(r, {3, 4}, [](auto& x) { return pad(x, 0, 1, 2); });
                 }},
                {"large",
                 [](Rng& r) {
                   return sample_of(r, {131, 139}, [](auto& x) { return pad(x, 1, 2, 1); });
                 }},
                {"odd with a value", [](Rng& r) {
                   return sample_of(r, {2, 5}, [](auto& x) { return pad(x, -1, 0, 3, 7.5); });
                 }}}};

/// pad — `before` and `after` elements of `value` around dimension dim; dx = the inner part of dy.
Variable pad(const Variable& x, int dim, int64_t before, int64_t after, double value) {
  check<ShapeError>(before >= 0 && after >= 0,
                    "pad: before and after must not be negative, got {} and {}", before, after);
  dim = normalize_dim("pad", dim, x.rank());
  const int64_t n = x.dim(dim);
  const Shape shape = x.shape().with(dim, before + n + after);
  const Tensor y = placed(shape, x.value(), dim, before, value, "pad");
  return record(kPad, {x}, y, [dim, before, n](const Tensor& dy, Needs) {
    return Tensors{dy.sliced(dim, before, before + n)};
  });
}

static const OpDef kExpand{
    .name = "expand",
    .inputs = {{"x"}},
    .precision = Precision::kFollow,
    .samples = {{"rows",
                 [](Rng& r) {
                   return sample_of(r, {1, 4}, [](auto& x) { return expand(x, {3, 4}); });
                 }},
                {"odd new dimension", [](Rng& r) {
                   return sample_of(r, {3, 1}, [](auto& x) { return expand(x, {2, 3, 5}); });
                 }}}};

/// expand — x broadcast to `shape` (a view with strides of 0); the tape sums dy down. Saves
/// nothing.
Variable expand(const Variable& x, const Shape& shape) {
  check<ShapeError>(broadcasts_to(x.shape(), shape),
                    "expand: shape must be a broadcast of x {}, got {}", to_string(x.shape()),
                    to_string(shape));
  return record(kExpand, {x}, x.value().broadcast_to(shape),
                [](const Tensor& dy, Needs) { return Tensors{dy}; });
}

/// x [N, …] as [N, product of the rest].
static Tensor as_rows(const Tensor& x) {
  int64_t columns = 1;
  for (int i = 1; i < x.rank(); ++i) columns *= x.dim(i);
  return x.reshaped({x.dim(0), columns});
}

static Sample gather_sample(Rng& r, const Shape& shape, const Tensor& index) {
  return {.inputs = {r.normal(shape), index},
          .run = [](const Variables& in) { return Variables{gather_rows(in[0], in[1].value())}; },
          .reference =
              [](const Variables& in) {
                Variables rows;
                for (const int64_t id : in[1].value().to_vector<int64_t>())
                  rows.push_back(slice(in[0], 0, id, id + 1));
                return Variables{concat(rows, 0)};
              }};
}
static const OpDef kGatherRows{
    .name = "gather_rows",
    .inputs = {{"x"}, {"ids", NotDifferentiable{"indices"}}},
    .precision = Precision::kFollow,
    .samples = {{"repeated",
                 [](Rng& r) {
                   return gather_sample(r, {5, 4}, Tensor::from<int32_t>({3, 0, 3, 1, 2, 4}, {6}));
                 }},
                {"odd i64, three dimensions",
                 [](Rng& r) {
                   return gather_sample(r, {3, 7, 1}, Tensor::from<int64_t>({2, 1, 0, 2, 2}, {5}));
                 }},
                {"large", [](Rng& r) {
                   return gather_sample(r, {301, 40}, r.integers({900}, 0, 301));
                 }}}};

/// gather_rows — y[i] = x[ids[i]]; dx[j] = Σ dy[i] over ids[i] = j, in order of i. Saves ids.
Variable gather_rows(const Variable& x, const Tensor& ids) {
  check<ShapeError>(ids.rank() == 1, "gather_rows: ids must be [M], got {}; x is {}",
                    to_string(ids.shape()), x.value().describe());
  check<ShapeError>(x.rank() >= 1, "gather_rows: x must be [N, …], got {}", x.value().describe());
  const Shape from = x.shape();
  const Tensor y = gather_rows_forward(as_rows(x.value()), ids).view_as(from.with(0, ids.dim(0)));
  return record(kGatherRows, {x, constant(ids)}, y,
                [from, ids = save(ids)](const Tensor& dy, Needs) {
                  return Tensors{scatter_add_rows(as_rows(dy), ids(), from[0]).view_as(from), {}};
                });
}

static Sample scatter_sample(Rng& r, const Shape& shape, std::vector<int32_t> ids) {
  const int64_t m = static_cast<int64_t>(ids.size());
  return {
      .inputs = {r.normal(shape), Tensor::from(ids, {m}), r.normal(shape.with(0, m))},
      .run =
          [](const Variables& in) { return Variables{scatter_rows(in[0], in[1].value(), in[2])}; },
      .reference =
          [ids](const Variables& in) {
            Variables rows;
            for (int64_t i = 0; i < in[0].dim(0); ++i) {
              const auto at = std::find(ids.begin(), ids.end(), i) - ids.begin();
              rows.push_back(at < std::ssize(ids) ? slice(in[2], 0, at, at + 1)
                                                  : slice(in[0], 0, i, i + 1));
            }
            return Variables{concat(rows, 0)};
          }};
}
static const OpDef kScatterRows{
    .name = "scatter_rows",
    .inputs = {{"base"}, {"ids", NotDifferentiable{"indices"}}, {"rows"}},
    .precision = Precision::kFollow,
    .samples = {{"some rows",
                 [](Rng& r) {
                   return scatter_sample(r, {6, 4}, {5, 0, 2});
                 }},
                {"odd one row",
                 [](Rng& r) {
                   return scatter_sample(r, {3, 7}, {1});
                 }},
                {"large", [](Rng& r) {
                   std::vector<int32_t> ids(251);
                   for (size_t i = 0; i < ids.size(); ++i)
                     ids[i] = static_cast<int32_t>(i * 100 % 401);
                   return scatter_sample(r, {401, 90}, ids);
                 }}}};

/// scatter_rows — y = base with y[ids[i]] = rows[i]; ids distinct. dbase = dy with those rows zero,
/// drows[i] = dy[ids[i]]. Saves ids.
Variable scatter_rows(const Variable& base_in, const Tensor& ids, const Variable& rows_in) {
  auto [base, rows] = autocast(kScatterRows, base_in, rows_in);
  check<ShapeError>(base.rank() == 2 && ids.rank() == 1,
                    "scatter_rows: base must be [N, C] and ids [M], got {} and {}",
                    base.value().describe(), to_string(ids.shape()));
  check<ShapeError>(
      rows.shape() == Shape{ids.dim(0), base.dim(1)},
      "scatter_rows: rows must be [{}, {}] (ids, columns of base), got {}; base is {}", ids.dim(0),
      base.dim(1), to_string(rows.shape()), base.value().describe());
  check<DTypeError>(rows.dtype() == base.dtype(),
                    "scatter_rows: rows must be {} as base is, got {}", dtype_name(base.dtype()),
                    dtype_name(rows.dtype()));
  return record(kScatterRows, {base, constant(ids), rows},
                replace_rows(base.value(), ids, rows.value()),
                [ids = save(ids)](const Tensor& dy, Needs needs) {
                  Tensors gradients(3);
                  if (needs[0]) gradients[0] = replace_rows(dy, ids(), Tensor());
                  if (needs[2]) gradients[2] = gather_rows_forward(dy, ids());
                  return gradients;
                });
}

}  // namespace ocellus
