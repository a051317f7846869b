// Softmax and log-softmax over the last dimension.
#include "engine/kernels/softmax.h"
#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/ops/row_checks.h"
#include "autograd/tape.h"

namespace ocellus {
namespace {

Variable plain_softmax(const Variable& x) {
  const Variable e = exp(x);
  return div(e, sum(e, {-1}, true));
}

Samples softmax_samples(Variable (*op)(const Variable&), bool logarithm) {
  auto make = [op, logarithm](Rng& r, const Shape& shape) {
    return Sample{.inputs = {r.normal(shape, 2)},
                  .run = [op](const Variables& in) { return Variables{op(in[0])}; },
                  .reference =
                      [logarithm](const Variables& in) {
                        const Variable p = plain_softmax(in[0]);
                        return Variables{logarithm ? log(p) : p};
                      }};
  };
  return {{"rows of 8",
           [make](Rng& r) {
             return make(r, {4, 8});
           }},
          {"odd row",
           [make](Rng& r) {
             return make(r, {2, 3, 7});
           }},
          {"odd long row",
           [make](Rng& r) {
             return make(r, {3, 131});
           }},
          {"large", [make](Rng& r) {
             return make(r, {300, 96});
           }}};
}

Variable softmax_op(const OpDef& def, const Variable& x_in, bool logarithm) {
  auto [x] = autocast(def, x_in);
  check_rows(def.name, x.value());
  Tensor y = softmax_forward(x.value(), logarithm);
  return record(def, {x}, y, [y = save(y), logarithm](const Tensor& dy, Needs) {
    return Tensors{softmax_backward(y(), dy, logarithm)};
  });
}

}  // namespace

static const OpDef kSoftmax{.name = "softmax",
                            .inputs = {{"x"}},
                            .precision = Precision::kFull,
                            .samples = softmax_samples(&ocellus::softmax, false)};
/// softmax — y = e^{x - max}/Σ e^{x - max} over the last dimension; dx = y·(dy - Σ dy·y).   Saves
/// y.
Variable softmax(const Variable& x) { return softmax_op(kSoftmax, x, false); }

static const OpDef kLogSoftmax{.name = "log_softmax",
                               .inputs = {{"x"}},
                               .precision = Precision::kFull,
                               .samples = softmax_samples(&ocellus::log_softmax, true)};
/// log_softmax — y = x - log Σ e^x over the last dimension; dx = dy - e^y·Σ dy.   Saves y.
Variable log_softmax(const Variable& x) { return softmax_op(kLogSoftmax, x, true); }

}  // namespace ocellus
