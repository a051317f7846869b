// Exchange of structs between the lanes of a warp, and the reduction of monoids
// (engine/rows/monoids.h) in the tree that the CPU's lanes use: lane l takes in lane l + 16, then l
// + 8, … l + 1.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace ocellus {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

/// shuffle_down(value, n) — `value` of lane + n. All 32 lanes must take part.
template <class S>
__device__ S shuffle_down(const S& value, unsigned n) {
  static_assert(sizeof(S) % 4 == 0, "shuffles move 32-bit words");
  uint32_t words[sizeof(S) / 4];
  memcpy(words, &value, sizeof(S));
#pragma unroll
  for (uint32_t& word : words) word = __shfl_down_sync(kAllLanes, word, n);
  S out;
  memcpy(static_cast<void*>(&out), words, sizeof(S));
  return out;
}

/// warp_reduce(m) — the merge of all 32 lanes, valid in lane 0.
template <class Monoid>
__device__ Monoid warp_reduce(Monoid m) {
#pragma unroll
  for (unsigned n = kWarp / 2; n > 0; n /= 2) m.merge(shuffle_down(m, n));
  return m;
}

}  // namespace ocellus
