#include "data/loader.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/check.h"

namespace ocellus {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

PrefetchQueue::Item made(const PrefetchQueue::Make& make, uint64_t position) {
  try {
    return make(position);
  } catch (...) {
    return {nullptr, 0, std::current_exception()};
  }
}

}  // namespace

struct PrefetchQueue::State {
  Make make;
  LoaderOptions options;
  mutable std::mutex mutex;
  std::condition_variable may_claim, may_deliver;
  std::map<uint64_t, Item> ready;
  uint64_t claimed, delivered;  // the first positions that are not
  uint64_t in_flight = 0, ready_bytes = 0, largest = 0;
  bool stop = false;
  LoaderStats stats;
  std::vector<std::thread> threads;

  // Items being made are counted as the largest seen, since their size is not known yet. The item
  // that the consumer waits for may always be made, so there is no deadlock.
  bool can_claim() const {
    if (claimed >= options.end || claimed - delivered >= options.max_items) return false;
    return claimed == delivered || ready_bytes + (in_flight + 1) * largest <= options.max_bytes;
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      may_claim.wait(lock, [this] { return stop || can_claim(); });
      if (stop) return;
      const uint64_t position = claimed++;
      ++in_flight;
      lock.unlock();
      Item item = made(make, position);
      lock.lock();
      --in_flight;
      ready_bytes += item.bytes;
      largest = std::max(largest, item.bytes);
      stats.peak_bytes = std::max(stats.peak_bytes, ready_bytes);
      ready.emplace(position, std::move(item));
      if (position == delivered) may_deliver.notify_one();
      may_claim.notify_one();  // the true size may leave room for another
    }
  }
};

PrefetchQueue::PrefetchQueue(Make make, const LoaderOptions& options)
    : state_(std::make_unique<State>()) {
  check<UsageError>(options.threads >= 0 && options.threads <= 1024,
                    "loader: the number of threads must be in 0 … 1024, got {}", options.threads);
  check<UsageError>(options.max_items > 0, "loader: max_items must be at least 1");
  check<UsageError>(options.start <= options.end, "loader: start {} lies behind end {}",
                    options.start, options.end);
  state_->make = std::move(make);
  state_->options = options;
  state_->claimed = state_->delivered = options.start;
  // Signals are for the thread that trains: workers inherit a mask that blocks them all.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (int i = 0; i < options.threads; ++i)
      state_->threads.emplace_back([state = state_.get()] { state->work(); });
  } catch (
      const std::system_error&) {  // the system gives no more threads: fewer do as well, or none
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

PrefetchQueue::~PrefetchQueue() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->may_claim.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

PrefetchQueue::Item PrefetchQueue::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  check<UsageError>(s.delivered < s.options.end, "loader: the last item, {}, was delivered",
                    s.options.end - 1);
  const Clock::time_point begin = Clock::now();
  Item item;
  if (s.threads.empty()) {
    item = made(s.make, s.delivered);
    s.stats.peak_bytes = std::max(s.stats.peak_bytes, item.bytes);
  } else {
    s.may_deliver.wait(lock, [&] { return s.ready.count(s.delivered) > 0; });
    item = std::move(s.ready.extract(s.delivered).mapped());
    s.ready_bytes -= item.bytes;
  }
  ++s.delivered;
  ++s.stats.delivered;
  s.stats.wait_seconds += seconds_since(begin);
  lock.unlock();
  s.may_claim.notify_all();
  if (item.error) std::rethrow_exception(item.error);
  return item;
}

uint64_t PrefetchQueue::position() const {
  std::lock_guard lock(state_->mutex);
  return state_->delivered;
}

LoaderStats PrefetchQueue::stats() const {
  std::lock_guard lock(state_->mutex);
  return state_->stats;
}

}  // namespace ocellus
