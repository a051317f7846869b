// Keys and values of past tokens, one buffer per layer, written in place.
#pragma once
#include <vector>

#include "engine/tensor.h"

namespace ocellus {

/// KvCache — per layer two buffers [B, K, slots, D]; `append` adds T tokens to one layer. It
/// refuses to run while a tape records: past keys inside a recorded pass are Variables, not this
/// cache. A layer with a window w keeps no more than its last tokens, in 2·w slots.
class KvCache {
 public:
  /// `windows`: per layer, 0 or a missing entry for a layer that keeps all.
  KvCache(int64_t layers, int64_t batch, int64_t kv_heads, int64_t capacity, int64_t head_dim,
          DType dtype, const std::vector<int64_t>& windows = {}, Device device = kCpu);

  struct Past {
    Tensor keys, values;  // [B, t, K, D], views where possible
  };
  /// Writes k and v [B, T, K, D] behind what layer `layer` holds, and returns what the new tokens
  /// may attend: all of it, or with a window w at least the w - 1 tokens before them and
  /// themselves. Throws ShapeError when full.
  Past append(int64_t layer, const Tensor& k, const Tensor& v);
  /// Keys (values) that the layer holds, as a view [B, t, K, D].
  Tensor keys(int64_t layer) const;
  Tensor values(int64_t layer) const;
  /// Tokens that a layer has been given: the position of the next one.
  int64_t length(int64_t layer = 0) const { return layers_.empty() ? 0 : layers_[layer].given; }
  int64_t capacity() const { return capacity_; }
  int64_t batch() const { return batch_; }
  /// Segment ids of all tokens [B, capacity] i32, for batches with padding; 0 attends, -1 does
  /// not. On the host, whose callers write it.
  Tensor& segments() { return segments_; }
  /// Row i becomes a copy of row rows[i]: what beam search continues. The batch may grow or shrink.
  void reorder(const std::vector<int64_t>& rows);

 private:
  struct Layer {
    Tensor keys, values;
    int64_t window = 0, held = 0, given = 0;
  };
  int64_t batch_, capacity_;
  std::vector<Layer> layers_;
  Tensor segments_;
};

}  // namespace ocellus
