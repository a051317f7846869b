// Maximum and Σ e^{x - max} of a row in one reading.
#pragma once
#include <limits>

#include "cuda/device/rows.cuh"
#include "engine/rows/monoids.h"
#include "engine/scalar/math.h"

namespace ocellus {

/// softmax_part — OnlineSoftmax of the elements of the row that belong to this thread. A vector is
/// merged at once: one exponential an element, and two more a vector. NaN makes the sum NaN.
template <class T>
__device__ OnlineSoftmax<AccT<T>> softmax_part(const T* row, int64_t columns) {
  using A = AccT<T>;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  OnlineSoftmax<A> total;
  for_vectors<T>(columns, [&](int64_t i, int64_t n) {
    const Vec128<T> v = load128(row + i, n);
    OnlineSoftmax<A> part;
#pragma unroll
    for (int j = 0; j < Vec128<T>::kSize; ++j)
      if (j < n) part.max = math::max(static_cast<A>(v.values[j]), part.max);
    const A shift = part.max == kNone ? A(0) : part.max;
#pragma unroll
    for (int j = 0; j < Vec128<T>::kSize; ++j)
      if (j < n) part.sum += math::exp(static_cast<A>(v.values[j]) - shift);
    if (part.sum != A(0)) part.max = shift;  // NaN among -infinity alone must not be lost
    total.merge(part);
  });
  return total;
}

}  // namespace ocellus
