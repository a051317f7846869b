// The order of samples as a pure function: which sample stands at a position depends on seed, epoch
// and position alone, so a run resumes anywhere from a few integers, with any number of threads.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace ocellus {

/// permuted — a keyed permutation of 0 … n − 1: for fixed (seed, epoch) every value occurs once as
/// position runs over 0 … n − 1. A Feistel network over the next power of two, walked until it
/// lands below n (on average less than two evaluations). Throws UsageError unless position < n.
/// Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains" (cycle walking).
uint64_t permuted(uint64_t seed, uint64_t epoch, uint64_t position, uint64_t n);

/// What stands at a position of a mixture.
struct Place {
  uint32_t source;  // index into the weights
  uint64_t epoch;   // how often that source has been gone through before
  uint64_t index;   // the sample
};

/// Mixture — draws from sources in proportion to their weights, shuffled, each source without
/// repeats within its own epoch. Positions come in blocks of 65,536, in which source s stands
/// round(65,536 · w_s / Σw) times (at least once if w_s > 0; exact in sum), at places given by a
/// permutation of the block. at() is O(log sources). A single source needs no blocks: position p is
/// sample p mod n of epoch p / n.
class Mixture {
 public:
  /// `sizes` and `weights` have one entry a source. UsageError naming the source for a weight that
  /// is negative or not finite, or an empty source with a weight; or if nothing has a weight.
  Mixture(uint64_t seed, std::vector<uint64_t> sizes, const std::vector<double>& weights,
          const std::vector<std::string>& names = {});

  Place at(uint64_t position) const;

  /// Another sample in place of one that is refused: try 1, 2, … of the same position. The same
  /// source, drawn by hash, so that no other position changes.
  Place substitute(uint64_t position, uint64_t attempt) const;

  /// How often source s stands in a block of 65,536 positions.
  uint64_t per_block(size_t source) const { return begins_[source + 1] - begins_[source]; }

 private:
  uint64_t seed_;
  std::vector<uint64_t> sizes_;
  std::vector<uint64_t> begins_;  // cumulated counts in a block, one more than sources
};

}  // namespace ocellus
