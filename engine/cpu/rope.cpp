#include "engine/kernels/rope.h"

#include <algorithm>

#include "engine/cpu/strided_loop.h"

namespace ocellus {

Tensor rope_forward(OnCpu, const Tensor& x_in, const Tensor& cos_in, const Tensor& sin_in,
                    bool inverse) {
  const Tensor x = x_in.strides().dim(-1) == 1 || x_in.dim(-1) == 1 ? x_in : x_in.contiguous();
  const int64_t batch = x.dim(0), tokens = x.dim(1), heads = x.dim(2), dim = x.dim(3),
                half = dim / 2;
  Tensor y = Tensor::empty(x.shape(), x.dtype(), kCpu, "rope");
  const int64_t table_rows =
      cos_in.dim(0) == 1 ? 0 : tokens;  // rows of the table from one sample to the next
  on_float("rope", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    // Tables in the type that is computed in, whatever they were given in.
    const Tensor cos = cos_in.to(dtype_of<A>).contiguous();
    const Tensor sin = sin_in.to(dtype_of<A>).contiguous();
    const T* from = x.data<T>();
    const A *c_all = cos.data<A>(), *s_all = sin.data<A>();
    T* to = y.mutable_data<T>("rope");
    const A sign = inverse ? A(-1) : A(1);
    parallel_for(
        batch * tokens, std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, heads * dim)),
        [&](int64_t begin, int64_t end) {
          for (int64_t row = begin; row < end; ++row) {
            const int64_t b = row / tokens, t = row % tokens;
            const A *c = c_all + (b * table_rows + t) * half,
                    *s = s_all + (b * table_rows + t) * half;
            for (int64_t h = 0; h < heads; ++h) {
              const T* in = from + b * x.strides()[0] + t * x.strides()[1] + h * x.strides()[2];
              T* out = to + (row * heads + h) * dim;
#pragma omp simd
              for (int64_t i = 0; i < half; ++i) {
                const A first = static_cast<A>(in[i]), second = static_cast<A>(in[half + i]);
                out[i] = static_cast<T>(first * c[i] - second * (sign * s[i]));
                out[half + i] = static_cast<T>(second * c[i] + first * (sign * s[i]));
              }
            }
          }
        });
  });
  return y;
}

}  // namespace ocellus
