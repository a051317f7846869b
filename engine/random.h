// Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy
// as 1, 2, 3"). Element i of a random op is a function of (seed, offset, i) and of nothing else: not of
// threads, blocks or device.
#pragma once
#include <cmath>
#include <cstdint>

#include "engine/scalar/hd.h"

namespace ocellus {

struct Philox4 { uint32_t word[4]; };

/// philox4x32 — ten rounds on counter and key.
HD inline Philox4 philox4x32(Philox4 counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter.word[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// RngKey — what one random op needs: stream (seed) and place in it (offset).
struct RngKey {
  uint64_t seed = 0, offset = 0;
  /// Four words for elements 4·block … 4·block + 3: counter (block, offset), key seed.
  HD Philox4 block(uint64_t block) const {
    return philox4x32({{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                        static_cast<uint32_t>(offset), static_cast<uint32_t>(offset >> 32)}},
                      static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  }
  HD uint32_t word(uint64_t i) const { return block(i / 4).word[i % 4]; }
};

/// Uniform in [0, 1) with 24 bits: exact on every device.
HD inline float uniform01(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

/// Generator — hands out keys; its two integers are all the state a checkpoint stores.
class Generator {
 public:
  explicit Generator(uint64_t seed = 0, uint64_t offset = 0) : seed_(seed), offset_(offset) {}
  RngKey next() { return {seed_, offset_++}; }
  uint64_t seed() const { return seed_; }
  uint64_t offset() const { return offset_; }
  void set(uint64_t seed, uint64_t offset) { seed_ = seed, offset_ = offset; }

 private:
  uint64_t seed_, offset_;
};

/// Standard normals 4·block … 4·block + 3 of a key: Box–Muller in double, each pair of 32-bit words
/// giving its cosine and its sine.
struct Normal4 { double value[4]; };
inline Normal4 normals_of(RngKey key, uint64_t block) {
  const Philox4 four = key.block(block);
  Normal4 out;
  for (int pair = 0; pair < 4; pair += 2) {
    const double u = (static_cast<double>(four.word[pair]) + 1.0) * 0x1p-32;  // (0, 1]
    const double radius = std::sqrt(-2.0 * std::log(u));
    const double angle = 6.283185307179586 * 0x1p-32 * static_cast<double>(four.word[pair + 1]);
    out.value[pair] = radius * std::cos(angle);
    out.value[pair + 1] = radius * std::sin(angle);
  }
  return out;
}
inline double normal_at(RngKey key, uint64_t i) { return normals_of(key, i / 4).value[i % 4]; }

/// The thread's generator, used by dropout; set by the trainer and by tests.
Generator& default_generator();

}  // namespace ocellus
