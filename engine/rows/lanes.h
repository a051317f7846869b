// A row on the CPU is reduced as a warp would: element i goes to lane i mod 32, lanes merge in a
// tree. The order of operations depends on the row's length only. The inner loop runs over lanes,
// which g++ turns into vector instructions.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>

namespace ocellus {

inline constexpr int kLanes = 32;

/// SingleLane — while it lives, rows are reduced element by element instead, on every thread: the suite
/// compares the two, and counts the rows so that it knows of something to compare.
class SingleLane {
 public:
  SingleLane() { on_.store(true); }
  ~SingleLane() { on_.store(false); }
  SingleLane(const SingleLane&) = delete;
  /// Rows reduced since construction.
  int64_t rows() const { return rows_.load() - rows_before_; }

  /// Asked by every reduction; counts those that it changes.
  static bool on() {
    if (!on_.load(std::memory_order_relaxed)) [[likely]]
      return false;
    rows_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

 private:
  inline static std::atomic<bool> on_{false};
  inline static std::atomic<int64_t> rows_{0};
  int64_t rows_before_ = rows_.load();
};

template <int kCount, class Monoid>
inline Monoid merge_lanes(Monoid (&lane)[kCount]) {
  for (int width = kCount / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lane[l].merge(lane[l + width]);
  return lane[0];
}

/// reduce_row<Sum<float>>(n, load) — the monoid of load(0) … load(n - 1).
template <class Monoid, int kCount = kLanes, class Load>
inline Monoid reduce_row(int64_t n, Load&& load) {
  if (kCount > 1 && SingleLane::on()) [[unlikely]] {
    Monoid one;
    for (int64_t i = 0; i < n; ++i) one.push(load(i));
    return one;
  }
  Monoid lane[kCount];
  int64_t i = 0;
  for (; i + kCount <= n; i += kCount) {
#pragma omp simd
    for (int l = 0; l < kCount; ++l) lane[l].push(load(i + l));
  }
  for (int l = 0; i + l < n; ++l) lane[l].push(load(i + l));
  return merge_lanes(lane);
}

// The two commonest reductions again, with the lanes in vector registers: the same bits as
// reduce_row, several times as fast. `load` is written once for a vector and for a single element:
//   sum_row<A>(n, [=]<class V>(int64_t i) { const V d = at<V>(x, i) - mean; return d * d; })

/// Eight lanes of float, or four of double: one vector of 32 bytes.
template <class A>
struct LaneVector {
  typedef A type __attribute__((vector_size(32)));
};

/// at<V>(x, i) — x[i] for V = A; elements x[i], x[i + 1], … for a vector V of A.
template <class V, class A>
inline V at(const A* x, int64_t i) {
  V value;
  memcpy(&value, x + i, sizeof(V));
  return value;
}

template <class A, class Load, class Combine>
inline A reduce_row_in_vectors(int64_t n, A start, Load&& load, Combine&& combine) {
  using V = typename LaneVector<A>::type;
  constexpr int kWidth = sizeof(V) / sizeof(A), kVectors = kLanes / kWidth;
  if (SingleLane::on()) [[unlikely]] {
    A one = start;
    for (int64_t i = 0; i < n; ++i) one = combine(one, load.template operator()<A>(i));
    return one;
  }
  V lane[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) lane[v] = V{} + start;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      lane[v] = combine(lane[v], load.template operator()<V>(i + v * kWidth));
  }
  if (i < n) {  // lanes beyond the end combine with `start`, which changes nothing
    A rest[kLanes];
    for (int l = 0; l < kLanes; ++l) rest[l] = start;
    for (int l = 0; i + l < n; ++l) rest[l] = load.template operator()<A>(i + l);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) lane[v] = combine(lane[v], at<V>(rest, v * kWidth));
  }
#pragma GCC unroll 8
  for (int width = kVectors / 2; width > 0; width /= 2)
#pragma GCC unroll 8
    for (int v = 0; v < width; ++v) lane[v] = combine(lane[v], lane[v + width]);
  A last[kWidth];
  memcpy(last, &lane[0], sizeof(last));
  for (int width = kWidth / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) last[l] = combine(last[l], last[l + width]);
  return last[0];
}

/// sum_row<A>(n, load) — reduce_row<Sum<A>> of load(0) … load(n - 1).
template <class A, class Load>
inline A sum_row(int64_t n, Load&& load) {
  return reduce_row_in_vectors(n, A(0), load, [](auto a, auto b) { return a + b; });
}

/// max_row(x, n) — reduce_row<Max<A>> of x[0] … x[n - 1]: -infinity if n is 0; a NaN is passed
/// over.
template <class A>
inline A max_row(const A* x, int64_t n) {
  return reduce_row_in_vectors(
      n, -std::numeric_limits<A>::infinity(), [x]<class V>(int64_t i) { return at<V>(x, i); },
      [](auto a, auto b) { return b > a ? b : a; });
}

}  // namespace ocellus
