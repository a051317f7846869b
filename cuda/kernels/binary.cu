// Elementwise ops of two inputs with broadcasting, generated from engine/scalar/binary_ops.def, and
// the two in-place updates. The kernel is that of device/map.cuh; a broadcast input has strides of
// 0.
#include "cuda/device/map.cuh"
#include "engine/dispatch.h"
#include "engine/kernels/elementwise.h"

namespace ocellus {
namespace {

template <class Functor>
struct Forward {
  template <class A>
  __device__ A operator()(const A (&in)[2]) const {
    return Functor::forward(in[0], in[1]);
  }
};
template <class Functor, bool for_a>
struct Backward {
  template <class A>
  __device__ A operator()(const A (&in)[3]) const {
    if constexpr (for_a)
      return Functor::grad_a(in[0], in[1], in[2]);
    else
      return Functor::grad_b(in[0], in[1], in[2]);
  }
};
template <class A>
struct Scale {
  A factor;
  __device__ A operator()(const A (&in)[1]) const { return in[0] * factor; }
};

template <class T>
void forward(BinaryOp op, int device, const Tensor& a, const Tensor& b, Tensor& y) {
  switch (op) {
#define BINARY(name, Functor) \
  case BinaryOp::k_##name:    \
    return map_tensors<T, 2>(#name, device, {&a, &b}, y, Forward<Functor>{});
#include "engine/scalar/binary_ops.def"
#undef BINARY
  }
}

template <class T, bool for_a>
void backward(BinaryOp op, int device, const Tensor& a, const Tensor& b, const Tensor& dy,
              Tensor& out) {
  switch (op) {
#define BINARY(name, Functor) \
  case BinaryOp::k_##name:    \
    return map_tensors<T, 3>(#name, device, {&a, &b, &dy}, out, Backward<Functor, for_a>{});
#include "engine/scalar/binary_ops.def"
#undef BINARY
  }
}

}  // namespace

Tensor binary_forward(OnCuda device, BinaryOp op, const Tensor& a, const Tensor& b) {
  check_same_device(name_of(op), device, {&a, &b});
  check<DTypeError>(a.dtype() == b.dtype(), "{}: a and b must have one dtype, got {} and {}",
                    name_of(op), dtype_name(a.dtype()), dtype_name(b.dtype()));
  const Shape shape = broadcast_shapes(name_of(op), a.shape(), b.shape());
  Tensor y = Tensor::empty(shape, a.dtype(), device_of(device), name_of(op));
  const Tensor wide_a = a.broadcast_to(shape), wide_b = b.broadcast_to(shape);
  on_cuda_float(name_of(op), a.dtype(), [&](auto tag) {
    forward<typename decltype(tag)::type>(op, device.index, wide_a, wide_b, y);
  });
  return y;
}

Tensor binary_backward(OnCuda device, BinaryOp op, bool for_a, const Tensor& a, const Tensor& b,
                       const Tensor& dy) {
  check_same_device(name_of(op), device, {&a, &b, &dy});
  Tensor out = Tensor::empty(dy.shape(), dy.dtype(), device_of(device), name_of(op));
  // A functor that saves nothing ignores a and b: dy stands in for both.
  const Tensor wide_a = a.defined() ? a.broadcast_to(dy.shape()) : dy;
  const Tensor wide_b = b.defined() ? b.broadcast_to(dy.shape()) : dy;
  on_cuda_float(name_of(op), dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (for_a)
      backward<T, true>(op, device.index, wide_a, wide_b, dy, out);
    else
      backward<T, false>(op, device.index, wide_a, wide_b, dy, out);
  });
  return out;
}

void add_in_place(OnCuda device, Tensor& into, const Tensor& x) {
  check_same_device("add_in_place", device, {&into, &x});
  check<ShapeError>(into.shape() == x.shape(), "add_in_place: x must be {}, got {}",
                    to_string(into.shape()), to_string(x.shape()));
  const Tensor same = x.to(into.dtype());
  on_cuda_float("add_in_place", into.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_tensors<T, 2>("add_in_place", device.index, {&into, &same}, into, Forward<Add>{});
  });
}

void scale_in_place(OnCuda device, Tensor& x, double factor) {
  on_cuda_float("scale_in_place", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const A rounded = static_cast<A>(static_cast<T>(factor));  // to x's dtype, as on the CPU
    map_tensors<T, 1>("scale_in_place", device.index, {&x}, x, Scale<A>{rounded});
  });
}

}  // namespace ocellus
