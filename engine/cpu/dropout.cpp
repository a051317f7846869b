#include "engine/kernels/dropout.h"

#include <algorithm>

#include "engine/cpu/strided_loop.h"

namespace ocellus {
namespace {

// Philox blocks computed together, a vector lane each.
constexpr int64_t kBlocks = 32;
constexpr int64_t kWords = 4 * kBlocks;

// words[4·b + w] = key.block(first + b).word[w].
void draw(RngKey key, uint64_t first, uint32_t (&words)[kWords]) {
  uint32_t lane[4][kBlocks];
#pragma omp simd
  for (int64_t b = 0; b < kBlocks; ++b) {
    const Philox4 four = key.block(first + static_cast<uint64_t>(b));
    for (int w = 0; w < 4; ++w) lane[w][b] = four.word[w];
  }
  for (int64_t b = 0; b < kBlocks; ++b)
    for (int w = 0; w < 4; ++w) words[4 * b + w] = lane[w][b];
}

}  // namespace

Tensor dropout_forward(OnCpu, const Tensor& x_any, double p, RngKey key) {
  const Tensor x = x_any.contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), kCpu, "dropout");
  const uint32_t threshold = dropout_threshold(p);
  on_float("dropout", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    T* to = y.mutable_data<T>("dropout");
    const A scale = static_cast<A>(1 / (1 - p));
    static_assert(kChunkElements % kWords == 0);
    parallel_for(x.numel(), kChunkElements, [&](int64_t begin, int64_t end) {
      uint32_t words[kWords];
      for (int64_t i = begin; i < end; i += kWords) {
        draw(key, static_cast<uint64_t>(i / 4), words);
        const int64_t n = std::min(kWords, end - i);
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) {
          // A choice, not a product with 0: a dropped NaN or infinity gives 0.
          const A value = static_cast<A>(from[i + j]);
          to[i + j] = static_cast<T>(words[j] >= threshold ? value * scale : A(0));
        }
      }
    });
  });
  return y;
}

}  // namespace ocellus
