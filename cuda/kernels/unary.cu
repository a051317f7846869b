// Elementwise ops of one input, generated from engine/scalar/unary_ops.def: the functors of the
// CPU, on the kernel of device/map.cuh.
#include "cuda/device/map.cuh"
#include "engine/dispatch.h"
#include "engine/kernels/elementwise.h"

namespace ocellus {
namespace {

template <class Functor>
struct Forward {
  template <class A>
  __device__ A operator()(const A (&in)[1]) const {
    return Functor::forward(in[0]);
  }
};
template <class Functor>
struct Backward {
  template <class A>
  __device__ A operator()(const A (&in)[2]) const {
    return Functor::backward(in[0], in[1]);
  }
};

template <class T>
void forward(UnaryOp op, int device, const Tensor& x, Tensor& y) {
  switch (op) {
#define UNARY(name, Functor) \
  case UnaryOp::k_##name:    \
    return map_tensors<T, 1>(#name, device, {&x}, y, Forward<Functor>{});
#include "engine/scalar/unary_ops.def"
#undef UNARY
  }
}

template <class T>
void backward(UnaryOp op, int device, const Tensor& saved, const Tensor& dy, Tensor& dx) {
  switch (op) {
#define UNARY(name, Functor) \
  case UnaryOp::k_##name:    \
    return map_tensors<T, 2>(#name, device, {&saved, &dy}, dx, Backward<Functor>{});
#include "engine/scalar/unary_ops.def"
#undef UNARY
  }
}

}  // namespace

Tensor unary_forward(OnCuda device, UnaryOp op, const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), device_of(device), name_of(op));
  on_cuda_float(name_of(op), x.dtype(),
                [&](auto tag) { forward<typename decltype(tag)::type>(op, device.index, x, y); });
  return y;
}

Tensor unary_backward(OnCuda device, UnaryOp op, const Tensor& saved, const Tensor& dy) {
  check_same_device(name_of(op), device, {&saved, &dy});
  Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), device_of(device), name_of(op));
  on_cuda_float(name_of(op), dy.dtype(), [&](auto tag) {
    backward<typename decltype(tag)::type>(op, device.index, saved, dy, dx);
  });
  return dx;
}

}  // namespace ocellus
