// Keys and values of past tokens, one buffer per layer, written in place.
#pragma once
#include <vector>

#include "engine/tensor.h"

namespace ocellus {

/// KvCache — per layer two buffers [B, K, capacity, D]; `append` adds T tokens to one layer. It refuses
/// to run while a tape records: past keys inside a recorded pass are Variables, not this cache.
class KvCache {
 public:
  KvCache(int64_t layers, int64_t batch, int64_t kv_heads, int64_t capacity, int64_t head_dim,
          DType dtype);

  /// Writes k and v [B, T, K, D] behind what layer `layer` holds. Throws ShapeError when full.
  void append(int64_t layer, const Tensor& k, const Tensor& v);
  /// Keys (values) so far, as a view [B, t, K, D].
  Tensor keys(int64_t layer) const;
  Tensor values(int64_t layer) const;
  /// Tokens that layer 0 holds: the position of the next one.
  int64_t length() const { return lengths_.empty() ? 0 : lengths_[0]; }
  int64_t capacity() const { return capacity_; }
  int64_t batch() const { return batch_; }
  /// Segment ids of cached keys [B, capacity] i32, for batches with padding; 0 attends, -1 does not.
  Tensor& segments() { return segments_; }

 private:
  int64_t batch_, capacity_;
  std::vector<Tensor> keys_, values_;
  std::vector<int64_t> lengths_;
  Tensor segments_;
};

}  // namespace ocellus
