// Rotary position embedding: y = (x₁·cos - x₂·sin, x₂·cos + x₁·sin) of the halves of each head.
// Parallelisation: a block a token, a thread a pair of elements; the tables of a token are read
// once for all its heads, then from L1. Traffic: x read, y written once.
#include "engine/kernels/rope.h"

#include "cuda/device/launch.h"

namespace ocellus {
namespace {

template <class T>
struct RopeArguments {
  const T* x;
  const AccT<T>*cos, *sin;
  T* y;
  int64_t batch_step, token_step, head_step;  // of x, in elements
  int64_t rows, tokens, table_rows;           // table_rows: from one sample to the next
  int heads, half;
  AccT<T> sign;  // -1 turns the other way
};

template <class T>
__global__ void rope_kernel(RopeArguments<T> a) {
  using A = AccT<T>;
  const int pairs = a.heads * a.half;
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const int64_t b = row / a.tokens, t = row % a.tokens;
    const A* cos = a.cos + (b * a.table_rows + t) * a.half;
    const A* sin = a.sin + (b * a.table_rows + t) * a.half;
    const T* token = a.x + b * a.batch_step + t * a.token_step;
    T* out = a.y + row * 2 * pairs;
    for (int pair = static_cast<int>(threadIdx.x); pair < pairs;
         pair += static_cast<int>(blockDim.x)) {
      const int head = pair / a.half, i = pair % a.half;
      const T* in = token + head * a.head_step;
      const A first = static_cast<A>(in[i]), second = static_cast<A>(in[a.half + i]);
      const A c = cos[i], s = a.sign * sin[i];
      out[head * 2 * a.half + i] = static_cast<T>(first * c - second * s);
      out[head * 2 * a.half + a.half + i] = static_cast<T>(second * c + first * s);
    }
  }
}

}  // namespace

Tensor rope_forward(OnCuda device, const Tensor& x_any, const Tensor& cos_any,
                    const Tensor& sin_any, bool inverse) {
  check_same_device("rope", device, {&x_any});
  const bool unit = x_any.strides().dim(-1) == 1 || x_any.dim(-1) == 1;
  const Tensor x = unit ? x_any : x_any.contiguous();
  const int64_t tokens = x.dim(1), rows = x.dim(0) * tokens;
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device_of(device), "rope");
  on_cuda_float("rope", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    if (x.numel() == 0) return;
    const Tensor cos = cos_any.to(dtype_of<A>).to(device_of(device)).contiguous();
    const Tensor sin = sin_any.to(dtype_of<A>).to(device_of(device)).contiguous();
    const RopeArguments<T> arguments{x.data<T>(),
                                     cos.data<A>(),
                                     sin.data<A>(),
                                     y.mutable_data<T>("rope"),
                                     x.strides()[0],
                                     x.strides()[1],
                                     x.strides()[2],
                                     rows,
                                     tokens,
                                     cos.dim(0) == 1 ? 0 : tokens,
                                     static_cast<int>(x.dim(2)),
                                     static_cast<int>(x.dim(3) / 2),
                                     inverse ? A(-1) : A(1)};
    unsigned threads = 32;
    const unsigned pairs = static_cast<unsigned>(arguments.heads * arguments.half);
    while (threads < kBlockThreads && threads < pairs) threads *= 2;
    launch("rope", device.index, rope_kernel<T>, grid_for(device.index, rows, 1, threads),
           arguments);
  });
  return y;
}

}  // namespace ocellus
