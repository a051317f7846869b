// CPU loops of the elementwise ops. Contiguous runs are inner loops that g++ vectorises; everything
// else (broadcast, permuted views) goes through StridedLoop.
#include "engine/kernels/elementwise.h"

#include "engine/cpu/strided_loop.h"
#include "engine/dispatch.h"

namespace ocellus {
namespace {

// A block function applies a functor to `n` contiguous elements of the accumulation type A. There is
// one per functor and A; every other case (bf16, strides, broadcast) loads into small buffers first.
// That keeps the vectorised arithmetic in one place, and compiles four times faster.
constexpr int64_t kBlock = 512;

template <class A> using Block1 = void (*)(const A* x, A* out, int64_t n);
template <class A> using Block2 = void (*)(const A* a, const A* b, A* out, int64_t n);
template <class A> using Block3 = void (*)(const A* a, const A* b, const A* c, A* out, int64_t n);

template <class A, class Functor> void unary_block(const A* x, A* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = Functor::forward(x[i]);
}
template <class A, class Functor> void unary_grad_block(const A* v, const A* dy, A* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = Functor::backward(v[i], dy[i]);
}
template <class A, class Functor> void binary_block(const A* a, const A* b, A* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = Functor::forward(a[i], b[i]);
}
template <class A, class Functor>
void grad_a_block(const A* a, const A* b, const A* dy, A* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = Functor::grad_a(a[i], b[i], dy[i]);
}
template <class A, class Functor>
void grad_b_block(const A* a, const A* b, const A* dy, A* out, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = Functor::grad_b(a[i], b[i], dy[i]);
}

template <class A> Block1<A> forward_of(UnaryOp op) {
  constexpr Block1<A> table[] = {
#define UNARY(name, Functor) unary_block<A, Functor>,
#include "engine/scalar/unary_ops.def"
#undef UNARY
  };
  return table[static_cast<int>(op)];
}
template <class A> Block2<A> backward_of(UnaryOp op) {
  constexpr Block2<A> table[] = {
#define UNARY(name, Functor) unary_grad_block<A, Functor>,
#include "engine/scalar/unary_ops.def"
#undef UNARY
  };
  return table[static_cast<int>(op)];
}
template <class A> Block2<A> forward_of(BinaryOp op) {
  constexpr Block2<A> table[] = {
#define BINARY(name, Functor) binary_block<A, Functor>,
#include "engine/scalar/binary_ops.def"
#undef BINARY
  };
  return table[static_cast<int>(op)];
}
template <class A> Block3<A> backward_of(BinaryOp op, bool for_a) {
  constexpr Block3<A> table[][2] = {
#define BINARY(name, Functor) {grad_b_block<A, Functor>, grad_a_block<A, Functor>},
#include "engine/scalar/binary_ops.def"
#undef BINARY
  };
  return table[static_cast<int>(op)][for_a];
}

// The n elements at `from` with stride `step` as contiguous A: in place if they are that already.
template <class T, class A>
const A* load_block(const T* from, int64_t step, int64_t n, A* buffer) {
  if constexpr (std::is_same_v<T, A>)
    if (step == 1) return from;
  if (step == 1) {
    for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<A>(from[i]);
  } else if (step == 0) {
    std::fill_n(buffer, n, static_cast<A>(from[0]));
  } else {
    for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<A>(from[i * step]);
  }
  return buffer;
}

/// out = block(inputs…) for N inputs of out's shape and dtype, any strides.
template <class T, int N, class Block>
void map_blocks(const char* op, const std::array<const Tensor*, N>& inputs, Tensor& out,
                Block block) {
  using A = AccT<T>;
  std::array<Strides, N + 1> strides;
  std::array<const T*, N> from;
  for (int k = 0; k < N; ++k) {
    strides[k] = inputs[k]->strides();
    from[k] = inputs[k]->template data<T>();
  }
  strides[N] = out.strides();
  T* to = out.mutable_data<T>(op);
  const StridedLoop<N + 1> loop(out.shape(), strides);
  loop.run([&](const auto& offset, int64_t count, const auto& step) {
    A buffers[N + 1][kBlock];
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t n = std::min(kBlock, count - begin);
      const A* in[N];
      for (int k = 0; k < N; ++k)
        in[k] = load_block(from[k] + offset[k] + begin * step[k], step[k], n, buffers[k]);
      T* target = to + offset[N] + begin * step[N];
      A* result = buffers[N];
      if constexpr (std::is_same_v<T, A>)
        if (step[N] == 1) result = target;
      if constexpr (N == 1) block(in[0], result, n);
      if constexpr (N == 2) block(in[0], in[1], result, n);
      if constexpr (N == 3) block(in[0], in[1], in[2], result, n);
      if (static_cast<void*>(result) != static_cast<void*>(target))
        for (int64_t i = 0; i < n; ++i) target[i * step[N]] = static_cast<T>(result[i]);
    }
  });
}

}  // namespace

const char* name_of(UnaryOp op) {
  constexpr const char* names[] = {
#define UNARY(name, Functor) #name,
#include "engine/scalar/unary_ops.def"
#undef UNARY
  };
  return names[static_cast<int>(op)];
}
const char* name_of(BinaryOp op) {
  constexpr const char* names[] = {
#define BINARY(name, Functor) #name,
#include "engine/scalar/binary_ops.def"
#undef BINARY
  };
  return names[static_cast<int>(op)];
}

Tensor unary_forward(OnCpu, UnaryOp op, const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), kCpu, name_of(op));
  on_float(name_of(op), x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_blocks<T, 1>(name_of(op), {&x}, y, forward_of<AccT<T>>(op));
  });
  return y;
}

Tensor unary_backward(OnCpu, UnaryOp op, const Tensor& saved, const Tensor& dy) {
  Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), kCpu, name_of(op));
  on_float(name_of(op), dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_blocks<T, 2>(name_of(op), {&saved, &dy}, dx, backward_of<AccT<T>>(op));
  });
  return dx;
}

Tensor binary_forward(OnCpu, BinaryOp op, const Tensor& a, const Tensor& b) {
  check<DTypeError>(a.dtype() == b.dtype(), "{}: a and b must have one dtype, got {} and {}",
                    name_of(op), dtype_name(a.dtype()), dtype_name(b.dtype()));
  const Shape shape = broadcast_shapes(name_of(op), a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, a.dtype(), kCpu, name_of(op));
  const Tensor wide_a = a.broadcast_to(shape), wide_b = b.broadcast_to(shape);
  on_float(name_of(op), a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_blocks<T, 2>(name_of(op), {&wide_a, &wide_b}, y, forward_of<AccT<T>>(op));
  });
  return y;
}

Tensor binary_backward(OnCpu, BinaryOp op, bool for_a, const Tensor& a, const Tensor& b,
                       const Tensor& dy) {
  Tensor out = Tensor::empty(dy.shape(), dy.dtype(), kCpu, name_of(op));
  // A functor that saves nothing ignores a and b: dy stands in for both.
  const Tensor wide_a = a.defined() ? a.broadcast_to(dy.shape()) : dy;
  const Tensor wide_b = b.defined() ? b.broadcast_to(dy.shape()) : dy;
  on_float(name_of(op), dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_blocks<T, 3>(name_of(op), {&wide_a, &wide_b, &dy}, out, backward_of<AccT<T>>(op, for_a));
  });
  return out;
}

void add_in_place(OnCpu, Tensor& into, const Tensor& x) {
  check<ShapeError>(into.shape() == x.shape(), "add_in_place: x must be {}, got {}",
                    to_string(into.shape()), to_string(x.shape()));
  const Tensor same = x.to(into.dtype());
  on_float("add_in_place", into.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_blocks<T, 2>("add_in_place", {&into, &same}, into, forward_of<AccT<T>>(BinaryOp::k_add));
  });
}

void scale_in_place(OnCpu, Tensor& x, double factor) {
  const Tensor wide = Tensor::scalar(factor, x.dtype()).broadcast_to(x.shape());
  on_float("scale_in_place", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_blocks<T, 2>("scale_in_place", {&x, &wide}, x, forward_of<AccT<T>>(BinaryOp::k_mul));
  });
}

Tensor unary_forward(UnaryOp op, const Tensor& x) {
  return on_device(name_of(op), x.device(), [&](auto d) { return unary_forward(d, op, x); });
}
Tensor unary_backward(UnaryOp op, const Tensor& saved, const Tensor& dy) {
  return on_device(name_of(op), dy.device(), [&](auto d) { return unary_backward(d, op, saved, dy); });
}
Tensor binary_forward(BinaryOp op, const Tensor& a, const Tensor& b) {
  return on_device(name_of(op), a.device(), [&](auto d) { return binary_forward(d, op, a, b); });
}
Tensor binary_backward(BinaryOp op, bool for_a, const Tensor& a, const Tensor& b, const Tensor& dy) {
  return on_device(name_of(op), dy.device(),
                   [&](auto d) { return binary_backward(d, op, for_a, a, b, dy); });
}
void add_in_place(Tensor& into, const Tensor& x) {
  on_device("add_in_place", into.device(), [&](auto d) { add_in_place(d, into, x); });
}
void scale_in_place(Tensor& x, double factor) {
  on_device("scale_in_place", x.device(), [&](auto d) { scale_in_place(d, x, factor); });
}

}  // namespace ocellus
