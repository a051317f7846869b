// Attention, backward: one task is one (batch, key/value head) with all the query heads of its
// group. It walks over tiles of keys, and inside over heads and tiles of queries, so that dk and dv
// of a tile stay in the cache and everything is added up in one fixed order.
#include "engine/cpu/sdpa_tiles.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace sdpa_detail {
namespace {

TileSizes backward_tiles(const Sizes& s, bool causal) {
  const int64_t queries = causal && s.queries <= 128 ? 16 : 64;
  return {std::clamp<int64_t>(s.queries, 1, queries), std::clamp<int64_t>(s.keys, 1, 128)};
}

template <class T>
class Backward {
  using A = AccT<T>;
  using Cover = typename Mask<T>::Cover;

 public:
  Backward(const SdpaSaved& saved, const Tensor& dout, std::array<bool, 4> needs)
      : s_(sizes_of(saved.q, saved.k)),
        tile_(backward_tiles(s_, saved.mask.causal)),
        mask_(saved.mask, s_),
        q_(saved.q),
        k_(saved.k),
        v_(saved.v),
        dout_(dout),
        scale_(static_cast<A>(saved.scale)),
        needs_(needs),
        log_sum_(saved.log_sum.data<A>()) {
    find_delta(saved.out);
  }

  /// {dq, dk, dv}
  Tensors run() {
    Tensors result(3);
    const Tensor* inputs[] = {&q_, &k_, &v_};
    T* d[3] = {};
    for (int n = 0; n < 3; ++n)
      if (needs_[n]) {
        result[n] = Tensor::empty(inputs[n]->shape(), dtype_of<T>, kCpu, "sdpa");
        d[n] = result[n].mutable_data<T>("sdpa");
      }
    const int64_t cost = 5 * s_.group() * s_.queries * s_.keys * s_.dim;
    parallel_for(s_.batch * s_.kv_heads, grain_of(cost), [&](int64_t begin, int64_t end) {
      Memory m(*this);
      for (int64_t item = begin; item < end; ++item)
        kv_head(m, item / s_.kv_heads, item % s_.kv_heads, d[0], d[1], d[2]);
    });
    return result;
  }

  /// The gradient of the bias, at the bias's shape. One task writes one part of it: what the bias
  /// broadcasts is summed inside the task.
  Tensor bias_gradient(const Shape& shape) {
    Shape wide;
    for (int i = shape.rank(); i < 4; ++i) wide.push_back(1);
    for (const int64_t n : shape) wide.push_back(n);
    Tensor result = Tensor::zeros(wide, dtype_of<A>, kCpu, "sdpa");
    A* const to = result.mutable_data<A>("sdpa");
    const int64_t key_tiles = tiles_in(s_.keys, tile_.keys);
    const int64_t own_tiles = wide[3] == 1 ? 1 : key_tiles;
    const int64_t items = wide[0] * wide[1] * own_tiles;
    const int64_t cost = 2 * s_.batch * s_.heads * s_.queries * s_.keys * s_.dim;
    // Along a dimension that the bias broadcasts: everything; else the task's own part.
    const auto span = [](bool all, int64_t own, int64_t count) {
      return all ? std::pair{int64_t{0}, count} : std::pair{own, own + 1};
    };
    const auto task = [&](Memory& m, int64_t batch, int64_t head, int64_t key_tile) {
      const auto [b0, b1] = span(wide[0] == 1, batch, s_.batch);
      const auto [h0, h1] = span(wide[1] == 1, head, s_.heads);
      const auto [n0, n1] = span(wide[3] == 1, key_tile, key_tiles);
      A* const part = to + (batch * wide[1] + head) * wide[2] * wide[3];
      for (int64_t b = b0; b < b1; ++b)
        for (int64_t h = h0; h < h1; ++h)
          for (int64_t n = n0; n < n1; ++n)
            add_bias_gradient(m, {b, h, 0, 0, n * tile_.keys, 0}, part, wide[2] == 1 ? 0 : wide[3],
                              wide[3] == 1 ? 0 : 1);
    };
    const auto tasks = [&](int64_t begin, int64_t end) {
      Memory m(*this);
      for (int64_t item = begin; item < end; ++item)
        task(m, item / own_tiles / wide[1], item / own_tiles % wide[1], item % own_tiles);
    };
    parallel_for(items, grain_of(cost / std::max<int64_t>(items, 1)), tasks);
    return result.view_as(shape).to(dtype_of<T>);
  }

 private:
  struct Memory {
    A *packed_query, *packed_dout, *p, *ds, *cap_slopes, *log_sum, *delta, *dquery, *dkeys, *dvalues;
    A *queries, *douts, *keys, *values;  // staged rows
    explicit Memory(const Backward& f) {
      Scratch<A> none;
      place(f, none);
      scratch_ = Scratch<A>(none.used());
      place(f, scratch_);
    }

   private:
    void place(const Backward& f, Scratch<A>& from) {
      const int64_t lanes = f.products_.lanes(f.tile_.queries), wide = f.products_.padded(f.s_.dim);
      const int64_t packed = f.products_.packed_size(f.tile_.queries, f.s_.dim);
      const bool in_place = f.products_.template reads_in_place<T>(f.s_.dim);
      packed_query = from.take(packed);
      packed_dout = from.take(packed);
      p = from.take(f.tile_.keys * lanes);
      ds = from.take(f.tile_.keys * lanes);
      cap_slopes = from.take(f.mask_.caps() ? f.tile_.keys * lanes : 0);
      log_sum = from.take(lanes);
      delta = from.take(lanes);
      dkeys = from.take(f.tile_.keys * wide);
      dvalues = from.take(f.tile_.keys * wide);
      dquery = from.take(f.s_.group() * f.s_.queries * wide);
      queries = from.take(in_place ? 0 : f.tile_.queries * wide);
      douts = from.take(in_place ? 0 : f.tile_.queries * wide);
      keys = from.take(in_place ? 0 : f.tile_.keys * wide);
      values = from.take(in_place ? 0 : f.tile_.keys * wide);
    }
    Scratch<A> scratch_;
  };

  // δ[b, h, i] = Σ_d dout·out
  void find_delta(const Tensor& out) {
    delta_ = Tensor::empty({s_.batch, s_.heads, s_.queries}, dtype_of<A>, kCpu, "sdpa");
    A* const delta = delta_.mutable_data<A>("sdpa");
    const auto heads = [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const auto y = rows_of<T>(out, item / s_.heads, item % s_.heads);
        const auto dy = rows_of<T>(dout_, item / s_.heads, item % s_.heads);
        for (int64_t i = 0; i < s_.queries; ++i) {
          const T *a = y.row(i), *b = dy.row(i);
          A sum = A(0);
#pragma omp simd reduction(+ : sum)
          for (int64_t d = 0; d < s_.dim; ++d) sum += static_cast<A>(a[d]) * static_cast<A>(b[d]);
          delta[item * s_.queries + i] = sum;
        }
      }
    };
    parallel_for(s_.batch * s_.heads, grain_of(s_.queries * s_.dim), heads);
  }

  void kv_head(Memory& m, int64_t b, int64_t kv, T* dq, T* dk, T* dv) {
    const int64_t wide = products_.padded(s_.dim), group = s_.group();
    if (needs_[0]) std::fill(m.dquery, m.dquery + group * s_.queries * wide, A(0));
    for (int64_t key = 0; key < s_.keys; key += tile_.keys) {
      const int64_t keys = std::min(tile_.keys, s_.keys - key);
      std::fill(m.dkeys, m.dkeys + keys * wide, A(0));
      std::fill(m.dvalues, m.dvalues + keys * wide, A(0));
      const auto key_rows = products_.staged(rows_of<T>(k_, b, kv).from(key), keys, s_.dim, m.keys);
      const auto value_rows =
          products_.staged(rows_of<T>(v_, b, kv).from(key), keys, s_.dim, m.values);
      for (int64_t g = 0; g < group; ++g) {
        Tile t{b, kv * group + g, 0, 0, key, keys};
        for (; t.query < s_.queries; t.query += tile_.queries)
          query_tile(m, t, key_rows, value_rows, m.dquery + (g * s_.queries + t.query) * wide);
      }
      if (needs_[1])
        write(m.dkeys, keys, scale_, dk, (b * s_.keys + key) * s_.kv_heads + kv, s_.kv_heads);
      if (needs_[2])
        write(m.dvalues, keys, A(1), dv, (b * s_.keys + key) * s_.kv_heads + kv, s_.kv_heads);
    }
    if (!needs_[0]) return;
    for (int64_t g = 0; g < group; ++g)
      write(m.dquery + g * s_.queries * wide, s_.queries, scale_, dq,
            b * s_.queries * s_.heads + kv * group + g, s_.heads);
  }

  // The share of one tile in dq, dk and dv; t.queries is set here.
  void query_tile(Memory& m, Tile t, Rows<A> keys, Rows<A> values, A* dquery) {
    if (!shrink(t)) return;
    const int64_t lanes = products_.lanes(t.queries);
    const bool needs_ds = needs_[0] || needs_[1];
    probabilities(m, t, keys, lanes);
    const auto dout = rows_of<T>(dout_, t.batch, t.head).from(t.query);
    if (needs_[2])
      products_.over_queries(m.p, lanes, t.keys, t.queries,
                             products_.staged(dout, t.queries, s_.dim, m.douts), s_.dim, m.dvalues,
                             true);
    if (!needs_ds) return;
    score_gradients(m, t, values, lanes);
    if (mask_.caps())
      for (int64_t i = 0; i < t.keys * lanes; ++i) m.ds[i] *= m.cap_slopes[i];
    if (needs_[0]) products_.over_keys(m.ds, lanes, t.keys, t.queries, keys, s_.dim, dquery, true);
    if (needs_[1])
      products_.over_queries(m.ds, lanes, t.keys, t.queries,
                             products_.staged(rows_of<T>(q_, t.batch, t.head).from(t.query),
                                              t.queries, s_.dim, m.queries),
                             s_.dim, m.dkeys, true);
  }

  // Cuts the tile at the last query, and at the last key that it sees; false if it sees none.
  bool shrink(Tile& t) const {
    t.queries = std::min(tile_.queries, s_.queries - t.query);
    t.keys = std::min(t.keys, mask_.key_end(t.query + t.queries) - t.key);
    return t.keys > 0 && mask_.cover(t) != Cover::kNone;
  }

  // m.p = e^{score - log_sum}; lanes behind the last query are 0.
  void probabilities(Memory& m, const Tile& t, Rows<A> keys, int64_t lanes) {
    products_.pack_lanes(rows_of<T>(q_, t.batch, t.head).from(t.query), t.queries, s_.dim, scale_,
                         m.packed_query);
    products_.scores(keys, t.keys, m.packed_query, lanes, s_.dim, m.p);
    if (mask_.caps()) mask_.cap_slopes(m.p, t.keys * lanes, m.cap_slopes);
    mask_.apply(t, mask_.cover(t), m.p, lanes);
    const A* log_sum = log_sum_ + (t.batch * s_.heads + t.head) * s_.queries + t.query;
    std::copy(log_sum, log_sum + t.queries, m.log_sum);
    std::fill(m.log_sum + t.queries, m.log_sum + lanes, std::numeric_limits<A>::infinity());
    for (int64_t j = 0; j < t.keys; ++j) {
      A* row = m.p + j * lanes;
#pragma omp simd
      for (int64_t i = 0; i < lanes; ++i) row[i] = math::exp(row[i] - m.log_sum[i]);
    }
  }

  // m.ds = p·(dout·vᵀ - δ)
  void score_gradients(Memory& m, const Tile& t, Rows<A> values, int64_t lanes) {
    products_.pack_lanes(rows_of<T>(dout_, t.batch, t.head).from(t.query), t.queries, s_.dim, A(1),
                         m.packed_dout);
    products_.scores(values, t.keys, m.packed_dout, lanes, s_.dim, m.ds);
    const A* delta =
        delta_.template data<A>() + (t.batch * s_.heads + t.head) * s_.queries + t.query;
    std::copy(delta, delta + t.queries, m.delta);
    std::fill(m.delta + t.queries, m.delta + lanes, A(0));
    for (int64_t j = 0; j < t.keys; ++j) {
      const A* p = m.p + j * lanes;
      A* row = m.ds + j * lanes;
#pragma omp simd
      for (int64_t i = 0; i < lanes; ++i) row[i] = p[i] * (row[i] - m.delta[i]);
    }
  }

  void add_bias_gradient(Memory& m, Tile t, A* to, int64_t query_step, int64_t key_step) {
    const int64_t keys = std::min(tile_.keys, s_.keys - t.key), kv = t.head / s_.group();
    const auto key_rows =
        products_.staged(rows_of<T>(k_, t.batch, kv).from(t.key), keys, s_.dim, m.keys);
    const auto value_rows =
        products_.staged(rows_of<T>(v_, t.batch, kv).from(t.key), keys, s_.dim, m.values);
    for (; t.query < s_.queries; t.query += tile_.queries) {
      t.keys = keys;
      if (!shrink(t)) continue;
      const int64_t lanes = products_.lanes(t.queries);
      probabilities(m, t, key_rows, lanes);
      score_gradients(m, t, value_rows, lanes);
      for (int64_t i = 0; i < t.queries; ++i)
        for (int64_t j = 0; j < t.keys; ++j)
          to[(t.query + i) * query_step + (t.key + j) * key_step] += m.ds[j * lanes + i];
    }
  }

  // to[first + n·step] = factor·rows[n], rows of `dim`.
  void write(const A* rows, int64_t count, A factor, T* to, int64_t first, int64_t step) const {
    const int64_t wide = products_.padded(s_.dim);
    for (int64_t n = 0; n < count; ++n) {
      const A* from = rows + n * wide;
      T* row = to + (first + n * step) * s_.dim;
      for (int64_t d = 0; d < s_.dim; ++d) row[d] = static_cast<T>(factor * from[d]);
    }
  }

  Sizes s_;
  TileSizes tile_;
  Mask<T> mask_;
  Products<A> products_;
  const Tensor &q_, &k_, &v_, &dout_;
  A scale_;
  std::array<bool, 4> needs_;
  const A* log_sum_;
  Tensor delta_;
};

}  // namespace
}  // namespace sdpa_detail

Tensors sdpa_backward(OnCpu, const SdpaSaved& saved_in, const Tensor& dout_in,
                      std::array<bool, 4> needs) {
  using namespace sdpa_detail;
  SdpaSaved saved = saved_in;
  for (Tensor* x : {&saved.q, &saved.k, &saved.v, &saved.out}) *x = with_unit_rows(*x);
  const Tensor dout = with_unit_rows(dout_in);
  Tensors gradients(4);
  on_float("sdpa", saved.q.dtype(), [&](auto tag) {
    Backward<typename decltype(tag)::type> backward(saved, dout, needs);
    if (needs[0] || needs[1] || needs[2]) {
      Tensors d = backward.run();
      std::move(d.begin(), d.end(), gradients.begin());
    }
    if (needs[3]) gradients[3] = backward.bias_gradient(saved.mask.bias.shape());
  });
  return gradients;
}

Tensors sdpa_backward(const SdpaSaved& saved, const Tensor& dout, std::array<bool, 4> needs) {
  return on_device("sdpa", dout.device(),
                     [&](auto device) { return sdpa_backward(device, saved, dout, needs); });
}

}  // namespace ocellus
