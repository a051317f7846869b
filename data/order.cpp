#include "data/order.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "engine/check.h"

namespace ocellus {
namespace {

constexpr uint64_t kMixtureBlock = 65536;
constexpr int kRounds = 8;

// Mixes all bits of x: the finalizer of splitmix64 (Steele, Lea, Flood 2014).
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t key_of(uint64_t seed, uint64_t a, uint64_t b) {
  return mixed(mixed(mixed(seed + 0x9e3779b97f4a7c15u) ^ a) + 0x9e3779b97f4a7c15u * b);
}

// A Feistel network on `bits` bits: each round replaces the left part by the right, and the right
// by the left XOR a keyed hash. With an odd number of bits the two parts change their widths every
// round.
uint64_t feistel(uint64_t key, uint64_t x, int bits) {
  int left_bits = bits / 2, right_bits = bits - left_bits;
  uint64_t left = x >> right_bits, right = x & ((uint64_t{1} << right_bits) - 1);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t hash =
        mixed(right + key + 0x9e3779b97f4a7c15u * static_cast<uint64_t>(round + 1));
    const uint64_t next = left ^ (hash >> (64 - left_bits));
    left = right;
    right = next;
    std::swap(left_bits, right_bits);
  }
  return left << right_bits | right;
}

std::string name_of(const std::vector<std::string>& names, size_t i) {
  return i < names.size() ? names[i] : fmt::format("source {}", i);
}

}  // namespace

uint64_t permuted(uint64_t seed, uint64_t epoch, uint64_t position, uint64_t n) {
  check<UsageError>(position < n, "permuted: position {} is not below {}", position, n);
  const int bits = std::max(2, 64 - std::countl_zero(n - 1));
  const uint64_t key = key_of(seed, epoch, n);
  do position = feistel(key, position, bits);
  while (position >= n);  // the walk closes: the network permutes, and the start lies below n
  return position;
}

Mixture::Mixture(uint64_t seed, std::vector<uint64_t> sizes, const std::vector<double>& weights,
                 const std::vector<std::string>& names)
    : seed_(seed), sizes_(std::move(sizes)) {
  check<UsageError>(
      !sizes_.empty() && sizes_.size() == weights.size() && sizes_.size() <= kMixtureBlock,
      "mixture: needs a weight for each of 1 … {} sources, got {} sources and {} weights", kMixtureBlock,
      sizes_.size(), weights.size());
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    check<UsageError>(std::isfinite(weights[i]) && weights[i] >= 0,
                      "mixture: the weight of {} must be a number of at least 0, got {}",
                      name_of(names, i), weights[i]);
    check<UsageError>(sizes_[i] > 0 || weights[i] == 0,
                      "mixture: {} has a weight of {} but no samples", name_of(names, i),
                      weights[i]);
    sum += weights[i];
  }
  check<UsageError>(sum > 0 && std::isfinite(sum), "mixture: no source has a weight above 0");

  // Largest remainder: floors first, then one more for those that lost most; a weight above 0 gets
  // at least 1.
  std::vector<uint64_t> counts(weights.size());
  std::vector<double> lost(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const double exact = weights[i] / sum * static_cast<double>(kMixtureBlock);
    counts[i] = weights[i] > 0 ? std::max<uint64_t>(1, static_cast<uint64_t>(exact)) : 0;
    lost[i] = weights[i] > 0 ? exact - static_cast<double>(counts[i]) : -1;
  }
  const auto total = [&] { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); };
  for (uint64_t n = total(); n < kMixtureBlock; ++n) {
    const size_t i = static_cast<size_t>(std::max_element(lost.begin(), lost.end()) - lost.begin());
    ++counts[i], --lost[i];
  }
  for (uint64_t n = total(); n > kMixtureBlock; --n) --*std::max_element(counts.begin(), counts.end());
  begins_.push_back(0);
  for (uint64_t count : counts) begins_.push_back(begins_.back() + count);
}

Place Mixture::at(uint64_t position) const {
  uint32_t source = 0;
  uint64_t ordinal = position;  // how many samples this source gave before
  if (sizes_.size() > 1) {
    // A place in the block is a number below 65,536; each source owns a range of them, and the
    // place within the range counts the source's samples of this block. So no state is needed to
    // know the ordinal.
    const uint64_t block = position / kMixtureBlock;
    const uint64_t place = permuted(key_of(seed_, 1, 0), block, position % kMixtureBlock, kMixtureBlock);
    source = static_cast<uint32_t>(std::upper_bound(begins_.begin(), begins_.end(), place) -
                                   begins_.begin() - 1);
    ordinal = block * per_block(source) + (place - begins_[source]);
  }
  const uint64_t n = sizes_[source], epoch = ordinal / n;
  return {source, epoch, permuted(key_of(seed_, 2, source), epoch, ordinal % n, n)};
}

Place Mixture::substitute(uint64_t position, uint64_t attempt) const {
  Place place = at(position);
  place.index = key_of(key_of(seed_, 3, place.source), position, attempt) % sizes_[place.source];
  return place;
}

}  // namespace ocellus
