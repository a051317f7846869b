#include "engine/kernels/argmax.h"

#include <algorithm>

#include "engine/cpu/strided_loop.h"
#include "engine/rows/lanes.h"
#include "engine/rows/monoids.h"

namespace ocellus {
namespace {

// Pieces of a row whose maxima are found by vectors; only the piece that holds the largest value is
// searched for its place.
constexpr int64_t kPiece = 1024;

template <class T>
int64_t argmax_of_row(const T* x, int64_t n) {
  using A = AccT<T>;
  ArgMax<A> best;  // over pieces: the first of those that share the largest value
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const T* piece = x + begin;
    const int64_t count = std::min(kPiece, n - begin);
    best.push(
        reduce_row<Max<A>>(count, [piece](int64_t i) { return static_cast<A>(piece[i]); }).value,
        begin);
  }
  const int64_t end = std::min(n, best.index + kPiece);
  for (int64_t i = best.index; i < end; ++i)
    if (static_cast<A>(x[i]) == best.value) return i;
  return 0;  // nothing but NaN
}

}  // namespace

Tensor argmax_last(OnCpu, const Tensor& x_any) {
  check<ShapeError>(x_any.rank() >= 1 && x_any.dim(-1) >= 1,
                    "argmax_last: the last dimension of x must not be empty, got {}",
                    to_string(x_any.shape()));
  const Tensor x = x_any.contiguous();
  const int64_t columns = x.dim(-1), rows = x.shape().rows();
  Shape shape;
  for (int i = 0; i + 1 < x.rank(); ++i) shape.push_back(x.dim(i));
  Tensor out = Tensor::empty(shape, DType::kI64, kCpu, "argmax_last");
  int64_t* to = out.mutable_data<int64_t>("argmax_last");
  on_float("argmax_last", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = x.data<T>();
    parallel_for(rows, std::max<int64_t>(1, kChunkElements / columns),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i)
                     to[i] = argmax_of_row(from + i * columns, columns);
                 });
  });
  return out;
}

}  // namespace ocellus
