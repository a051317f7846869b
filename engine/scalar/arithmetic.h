// Functors of elementwise ops of two inputs, broadcast as in numpy.
//   saves_inputs  whether backward reads a and b
//   forward(a, b); grad_a(a, b, dy); grad_b(a, b, dy)
// A functor whose grad_a (grad_b) is dy itself says so, and the kernel hands dy on instead of copying.
#pragma once
#include "engine/scalar/activations.h"

namespace ocellus {

/// add — y = a + b.
struct Add {
  static constexpr bool saves_inputs = false, grad_a_is_dy = true, grad_b_is_dy = true;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T a, T b) { return a + b; }
  template <class T> HD static T grad_a(T, T, T dy) { return dy; }
  template <class T> HD static T grad_b(T, T, T dy) { return dy; }
};

/// sub — y = a - b.
struct Sub {
  static constexpr bool saves_inputs = false, grad_a_is_dy = true, grad_b_is_dy = false;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T a, T b) { return a - b; }
  template <class T> HD static T grad_a(T, T, T dy) { return dy; }
  template <class T> HD static T grad_b(T, T, T dy) { return -dy; }
};

/// mul — y = a·b.
struct Mul {
  static constexpr bool saves_inputs = true, grad_a_is_dy = false, grad_b_is_dy = false;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T a, T b) { return a * b; }
  template <class T> HD static T grad_a(T, T b, T dy) { return dy * b; }
  template <class T> HD static T grad_b(T a, T, T dy) { return dy * a; }
};

/// div — y = a/b.
struct Div {
  static constexpr bool saves_inputs = true, grad_a_is_dy = false, grad_b_is_dy = false;
  static Domain domain() { return {0.5, 3}; }
  template <class T> HD static T forward(T a, T b) { return a / b; }
  template <class T> HD static T grad_a(T, T b, T dy) { return dy / b; }
  template <class T> HD static T grad_b(T a, T b, T dy) { return -dy * a / (b * b); }
};

/// swiglu — y = silu(a)·b, the gate of Llama's feed-forward.  Shazeer 2020, arXiv:2002.05202.
struct SwiGlu {
  static constexpr bool saves_inputs = true, grad_a_is_dy = false, grad_b_is_dy = false;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T a, T b) { return Silu::forward(a) * b; }
  template <class T> HD static T grad_a(T a, T b, T dy) { return Silu::backward(a, dy * b); }
  template <class T> HD static T grad_b(T a, T, T dy) { return dy * Silu::forward(a); }
};

}  // namespace ocellus
