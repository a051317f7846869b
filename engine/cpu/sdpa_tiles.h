// Internal to sdpa on the CPU: the geometry, the mask of a tile, and products of tiles.
// A tile of scores lies key by key, queries side by side: [keys][lanes]. So maxima and sums over
// keys are vertical vector operations, and every product of forward and backward reads it as it
// lies.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "engine/cpu/gemm/kernels.h"
#include "engine/kernels/sdpa.h"
#include "engine/parallel.h"
#include "engine/scalar/math.h"

namespace ocellus::sdpa_detail {

struct Sizes {
  int64_t batch, queries, keys, heads, kv_heads, dim;
  int64_t group() const { return heads / kv_heads; }
};
inline Sizes sizes_of(const Tensor& q, const Tensor& k) {
  return {q.dim(0), q.dim(1), k.dim(1), q.dim(2), k.dim(2), q.dim(3)};
}

/// The tensor itself if its rows are contiguous, else a copy.
inline Tensor with_unit_rows(const Tensor& x) {
  return x.dim(3) == 1 || x.strides()[3] == 1 ? x : x.contiguous();
}

/// Rows<T> — the [T, D] matrix of one (batch, head).
template <class T>
struct Rows {
  const T* data;
  int64_t stride;
  const T* row(int64_t i) const { return data + i * stride; }
  Rows from(int64_t i) const { return {row(i), stride}; }
};
template <class T>
Rows<T> rows_of(const Tensor& x, int64_t b, int64_t h) {
  return {x.data<T>() + b * x.strides()[0] + h * x.strides()[2], x.strides()[1]};
}

/// Tile lengths; functions of the shape alone, since they decide the order of sums.
struct TileSizes {
  int64_t queries, keys;
};

inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
inline int64_t tiles_in(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

/// A rectangle of scores.
struct Tile {
  int64_t batch, head, query, queries, key, keys;
};

/// Products<A> — what the microkernels of the matrix product offer for tiles: A in place, B packed
/// or in place, no blocking.
template <class A>
class Products {
 public:
  Products();
  /// Lanes of a tile with that many queries; rows of operands are padded to a multiple of vector().
  int64_t vector() const { return set_.vector; }
  int64_t lanes(int64_t queries) const {
    return round_up(queries, std::max<int64_t>(set_.vector, kGroup));
  }
  int64_t padded(int64_t dim) const { return round_up(dim, set_.vector); }
  /// Elements that pack_lanes writes, and block may read, for a tile.
  int64_t packed_size(int64_t queries, int64_t dim) const {
    return round_up(lanes(queries), set_.columns) * dim + gemm_detail::kPackSlack;
  }

  /// to = the transposed rows, in panels of lanes, times factor.
  template <class T>
  void pack_lanes(Rows<T> rows, int64_t count, int64_t dim, A factor, A* to) const {
    if constexpr (std::is_same_v<T, A>)
      set_.pack_b(count, dim, rows.data, rows.stride, 1, to);
    else
      set_.pack_b_bf16(count, dim, reinterpret_cast<const uint16_t*>(rows.data), rows.stride, 1,
                       to);
    if (factor == A(1)) return;
    const int64_t n = round_up(count, set_.columns) * dim;
    for (int64_t i = 0; i < n; ++i) to[i] *= factor;
  }

  /// scores[j][i] = Σ_d left[j][d]·packed[d][i]
  void scores(Rows<A> left, int64_t keys, const A* packed, int64_t lanes, int64_t dim,
              A* to) const {
    set_.block({.rows = keys,
                .columns = lanes,
                .depth = dim,
                .a = left.data,
                .a_row = left.stride,
                .a_k = 1,
                .a_panel = 0,
                .b = packed,
                .b_k = set_.columns,
                .b_panel = set_.columns * dim,
                .c = to,
                .ldc = lanes,
                .add = false});
  }
  /// to[i][d] (+)= Σ_j tile[j][i]·right[j][d]; `right` has padded rows.
  void over_keys(const A* tile, int64_t lanes, int64_t keys, int64_t queries, Rows<A> right,
                 int64_t dim, A* to, bool add) const {
    set_.block({.rows = queries,
                .columns = padded(dim),
                .depth = keys,
                .a = tile,
                .a_row = 1,
                .a_k = lanes,
                .a_panel = 0,
                .b = right.data,
                .b_k = right.stride,
                .b_panel = set_.columns,
                .c = to,
                .ldc = padded(dim),
                .add = add});
  }
  /// to[j][d] (+)= Σ_i tile[j][i]·right[i][d]; `right` has padded rows.
  void over_queries(const A* tile, int64_t lanes, int64_t keys, int64_t queries, Rows<A> right,
                    int64_t dim, A* to, bool add) const {
    set_.block({.rows = keys,
                .columns = padded(dim),
                .depth = queries,
                .a = tile,
                .a_row = lanes,
                .a_k = 1,
                .a_panel = 0,
                .b = right.data,
                .b_k = right.stride,
                .b_panel = set_.columns,
                .c = to,
                .ldc = padded(dim),
                .add = add});
  }

  /// Whether rows of `dim` elements of T can be read in place as the right operand.
  template <class T>
  bool reads_in_place(int64_t dim) const {
    return std::is_same_v<T, A> && dim % set_.vector == 0;
  }
  /// `count` rows in the type computed in, padded with zeros; `room` is used where they cannot be
  /// read in place.
  template <class T>
  Rows<A> staged(Rows<T> rows, int64_t count, int64_t dim, A* room) const {
    if constexpr (std::is_same_v<T, A>)
      if (reads_in_place<T>(dim)) return rows;
    const int64_t wide = padded(dim);
    for (int64_t i = 0; i < count; ++i) {
      const T* from = rows.row(i);
      A* to = room + i * wide;
      for (int64_t d = 0; d < dim; ++d) to[d] = static_cast<A>(from[d]);
      for (int64_t d = dim; d < wide; ++d) to[d] = A(0);
    }
    return {room, wide};
  }

  // A whole number of vectors in the loops over lanes.
  static constexpr int64_t kGroup = 32 / static_cast<int64_t>(sizeof(A));

 private:
  const gemm_detail::KernelSet<A>& set_;
};

/// Mask — SdpaMask made ready for tiles.
template <class T>
class Mask {
  using A = AccT<T>;

 public:
  Mask(const SdpaMask& mask, const Sizes& sizes)
      : sizes_(sizes),
        band_{sizes.keys - sizes.queries, mask.prefix, mask.window, mask.causal},
        softcap_(static_cast<A>(mask.softcap)),
        q_segment_(mask.q_segment.defined() ? mask.q_segment.contiguous() : Tensor()),
        k_segment_(mask.k_segment.defined() ? mask.k_segment.contiguous() : Tensor()),
        slopes_(mask.slopes.defined() ? mask.slopes.to(dtype_of<A>).contiguous() : Tensor()) {
    if (mask.bias.defined())
      bias_ = mask.bias.broadcast_to({sizes.batch, sizes.heads, sizes.queries, sizes.keys});
  }

  /// No query before `query_end` sees a key from here on.
  int64_t key_end(int64_t query_end) const {
    if (!band_.causal) return sizes_.keys;
    return std::clamp(query_end + band_.shift, std::min(band_.prefix, sizes_.keys), sizes_.keys);
  }

  enum class Cover { kNone, kSome, kAll };
  /// How much of the tile is visible.
  Cover cover(const Tile& t) const {
    const int64_t query_end = t.query + t.queries, key_end = t.key + t.keys;
    Cover cover = Cover::kAll;
    const bool exempt = key_end <= band_.prefix, some_exempt = t.key < band_.prefix;
    if (band_.causal && !exempt && key_end - 1 > t.query + band_.shift) {
      if (!some_exempt && t.key > query_end - 1 + band_.shift) return Cover::kNone;
      cover = Cover::kSome;
    }
    if (band_.window > 0 && !exempt && t.key <= query_end - 1 + band_.shift - band_.window) {
      if (!some_exempt && key_end - 1 <= t.query + band_.shift - band_.window) return Cover::kNone;
      cover = Cover::kSome;
    }
    if (!q_segment_.defined()) return cover;
    const auto q = extremes(q_segments(t), t.queries), k = extremes(k_segments(t), t.keys);
    if (q.high < k.low || k.high < q.low || q.high < 0) return Cover::kNone;
    const bool one = q.low == q.high && k.low == k.high && q.low == k.low;
    return one ? cover : Cover::kSome;
  }

  bool caps() const { return softcap_ > A(0); }
  /// to = the derivative of the soft cap at the raw scores, 1 - tanh².
  void cap_slopes(const A* scores, int64_t n, A* to) const {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      const A t = math::tanh(scores[i] / softcap_);
      to[i] = A(1) - t * t;
    }
  }

  /// Caps the scores, adds bias and slopes, and makes those that the mask hides -infinity.
  void apply(const Tile& t, Cover cover, A* scores, int64_t lanes) const {
    if (caps())
      for (int64_t i = 0; i < t.keys * lanes; ++i)
        scores[i] = softcap_ * math::tanh(scores[i] / softcap_);
    if (bias_.defined()) add_bias(t, scores, lanes);
    if (slopes_.defined()) {
      const A slope = slopes_.data<A>()[t.head];
      for (int64_t j = 0; j < t.keys; ++j) {
        const auto first = static_cast<A>(t.key + j - t.query - band_.shift);
        A* row = scores + j * lanes;
        for (int64_t i = 0; i < t.queries; ++i) row[i] += slope * (first - static_cast<A>(i));
      }
    }
    if (cover == Cover::kAll) return;
    constexpr A kHidden = -std::numeric_limits<A>::infinity();
    for (int64_t j = 0; j < t.keys; ++j) {
      A* row = scores + j * lanes;
      const auto lane = [&](int64_t query) {
        return query <= t.query ? 0 : std::min(query - t.query, t.queries);
      };
      const int64_t first = lane(band_.first_query(t.key + j));
      const int64_t end = lane(band_.end_query(t.key + j));
      std::fill(row, row + first, kHidden);
      if (end < t.queries) std::fill(row + end, row + t.queries, kHidden);
    }
    if (q_segment_.defined()) {
      const int32_t *q = q_segments(t), *k = k_segments(t);
      for (int64_t j = 0; j < t.keys; ++j) {
        A* row = scores + j * lanes;
        const int32_t id = k[j];
        for (int64_t i = 0; i < t.queries; ++i) row[i] = q[i] == id && id >= 0 ? row[i] : kHidden;
      }
    }
  }

 private:
  struct Extremes {
    int32_t low, high;
  };
  static Extremes extremes(const int32_t* ids, int64_t n) {
    Extremes e{ids[0], ids[0]};
    for (int64_t i = 1; i < n; ++i) e = {std::min(e.low, ids[i]), std::max(e.high, ids[i])};
    return e;
  }
  const int32_t* q_segments(const Tile& t) const {
    return q_segment_.data<int32_t>() + t.batch * sizes_.queries + t.query;
  }
  const int32_t* k_segments(const Tile& t) const {
    return k_segment_.data<int32_t>() + t.batch * sizes_.keys + t.key;
  }
  void add_bias(const Tile& t, A* scores, int64_t lanes) const {
    const Strides& s = bias_.strides();
    const T* from =
        bias_.data<T>() + t.batch * s[0] + t.head * s[1] + t.query * s[2] + t.key * s[3];
    // Squares of 8 keys: a cache line of the bias is read once.
    for (int64_t j = 0; j < t.keys; j += 8)
      for (int64_t i = 0; i < t.queries; ++i)
        for (int64_t n = j; n < std::min(j + 8, t.keys); ++n)
          scores[n * lanes + i] += static_cast<A>(from[i * s[2] + n * s[3]]);
  }

  Sizes sizes_;
  SdpaBand band_;
  A softcap_;
  Tensor q_segment_, k_segment_, slopes_, bias_;
};

/// Scratch — memory of a task, handed out piece by piece. One made without a size only counts.
template <class A>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t elements)
      : block_(Tensor::zeros({elements}, dtype_of<A>, kCpu, "sdpa")),
        data_(block_.template mutable_data<A>("sdpa")) {}
  A* take(int64_t elements) {
    A* const piece = data_ ? data_ + used_ : nullptr;
    used_ += round_up(elements, kLine);
    return piece;
  }
  int64_t used() const { return used_; }

 private:
  static constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(A));
  Tensor block_;
  A* data_ = nullptr;
  int64_t used_ = 0;
};

/// Items a chunk of parallel_for should hold if one costs that many multiply-adds.
inline int64_t grain_of(int64_t cost) {
  constexpr int64_t kCost = int64_t{1} << 19;
  return std::max<int64_t>(1, kCost / std::max<int64_t>(cost, 1));
}

}  // namespace ocellus::sdpa_detail
