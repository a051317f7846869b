// What the attention kernels share: tiles of rows in shared memory, the mask of a score, sums over
// a warp. f32 arithmetic on the CUDA cores, any head size up to 256.
#pragma once
#include <limits>

#include "cuda/device/launch.h"
#include "cuda/device/warp.cuh"
#include "engine/dtype.h"
#include "engine/kernels/sdpa.h"
#include "engine/scalar/math.h"

namespace ocellus::sdpa_cuda {

constexpr int kTile = 32;                           // queries of a tile, and keys
constexpr int kWarps = 4, kOwned = kTile / kWarps;  // rows of a tile that a warp owns
constexpr int kThreads = kWarps * kWarp;
constexpr int kMostColumns = 256;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

/// Rows of one tensor [B, T, H, D] with unit stride in D.
template <class T>
struct Rows {
  const T* data;
  int64_t batch_step, token_step, head_step;
  explicit Rows(const Tensor& x)
      : data(x.data<T>()),
        batch_step(x.strides()[0]),
        token_step(x.strides()[1]),
        head_step(x.strides()[2]) {}
  __device__ const T* row(int b, int64_t t, int h) const {
    return data + b * batch_step + t * token_step + h * head_step;
  }
};

struct Sizes {
  int heads, group, dim;  // `group` query heads share a key head
  int64_t queries, keys;
};

/// SdpaMask on the device.
template <class T>
struct Mask {
  SdpaBand band;
  const int32_t *q_segment, *k_segment;  // null: none
  const T* bias;
  int64_t bias_step[4];
  const float* slopes;
  float softcap;  // 0: none

  /// tanh(score/softcap): the capped score is softcap times that, and its derivative 1 - tanh².
  __device__ float capped(float score) const { return math::tanh(score / softcap); }

  /// The score of query i and key j, capped, with what is added to it; -infinity where the mask
  /// hides it.
  __device__ float apply(const Sizes& s, int b, int h, int64_t i, int64_t j, float score) const {
    if (i >= s.queries || j >= s.keys) return kHidden;
    if (i < band.first_query(j) || i >= band.end_query(j)) return kHidden;
    if (q_segment) {
      const int32_t id = k_segment[b * s.keys + j];
      if (id < 0 || q_segment[b * s.queries + i] != id) return kHidden;
    }
    if (softcap > 0) score = softcap * capped(score);
    if (bias)
      score += static_cast<float>(
          bias[b * bias_step[0] + h * bias_step[1] + i * bias_step[2] + j * bias_step[3]]);
    if (slopes) score += slopes[h] * static_cast<float>(j - i - band.shift);
    return score;
  }

  /// True if no query in [first, end) sees a key in [key, key_end).
  __device__ bool hides_keys(int64_t first, int64_t end, int64_t key, int64_t key_end) const {
    if (key < band.prefix) return false;
    if (band.causal && key > end - 1 + band.shift) return true;
    return band.window > 0 && key_end - 1 <= first + band.shift - band.window;
  }
  __device__ bool hides_tile(int64_t first, int64_t end, int64_t key) const {
    return hides_keys(first, end, key, key + kTile);
  }
};

/// The tensors behind a Mask, kept alive until the kernels have been launched. Segments and slopes
/// may lie on the host.
struct MaskTensors {
  Tensor q_segment, k_segment, bias, slopes;
  SdpaBand band;
  float softcap;
  MaskTensors(OnCuda device, const SdpaMask& mask, const Shape& scores)
      : band{scores[3] - scores[2], mask.prefix, mask.window, mask.causal},
        softcap(static_cast<float>(mask.softcap)) {
    check_same_device("sdpa", device, {&mask.bias});
    if (mask.q_segment.defined()) {
      q_segment = mask.q_segment.to(DType::kI32).to(device_of(device)).contiguous();
      k_segment = mask.k_segment.to(DType::kI32).to(device_of(device)).contiguous();
    }
    if (mask.bias.defined()) bias = mask.bias.broadcast_to(scores);
    if (mask.slopes.defined())
      slopes = mask.slopes.to(DType::kF32).to(device_of(device)).contiguous();
  }
  template <class T>
  Mask<T> pointers() const {
    Mask<T> m{band, nullptr, nullptr, nullptr, {}, nullptr, softcap};
    if (q_segment.defined()) {
      m.q_segment = q_segment.data<int32_t>();
      m.k_segment = k_segment.data<int32_t>();
    }
    if (bias.defined()) {
      m.bias = bias.data<T>();
      for (int i = 0; i < 4; ++i) m.bias_step[i] = bias.strides()[i];
    }
    if (slopes.defined()) m.slopes = slopes.data<float>();
    return m;
  }
};

/// A tile in shared memory: kTile rows of D floats, one apart so that a column hits all banks.
struct TileView {
  float* data;
  int step;
  __device__ float* row(int i) const { return data + i * step; }
};
inline size_t tile_bytes(int dim) { return sizeof(float) * static_cast<size_t>(kTile * (dim + 1)); }

/// Rows first … first + kTile - 1 of a head into a tile, zeros beyond `count` rows.
template <class T>
__device__ void load_tile(const TileView& to, const Rows<T>& from, int b, int h, int64_t first,
                          int64_t count, int dim, float scale = 1) {
  for (int at = static_cast<int>(threadIdx.x); at < kTile * dim; at += kThreads) {
    const int i = at / dim, d = at % dim;
    to.row(i)[d] =
        first + i < count ? scale * static_cast<float>(from.row(b, first + i, h)[d]) : 0.0f;
  }
}

__device__ inline float dot(const float* a, const float* b, int dim) {
  float sum = 0;
  for (int d = 0; d < dim; ++d) sum += a[d] * b[d];
  return sum;
}

/// Max and sum over the lanes of a warp, in every lane.
__device__ inline float warp_max(float value) {
#pragma unroll
  for (int n = kWarp / 2; n > 0; n /= 2)
    value = math::max(value, __shfl_xor_sync(kAllLanes, value, n));
  return value;
}
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int n = kWarp / 2; n > 0; n /= 2) value += __shfl_xor_sync(kAllLanes, value, n);
  return value;
}

/// sums[c] += Σ over the rows of a tile of weights[row]·tile[row][lane + 32·c].
template <int kColumns>
__device__ void add_rows(float (&sums)[kColumns], const float* weights, const TileView& tile,
                         int dim) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int d = lane + c * kWarp;
    if (d >= dim) continue;
    for (int row = 0; row < kTile; ++row) sums[c] += weights[row] * tile.row(row)[d];
  }
}

/// f(IntTag<columns a lane>) for a head size.
template <int n>
struct IntTag {
  static constexpr int value = n;
};
template <class F>
void on_columns(int64_t dim, F&& f) {
  check<ShapeError>(dim <= kMostColumns, "sdpa: the head size must be at most {} on CUDA, got {}",
                    kMostColumns, dim);
  if (dim <= 64) return f(IntTag<2>{});
  if (dim <= 128) return f(IntTag<4>{});
  f(IntTag<8>{});
}

inline Tensor with_unit_rows(const Tensor& x) {
  return x.dim(-1) == 1 || x.strides().dim(-1) == 1 ? x : x.contiguous();
}

inline Sizes sizes_of(const Tensor& q, const Tensor& k) {
  return {static_cast<int>(q.dim(2)), static_cast<int>(q.dim(2) / k.dim(2)),
          static_cast<int>(q.dim(3)), q.dim(1), k.dim(1)};
}

/// A block a tile of rows (`rows` of them), a head and a sample.
inline LaunchShape shape_of(int64_t rows, int64_t heads, int64_t batch, size_t shared_bytes) {
  LaunchShape shape;
  shape.grid = static_cast<unsigned>((rows + kTile - 1) / kTile);
  shape.grid_y = static_cast<unsigned>(heads);
  shape.grid_z = static_cast<unsigned>(batch);
  shape.threads = kThreads;
  shape.shared_bytes = shared_bytes;
  return shape;
}

}  // namespace ocellus::sdpa_cuda
