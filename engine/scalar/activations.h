// Functors of elementwise ops of one input. Adding one: a struct here, a line in unary_ops.def.
//   saves     what backward reads: the input x, the output y, or nothing
//   domain()  where samples are drawn; kinks are points that finite differences must avoid
//   forward(x); backward(v, dy) with v = x or y as `saves` says
// T is double in gradient checks, float otherwise; bf16 is widened at load and rounded at store.
#pragma once
#include "engine/scalar/math.h"

namespace ocellus {

enum class Saves { kNothing, kInput, kOutput };

struct Domain {
  double low, high;
  int kink_count = 0;
  double kinks[2] = {};
};

/// neg — y = -x.
struct Neg {
  static constexpr Saves saves = Saves::kNothing;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T x) { return -x; }
  template <class T> HD static T backward(T, T dy) { return -dy; }
};

/// square — y = x².
struct Square {
  static constexpr Saves saves = Saves::kInput;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T x) { return x * x; }
  template <class T> HD static T backward(T x, T dy) { return T(2) * x * dy; }
};

/// exp — y = e^x.
struct Exp {
  static constexpr Saves saves = Saves::kOutput;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T x) { return math::exp(x); }
  template <class T> HD static T backward(T y, T dy) { return y * dy; }
};

/// log — y = ln x.
struct Log {
  static constexpr Saves saves = Saves::kInput;
  static Domain domain() { return {0.2, 4}; }
  template <class T> HD static T forward(T x) { return math::log(x); }
  template <class T> HD static T backward(T x, T dy) { return dy / x; }
};

/// sqrt — y = √x.
struct Sqrt {
  static constexpr Saves saves = Saves::kOutput;
  static Domain domain() { return {0.3, 4}; }
  template <class T> HD static T forward(T x) { return math::sqrt(x); }
  template <class T> HD static T backward(T y, T dy) { return dy / (T(2) * y); }
};

/// rsqrt — y = 1/√x.
struct Rsqrt {
  static constexpr Saves saves = Saves::kOutput;
  static Domain domain() { return {0.3, 4}; }
  template <class T> HD static T forward(T x) { return math::rsqrt(x); }
  template <class T> HD static T backward(T y, T dy) { return T(-0.5) * y * y * y * dy; }
};

/// relu — y = max(x, 0).  Nair & Hinton 2010.
struct Relu {
  static constexpr Saves saves = Saves::kOutput;
  static Domain domain() { return {-3, 3, 1, {0}}; }
  template <class T> HD static T forward(T x) { return x > T(0) ? x : T(0); }
  template <class T> HD static T backward(T y, T dy) { return y > T(0) ? dy : T(0); }
};

/// sigmoid — y = 1/(1 + e^{-x}).
struct Sigmoid {
  static constexpr Saves saves = Saves::kOutput;
  static Domain domain() { return {-4, 4}; }
  template <class T> HD static T forward(T x) { return math::sigmoid(x); }
  template <class T> HD static T backward(T y, T dy) { return dy * y * (T(1) - y); }
};

/// tanh — y = tanh x.
struct Tanh {
  static constexpr Saves saves = Saves::kOutput;
  static Domain domain() { return {-3, 3}; }
  template <class T> HD static T forward(T x) { return math::tanh(x); }
  template <class T> HD static T backward(T y, T dy) { return dy * (T(1) - y * y); }
};

/// silu — y = x·σ(x).  Elfwing et al. 2017, arXiv:1702.03118.
struct Silu {
  static constexpr Saves saves = Saves::kInput;
  static Domain domain() { return {-4, 4}; }
  template <class T> HD static T forward(T x) { return x * math::sigmoid(x); }
  template <class T> HD static T backward(T x, T dy) {
    const T s = math::sigmoid(x);
    return dy * s * (T(1) + x * (T(1) - s));
  }
};

/// gelu — y = x·Φ(x) = x/2·(1 + erf(x/√2)).  Hendrycks & Gimpel 2016, arXiv:1606.08415.
struct Gelu {
  static constexpr Saves saves = Saves::kInput;
  static Domain domain() { return {-4, 4}; }
  template <class T> HD static T forward(T x) {
    return T(0.5) * x * (T(1) + math::erf(x * T(0.70710678118654752)));
  }
  template <class T> HD static T backward(T x, T dy) {
    const T cdf = T(0.5) * (T(1) + math::erf(x * T(0.70710678118654752)));
    const T density = T(0.39894228040143268) * math::exp(T(-0.5) * x * x);
    return dy * (cdf + x * density);
  }
};

/// gelu_tanh — y = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).  Hendrycks & Gimpel 2016, arXiv:1606.08415.
struct GeluTanh {
  static constexpr Saves saves = Saves::kInput;
  static Domain domain() { return {-4, 4}; }
  // 1 + tanh(u) = 2·σ(2u), so one exponential serves.
  template <class T> HD static T forward(T x) {
    return x * math::sigmoid(T(1.5957691216057308) * (x + T(0.044715) * x * x * x));
  }
  template <class T> HD static T backward(T x, T dy) {
    const T s = math::sigmoid(T(1.5957691216057308) * (x + T(0.044715) * x * x * x));
    const T du = T(1.5957691216057308) * (T(1) + T(3 * 0.044715) * x * x);
    return dy * s * (T(1) + x * (T(1) - s) * du);
  }
};

/// quick_gelu — y = x·σ(1.702·x), the form of the first CLIP.  Hendrycks & Gimpel 2016, section 2.
struct QuickGelu {
  static constexpr Saves saves = Saves::kInput;
  static Domain domain() { return {-4, 4}; }
  template <class T> HD static T forward(T x) { return x * math::sigmoid(T(1.702) * x); }
  template <class T> HD static T backward(T x, T dy) {
    const T s = math::sigmoid(T(1.702) * x);
    return dy * s * (T(1) + T(1.702) * x * (T(1) - s));
  }
};

}  // namespace ocellus
