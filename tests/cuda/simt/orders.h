// Orders in which the emulator runs threads and blocks, and its counts; on a GPU there is but one order,
// and nothing is counted. So the same tests run on both.
#pragma once
#if defined(OCELLUS_SIMT)
#include "cuda/simt/report.h"
#include "cuda/simt/schedule.h"
#else
#include <cstdint>

namespace ocellus::simt {

enum class Order { kForward, kReverse, kRandom };
struct Counts {
  uint64_t launches = 0, threads = 0, meetings = 0;
};
inline void set_order(Order, unsigned = 0) {}
inline Counts counts() {
  static Counts counts;
  ++counts.launches;
  return counts;
}

}  // namespace ocellus::simt
#endif
