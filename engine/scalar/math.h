// Scalar functions for kernels. For float: branch-free polynomials that g++ vectorises (a libm call
// costs some forty times as much per element), CUDA's own functions under nvcc. For double: <cmath>,
// so that gradient checks see the exact function.
// The coefficients are our own Chebyshev interpolations in 40-digit arithmetic; errors were measured
// against double over the whole range by tests/engine/math_test.cpp.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "engine/scalar/hd.h"

namespace ocellus::math {

HD inline float select(bool condition, float yes, float no) { return condition ? yes : no; }

namespace detail {
HD inline float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
HD inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}
}  // namespace detail

/// exp — e^x: x = n·ln 2 + r, polynomial in r, exponent by integer arithmetic. Error ≤ 1 ulp; exact 0
/// below -87.3 (no denormals), infinity from 88.723 on, NaN stays NaN.
HD inline float exp(float x) {
#if defined(__CUDA_ARCH__)
  return expf(x);
#else
  const float limited = select(x > 88.8f, 88.8f, select(x < -87.3f, -87.3f, x));
  constexpr float kMagic = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer
  const float shifted = limited * 1.44269504f + kMagic;
  const float n = shifted - kMagic;
  const float r = (limited - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.98909810e-4f;
  p = p * r + 1.39336410e-3f;
  p = p * r + 8.33331093e-3f;
  p = p * r + 4.16664650e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 5.00000001e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^n in two factors, so that n = 128 overflows to infinity and not into the sign bit.
  const uint32_t whole = detail::float_to_bits(shifted) - detail::float_to_bits(kMagic);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(whole) >> 1);
  const float a = detail::bits_to_float((half + 127u) << 23);
  const float b = detail::bits_to_float((whole - half + 127u) << 23);
  return select(x < -87.3f, 0.0f, p * a * b);
#endif
}
HD inline double exp(double x) { return std::exp(x); }

HD inline float log(float x) { return logf(x); }
HD inline double log(double x) { return std::log(x); }
HD inline float sqrt(float x) { return sqrtf(x); }
HD inline double sqrt(double x) { return std::sqrt(x); }
template <class T> HD inline T rsqrt(T x) { return T(1) / math::sqrt(x); }
HD inline float abs(float x) { return fabsf(x); }
HD inline double abs(double x) { return std::fabs(x); }
template <class T> HD inline T max(T a, T b) { return a > b ? a : b; }
template <class T> HD inline T min(T a, T b) { return a < b ? a : b; }

/// tanh — odd polynomial below 0.65, else 1 - 2/(e^{2|x|} + 1). Error ≤ 1.5 ulp.
HD inline float tanh(float x) {
#if defined(__CUDA_ARCH__)
  return tanhf(x);
#else
  const float s = x * x, magnitude = fabsf(x);
  float p = 2.21490274e-3f;
  p = p * s - 8.27245673e-3f;
  p = p * s + 2.17461871e-2f;
  p = p * s - 5.39563494e-2f;
  p = p * s + 1.33332907e-1f;
  p = p * s - 3.33333331e-1f;
  const float small = x + x * s * p;
  const float large = 1.0f - 2.0f / (math::exp(2.0f * magnitude) + 1.0f);
  return select(magnitude < 0.65f, small, copysignf(large, x));
#endif
}
HD inline double tanh(double x) { return std::tanh(x); }

/// erf — odd polynomial below 0.93, else 1 - e^{-t·Q(t)}. Error ≤ 1.5 ulp, at most 9e-8.
HD inline float erf(float x) {
#if defined(__CUDA_ARCH__)
  return erff(x);
#else
  const float s = x * x, t = math::min(fabsf(x), 4.0f);
  float p = -5.95490400e-4f;
  p = p * s + 4.98647731e-3f;
  p = p * s - 2.67623504e-2f;
  p = p * s + 1.12817093e-1f;
  p = p * s - 3.76124849e-1f;
  p = p * s + 1.28379149e-1f;
  const float small = x + x * p;
  float q = 1.65886845e-5f;
  q = q * t - 3.73447802e-4f;
  q = q * t + 3.83162444e-3f;
  q = q * t - 2.41165435e-2f;
  q = q * t + 1.06584698e-1f;
  q = q * t + 6.34984462e-1f;
  q = q * t + 1.12867821f;
  const float large = 1.0f - math::exp(-q * t);
  return x != x ? x : select(fabsf(x) < 0.93f, small, copysignf(large, x));
#endif
}
HD inline double erf(double x) { return std::erf(x); }

/// sigmoid — 1/(1 + e^{-x}). Error ≤ 2.5 ulp down to -87.3; 0 where e^{-x} overflows.
template <class T> HD inline T sigmoid(T x) { return T(1) / (T(1) + math::exp(-x)); }

/// softplus — log(1 + e^x) = max(x, 0) + log(1 + e^{-|x|}). Error ≤ 2 ulp down to -87.3, then 0.
template <class T> HD inline T softplus(T x) {
  return math::max(x, T(0)) + std::log1p(math::exp(-math::abs(x)));
}

}  // namespace ocellus::math
