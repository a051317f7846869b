// Attention, forward: one task is a tile of queries of one head. It walks over tiles of keys with a
// running maximum and sum per query; a few queries (decoding) go row by row instead.
#include "engine/cpu/gemm/select.h"
#include "engine/cpu/sdpa_tiles.h"
#include "engine/rows/lanes.h"
#include "engine/rows/monoids.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace sdpa_detail {
namespace {

#if !defined(__x86_64__)
// The same kernel in vectors of 128 bits, which g++ maps to what the processor has.
constexpr int kVectorBytes = 16;
constexpr int kTileRows = 6;
using gemm_detail::Block, gemm_detail::KernelSet;
#include "engine/cpu/gemm/kernel.inc"
#endif

template <class A>
const gemm_detail::KernelSet<A>& kernels_of() {
#if defined(__x86_64__)
  const gemm_detail::Kernels* kernels = gemm_detail::kernels();
  if constexpr (std::is_same_v<A, float>)
    return kernels->f32;
  else
    return kernels->f64;
#else
  static const KernelSet<A> set = kernel_set<A>();
  return set;
#endif
}

}  // namespace

template <class A>
Products<A>::Products() : set_(kernels_of<A>()) {}
template class Products<float>;
template class Products<double>;

namespace {

// Short causal tiles waste little on what the diagonal hides; long ones read keys less often.
TileSizes forward_tiles(const Sizes& s, bool causal) {
  const int64_t queries = causal && s.queries <= 128 ? 16 : 64;
  return {std::min(queries, s.queries), std::clamp<int64_t>(s.keys, 1, 128)};
}

template <class T>
class Forward {
  using A = AccT<T>;

 public:
  Forward(const Tensor& q, const Tensor& k, const Tensor& v, const SdpaMask& mask, double scale,
          SdpaOut& result)
      : s_(sizes_of(q, k)),
        tile_(forward_tiles(s_, mask.causal)),
        mask_(mask, s_),
        q_(q),
        k_(k),
        v_(v),
        scale_(static_cast<A>(scale)),
        out_(result.out.mutable_data<T>("sdpa")),
        log_sum_(result.log_sum.mutable_data<A>("sdpa")) {}

  void run() {
    if (s_.queries <= kFewQueries) {
      const auto heads = [&](int64_t begin, int64_t end) {
        const RowMemory m(*this);
        for (int64_t item = begin; item < end; ++item)
          for (int64_t i = 0; i < s_.queries; ++i) one_row(m, item / s_.heads, item % s_.heads, i);
      };
      parallel_for(s_.batch * s_.heads, grain_of(2 * s_.queries * s_.keys * s_.dim), heads);
      return;
    }
    const int64_t tiles = tiles_in(s_.queries, tile_.queries);
    const auto query_tiles = [&](int64_t begin, int64_t end) {
      Memory m(*this);
      for (int64_t item = begin; item < end; ++item) {
        const int64_t query = item % tiles * tile_.queries;
        query_tile(m, {item / tiles / s_.heads, item / tiles % s_.heads, query,
                       std::min(tile_.queries, s_.queries - query), 0, 0});
      }
    };
    parallel_for(s_.batch * s_.heads * tiles, grain_of(2 * tile_.queries * s_.keys * s_.dim),
                 query_tiles);
  }

 private:
  static constexpr int64_t kFewQueries = 2;

  struct Memory {
    A *packed, *scores, *sum_of_values, *max, *sum, *factor, *subtract, *keys, *values;
    explicit Memory(const Forward& f) {
      Scratch<A> none;
      place(f, none);
      scratch_ = Scratch<A>(none.used());
      place(f, scratch_);
    }

   private:
    void place(const Forward& f, Scratch<A>& from) {
      const int64_t lanes = f.products_.lanes(f.tile_.queries), wide = f.products_.padded(f.s_.dim);
      const int64_t staged =
          f.products_.template reads_in_place<T>(f.s_.dim) ? 0 : f.tile_.keys * wide;
      packed = from.take(f.products_.packed_size(f.tile_.queries, f.s_.dim));
      scores = from.take(f.tile_.keys * lanes);
      sum_of_values = from.take(f.tile_.queries * wide);
      max = from.take(lanes);
      sum = from.take(lanes);
      factor = from.take(lanes);
      subtract = from.take(lanes);
      keys = from.take(staged);
      values = from.take(staged);
    }
    Scratch<A> scratch_;
  };

  void query_tile(Memory& m, Tile t) {
    const int64_t lanes = products_.lanes(t.queries), wide = products_.padded(s_.dim);
    const int64_t kv_head = t.head / s_.group();
    products_.pack_lanes(rows_of<T>(q_, t.batch, t.head).from(t.query), t.queries, s_.dim, scale_,
                         m.packed);
    std::fill(m.max, m.max + lanes, -std::numeric_limits<A>::infinity());
    std::fill(m.sum, m.sum + lanes, A(0));
    const auto keys = rows_of<T>(k_, t.batch, kv_head), values = rows_of<T>(v_, t.batch, kv_head);
    const int64_t key_end = mask_.key_end(t.query + t.queries);
    bool first = true;
    for (t.key = 0; t.key < key_end; t.key += tile_.keys) {
      t.keys = std::min(tile_.keys, key_end - t.key);
      const auto cover = mask_.cover(t);
      if (cover == Mask<T>::Cover::kNone) continue;
      products_.scores(left_rows(keys.from(t.key), t.keys, m.keys), t.keys, m.packed, lanes, s_.dim,
                       m.scores);
      mask_.apply(t, cover, m.scores, lanes);
      const bool moved = push_tile(m, t.keys, lanes);
      if (moved) rescale(m, t.queries, wide);
      products_.over_keys(m.scores, lanes, t.keys, t.queries,
                          products_.staged(values.from(t.key), t.keys, s_.dim, m.values), s_.dim,
                          m.sum_of_values, !first);
      first = false;
    }
    if (first) std::fill(m.sum_of_values, m.sum_of_values + t.queries * wide, A(0));
    write(m, t, wide);
  }

  // As the left operand, rows need no padding.
  Rows<A> left_rows(Rows<T> rows, int64_t count, A* room) const {
    if constexpr (std::is_same_v<T, A>)
      return rows;
    else
      return products_.staged(rows, count, s_.dim, room);
  }

  // OnlineSoftmax, many queries side by side: scores become e^{score - max}; says whether a maximum
  // that was finite has moved, so that earlier sums have to be multiplied by m.factor.
  static bool push_tile(Memory& m, int64_t keys, int64_t lanes) {
    constexpr A kNone = -std::numeric_limits<A>::infinity();
    A *const max = m.max, *const factor = m.factor, *const sum = m.sum,
             *const subtract = m.subtract;
    std::copy(max, max + lanes, factor);
    int64_t j = 0;
    for (; j + 4 <= keys; j += 4) {
      const A* row = m.scores + j * lanes;
#pragma omp simd
      for (int64_t i = 0; i < lanes; ++i) {
        const A a = math::max(row[i], row[i + lanes]);
        const A b = math::max(row[i + 2 * lanes], row[i + 3 * lanes]);
        max[i] = math::max(max[i], math::max(a, b));
      }
    }
    for (; j < keys; ++j) {
      const A* row = m.scores + j * lanes;
#pragma omp simd
      for (int64_t i = 0; i < lanes; ++i) max[i] = math::max(max[i], row[i]);
    }
    bool moved = false;
    for (int64_t i = 0; i < lanes; ++i) {
      moved = moved || (factor[i] != max[i] && factor[i] != kNone);
      factor[i] = factor[i] == kNone ? A(1) : math::exp(factor[i] - max[i]);
      sum[i] *= factor[i];
      // Nothing visible so far: e^{-infinity - 0} is 0, where -infinity - (-infinity) would be NaN.
      subtract[i] = max[i] == kNone ? A(0) : max[i];
    }
    for (j = 0; j < keys; ++j) {
      A* row = m.scores + j * lanes;
#pragma omp simd
      for (int64_t i = 0; i < lanes; ++i) {
        const A p = math::exp(row[i] - subtract[i]);
        row[i] = p;
        sum[i] += p;
      }
    }
    return moved;
  }

  static void rescale(Memory& m, int64_t queries, int64_t wide) {
    for (int64_t i = 0; i < queries; ++i) {
      A* row = m.sum_of_values + i * wide;
      const A factor = m.factor[i];
      for (int64_t d = 0; d < wide; ++d) row[d] *= factor;
    }
  }

  void write(const Memory& m, const Tile& t, int64_t wide) {
    for (int64_t i = 0; i < t.queries; ++i)
      write_row(t.batch, t.head, t.query + i, m.sum_of_values + i * wide, m.max[i], m.sum[i]);
  }
  void write_row(int64_t b, int64_t h, int64_t i, const A* values, A max, A sum) {
    T* to = out_ + ((b * s_.queries + i) * s_.heads + h) * s_.dim;
    const A inverse = sum > A(0) ? A(1) / sum : (sum == A(0) ? A(0) : sum);  // NaN stays NaN
    for (int64_t d = 0; d < s_.dim; ++d) to[d] = static_cast<T>(values[d] * inverse);
    log_sum_[(b * s_.heads + h) * s_.queries + i] =
        sum == A(0) ? std::numeric_limits<A>::infinity() : max + math::log(sum);
  }

  // ---- One query
  // ---------------------------------------------------------------------------------

  struct RowMemory {
    A *query, *sum_of_values, *scores;
    explicit RowMemory(const Forward& f) : scratch_(2 * round_up(f.s_.dim, 16) + f.tile_.keys) {
      query = scratch_.take(f.s_.dim);
      sum_of_values = scratch_.take(f.s_.dim);
      scores = scratch_.take(f.tile_.keys);
    }

   private:
    Scratch<A> scratch_;
  };

  void one_row(const RowMemory& m, int64_t b, int64_t h, int64_t i) {
    const T* query = rows_of<T>(q_, b, h).row(i);
    for (int64_t d = 0; d < s_.dim; ++d) m.query[d] = static_cast<A>(query[d]) * scale_;
    std::fill(m.sum_of_values, m.sum_of_values + s_.dim, A(0));
    const auto keys = rows_of<T>(k_, b, h / s_.group()), values = rows_of<T>(v_, b, h / s_.group());
    OnlineSoftmax<A> total;
    const int64_t key_end = mask_.key_end(i + 1);
    Tile t{b, h, i, 1, 0, 0};
    for (; t.key < key_end; t.key += tile_.keys) {
      t.keys = std::min(tile_.keys, key_end - t.key);
      const auto cover = mask_.cover(t);
      if (cover == Mask<T>::Cover::kNone) continue;
      for (int64_t j = 0; j < t.keys; ++j) m.scores[j] = dot(m.query, keys.row(t.key + j), s_.dim);
      mask_.apply(t, cover, m.scores, 1);
      const A top = reduce_row<Max<A>>(t.keys, [&](int64_t j) { return m.scores[j]; }).value;
      if (top == -std::numeric_limits<A>::infinity()) continue;
      OnlineSoftmax<A> next = total;
      next.merge({top, A(0)});
      for (int64_t j = 0; j < t.keys; ++j) m.scores[j] = math::exp(m.scores[j] - next.max);
      next.sum += reduce_row<Sum<A>>(t.keys, [&](int64_t j) { return m.scores[j]; }).value;
      add_values(m, values.from(t.key), t.keys,
                 total.sum > A(0) ? math::exp(total.max - next.max) : A(0));
      total = next;
    }
    write_row(b, h, i, m.sum_of_values, total.max, total.sum);
  }

  static A dot(const A* query, const T* key, int64_t dim) {
    A sum = A(0);
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < dim; ++d) sum += query[d] * static_cast<A>(key[d]);
    return sum;
  }

  // sum_of_values = factor·sum_of_values + Σ_j p[j]·value[j], by blocks that fit the registers.
  void add_values(const RowMemory& m, Rows<T> values, int64_t keys, A factor) const {
    constexpr int64_t kBlock = 256 / static_cast<int64_t>(sizeof(A));
    for (int64_t begin = 0; begin < s_.dim; begin += kBlock) {
      const int64_t n = std::min(kBlock, s_.dim - begin);
      A* const to = m.sum_of_values + begin;
      A sum[kBlock] = {};
      for (int64_t j = 0; j < keys; ++j) {
        const T* row = values.row(j) + begin;
        const A p = m.scores[j];
        if (n == kBlock) {
#pragma omp simd
          for (int64_t d = 0; d < kBlock; ++d) sum[d] += p * static_cast<A>(row[d]);
        } else {
#pragma omp simd
          for (int64_t d = 0; d < n; ++d) sum[d] += p * static_cast<A>(row[d]);
        }
      }
      for (int64_t d = 0; d < n; ++d) to[d] = to[d] * factor + sum[d];
    }
  }

  Sizes s_;
  TileSizes tile_;
  Mask<T> mask_;
  Products<A> products_;
  const Tensor &q_, &k_, &v_;
  A scale_;
  T* out_;
  A* log_sum_;
};

}  // namespace
}  // namespace sdpa_detail

SdpaOut sdpa_forward(OnCpu, const Tensor& q_in, const Tensor& k_in, const Tensor& v_in,
                     const SdpaMask& mask, double scale) {
  using namespace sdpa_detail;
  const Tensor q = with_unit_rows(q_in), k = with_unit_rows(k_in), v = with_unit_rows(v_in);
  SdpaOut result;
  result.out = Tensor::empty(q.shape(), q.dtype(), kCpu, "sdpa");
  result.log_sum =
      Tensor::empty({q.dim(0), q.dim(2), q.dim(1)},
                    q.dtype() == DType::kF64 ? DType::kF64 : DType::kF32, kCpu, "sdpa");
  if (result.out.numel() == 0) return result;
  on_float("sdpa", q.dtype(), [&](auto tag) {
    Forward<typename decltype(tag)::type>(q, k, v, mask, scale, result).run();
  });
  return result;
}

SdpaOut sdpa_forward(const Tensor& q, const Tensor& k, const Tensor& v, const SdpaMask& mask,
                     double scale) {
  return on_device("sdpa", q.device(),
                     [&](auto device) { return sdpa_forward(device, q, k, v, mask, scale); });
}

}  // namespace ocellus
