// Whether loops are shared between threads: how the suite knows that a sample is large enough for
// it.
#pragma once
#include <atomic>
#include <cstdint>

namespace ocellus {

/// LoopWatch — counts the loops of several chunks that start anywhere in the process while it
/// lives; one at a time.
class LoopWatch {
 public:
  LoopWatch() { watching_.store(this); }
  ~LoopWatch() { watching_.store(nullptr); }
  LoopWatch(const LoopWatch&) = delete;
  int64_t shared() const { return shared_.load(); }

  /// Called by parallel_for.
  static void note() {
    if (LoopWatch* const watch = watching_.load(std::memory_order_relaxed))
      watch->shared_.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  inline static std::atomic<LoopWatch*> watching_{nullptr};
  std::atomic<int64_t> shared_{0};
};

}  // namespace ocellus
