// Reductions as monoids: push one value, merge two partial results. The same structs run in CPU lanes
// (lanes.h) and in CUDA warps (cuda/device/block_reduce.cuh), so that merge — where the errors of
// parallel reductions live — is exercised by the CPU suite. T is f32 in production, f64 in checks.
#pragma once
#include <cstdint>
#include <limits>

#include "engine/scalar/math.h"

namespace ocellus {

template <class T> struct Sum {
  T value = T(0);
  HD void push(T x) { value += x; }
  HD void merge(const Sum& other) { value += other.value; }
};

template <class T> struct Max {
  T value = -std::numeric_limits<T>::infinity();
  HD void push(T x) { value = x > value ? x : value; }
  HD void merge(const Max& other) { push(other.value); }
};

/// Welford — mean and centred second moment in one pass.  Chan, Golub & LeVeque 1979.
template <class T> struct Welford {
  T count = T(0), mean = T(0), m2 = T(0);
  HD void push(T x) {
    count += T(1);
    const T delta = x - mean;
    mean += delta / count;
    m2 += delta * (x - mean);
  }
  HD void merge(const Welford& other) {
    if (other.count == T(0)) return;
    const T total = count + other.count, delta = other.mean - mean;
    mean += delta * (other.count / total);
    m2 += other.m2 + delta * delta * (count * other.count / total);
    count = total;
  }
};

/// OnlineSoftmax — running maximum and Σ e^{x - max}.  Milakov & Gimelshein 2018, arXiv:1805.02867.
template <class T> struct OnlineSoftmax {
  T max = -std::numeric_limits<T>::infinity(), sum = T(0);
  HD void push(T x) { merge({x, T(1)}); }
  HD void merge(const OnlineSoftmax& other) {
    const T top = other.max > max ? other.max : max;
    if (top == -std::numeric_limits<T>::infinity()) return;  // both empty
    sum = sum * math::exp(max - top) + other.sum * math::exp(other.max - top);
    max = top;
  }
  /// log Σ e^x
  HD T log_sum() const { return max + math::log(sum); }
};

/// ArgMax — the largest value and the first index where it stands.
template <class T> struct ArgMax {
  T value = -std::numeric_limits<T>::infinity();
  int64_t index = -1;
  HD void push(T x, int64_t i) { merge({x, i}); }
  HD void merge(const ArgMax& other) {
    const bool better = other.value > value || (other.value == value && other.index >= 0 &&
                                                (index < 0 || other.index < index));
    if (better || index < 0) *this = other;
  }
};

}  // namespace ocellus
