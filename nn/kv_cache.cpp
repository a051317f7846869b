#include "nn/kv_cache.h"

#include "autograd/tape.h"
#include "engine/kernels/copy.h"

namespace ocellus {

KvCache::KvCache(int64_t layers, int64_t batch, int64_t kv_heads, int64_t capacity, int64_t head_dim,
                 DType dtype)
    : batch_(batch), capacity_(capacity), lengths_(static_cast<size_t>(layers), 0) {
  for (int64_t i = 0; i < layers; ++i) {
    keys_.push_back(Tensor::empty({batch, kv_heads, capacity, head_dim}, dtype, kCpu, "kv_cache"));
    values_.push_back(Tensor::empty({batch, kv_heads, capacity, head_dim}, dtype, kCpu, "kv_cache"));
  }
  segments_ = Tensor::zeros({batch, capacity}, DType::kI32);
}

void KvCache::append(int64_t layer, const Tensor& k, const Tensor& v) {
  check<AutogradError>(!Tape::active(), "kv_cache: append writes in place and cannot run while a tape records");
  const int64_t begin = lengths_[layer], end = begin + k.dim(1);
  check<ShapeError>(end <= capacity_, "kv_cache: {} tokens do not fit a capacity of {}", end, capacity_);
  Tensor key_slot = keys_[layer].sliced(2, begin, end), value_slot = values_[layer].sliced(2, begin, end);
  copy(k.transposed(1, 2), key_slot);
  copy(v.transposed(1, 2), value_slot);
  lengths_[layer] = end;
}

Tensor KvCache::keys(int64_t layer) const {
  return keys_[layer].sliced(2, 0, lengths_[layer]).transposed(1, 2);
}
Tensor KvCache::values(int64_t layer) const {
  return values_[layer].sliced(2, 0, lengths_[layer]).transposed(1, 2);
}

}  // namespace ocellus
