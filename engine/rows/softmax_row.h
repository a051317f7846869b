// Maximum and sum of exponentials of a row on the CPU.
#pragma once
#include "engine/dtype.h"
#include "engine/rows/lanes.h"
#include "engine/rows/monoids.h"
#include "engine/scalar/math.h"

namespace ocellus {

/// softmax_of_row — maximum and Σ e^{x - max} of n logits: what OnlineSoftmax gives, in two passes
/// over a row in the cache, because on the CPU a second reading is cheaper than a second
/// exponential. NaN and +infinity make the sum NaN.
template <class T>
inline OnlineSoftmax<AccT<T>> softmax_of_row(const T* x, int64_t n) {
  using A = AccT<T>;
  const A top = reduce_row<Max<A>>(n, [x](int64_t i) { return static_cast<A>(x[i]); }).value;
  const A sum = reduce_row<Sum<A>>(n, [x, top](int64_t i) {
                  return math::exp(static_cast<A>(x[i]) - top);
                }).value;
  return {top, sum};
}

}  // namespace ocellus
