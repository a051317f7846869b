// A row on the CPU is reduced as a warp would: element i goes to lane i mod 32, lanes merge in a tree.
// The order of operations depends on the row's length only. The inner loop runs over lanes, which
// g++ turns into vector instructions.
#pragma once
#include <cstdint>

namespace ocellus {

inline constexpr int kLanes = 32;

template <int kCount, class Monoid>
inline Monoid merge_lanes(Monoid (&lane)[kCount]) {
  for (int width = kCount / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lane[l].merge(lane[l + width]);
  return lane[0];
}

/// reduce_row<Sum<float>>(n, load) — the monoid of load(0) … load(n - 1).
template <class Monoid, int kCount = kLanes, class Load>
inline Monoid reduce_row(int64_t n, Load&& load) {
  Monoid lane[kCount];
  int64_t i = 0;
  for (; i + kCount <= n; i += kCount) {
#pragma omp simd
    for (int l = 0; l < kCount; ++l) lane[l].push(load(i + l));
  }
  for (int l = 0; i + l < n; ++l) lane[l].push(load(i + l));
  return merge_lanes(lane);
}

}  // namespace ocellus
