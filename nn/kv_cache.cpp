#include "nn/kv_cache.h"

#include <algorithm>

#include "autograd/tape.h"
#include "engine/kernels/copy.h"

namespace ocellus {
namespace {

// [B, K, slots, D] → the first `count` tokens as [B, t, K, D].
Tensor tokens_of(const Tensor& buffer, int64_t count) {
  return buffer.sliced(2, 0, count).transposed(1, 2);
}

void write(Tensor& buffer, int64_t begin, const Tensor& tokens) {
  Tensor slot = buffer.sliced(2, begin, begin + tokens.dim(1));
  copy(tokens.transposed(1, 2), slot);
}

// The last `count` of the tokens that a buffer holds, moved to its front.
void keep_last(Tensor& buffer, int64_t held, int64_t count) {
  const Tensor last = buffer.sliced(2, held - count, held).clone();
  Tensor front = buffer.sliced(2, 0, count);
  copy(last, front);
}

// Held tokens followed by new ones, as a tensor of its own; [B, t, K, D].
Tensor joined(const Tensor& buffer, int64_t held, const Tensor& tokens) {
  if (held == 0) return tokens;
  Tensor all = Tensor::empty({tokens.dim(0), held + tokens.dim(1), tokens.dim(2), tokens.dim(3)},
                             buffer.dtype(), buffer.device(), "kv_cache");
  Tensor front = all.sliced(1, 0, held), back = all.sliced(1, held, all.dim(1));
  copy(tokens_of(buffer, held), front);
  copy(tokens, back);
  return all;
}

Tensor rows_of(const Tensor& x, const std::vector<int64_t>& rows) {
  Shape shape = x.shape();
  Tensor y =
      Tensor::empty(shape.with(0, static_cast<int64_t>(rows.size())), x.dtype(), x.device(), "kv_cache");
  for (size_t i = 0; i < rows.size(); ++i) {
    Tensor to = y.sliced(0, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1);
    copy(x.sliced(0, rows[i], rows[i] + 1), to);
  }
  return y;
}

}  // namespace

KvCache::KvCache(int64_t layers, int64_t batch, int64_t kv_heads, int64_t capacity,
                 int64_t head_dim, DType dtype, const std::vector<int64_t>& windows, Device device)
    : batch_(batch), capacity_(capacity), layers_(static_cast<size_t>(layers)) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    layer.window = i < windows.size() ? windows[i] : 0;
    const int64_t slots =
        layer.window > 0 && layer.window < capacity / 2 ? 2 * layer.window : capacity;
    if (slots == capacity) layer.window = 0;
    layer.keys = Tensor::empty({batch, kv_heads, slots, head_dim}, dtype, device, "kv_cache");
    layer.values = Tensor::empty({batch, kv_heads, slots, head_dim}, dtype, device, "kv_cache");
  }
  segments_ = Tensor::zeros({batch, capacity}, DType::kI32);
}

KvCache::Past KvCache::append(int64_t index, const Tensor& k, const Tensor& v) {
  check<AutogradError>(!Tape::active(),
                       "kv_cache: append writes in place and cannot run while a tape records");
  Layer& layer = layers_[index];
  const int64_t tokens = k.dim(1), slots = layer.keys.dim(2);
  check<ShapeError>(layer.given + tokens <= capacity_,
                    "kv_cache: {} tokens do not fit a capacity of {}", layer.given + tokens,
                    capacity_);
  layer.given += tokens;
  if (layer.held + tokens > slots) {
    const int64_t kept = std::min(layer.held, layer.window - 1);
    keep_last(layer.keys, layer.held, kept);
    keep_last(layer.values, layer.held, kept);
    layer.held = kept;
  }
  if (layer.held + tokens > slots) {  // a prompt longer than the buffer: its end is kept
    const Past all{joined(layer.keys, layer.held, k), joined(layer.values, layer.held, v)};
    layer.held = layer.window - 1;
    write(layer.keys, 0, k.sliced(1, tokens - layer.held, tokens));
    write(layer.values, 0, v.sliced(1, tokens - layer.held, tokens));
    return all;
  }
  write(layer.keys, layer.held, k);
  write(layer.values, layer.held, v);
  layer.held += tokens;
  return {keys(index), values(index)};
}

Tensor KvCache::keys(int64_t layer) const {
  return tokens_of(layers_[layer].keys, layers_[layer].held);
}
Tensor KvCache::values(int64_t layer) const {
  return tokens_of(layers_[layer].values, layers_[layer].held);
}

void KvCache::reorder(const std::vector<int64_t>& rows) {
  for (int64_t row : rows)
    check<ShapeError>(row >= 0 && row < batch_, "kv_cache: reorder: there is no row {} of {}", row,
                      batch_);
  for (Layer& layer : layers_) {
    layer.keys = rows_of(layer.keys, rows);
    layer.values = rows_of(layer.values, rows);
  }
  segments_ = rows_of(segments_, rows);
  batch_ = static_cast<int64_t>(rows.size());
}

}  // namespace ocellus
