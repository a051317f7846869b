#include "engine/parallel.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "engine/check.h"
#include "engine/loop_watch.h"

namespace ocellus {
namespace {

// A loop is published as one 64-bit ticket: epoch (32 bits), number of tasks (16), next task (16).
// A thread claims a task by a compare-and-swap that adds one to `next`. The epoch makes the swap
// fail when the loop that the thread looked at is over, so nobody has to wait for a helper that has
// not claimed anything: one that the system is not running right now costs nothing.
constexpr int64_t kMaxTasks = 65535;
constexpr uint64_t make_ticket(uint64_t epoch, uint64_t tasks) { return epoch << 32 | tasks << 16; }
constexpr uint64_t tasks_of(uint64_t ticket) { return ticket >> 16 & 0xffff; }
constexpr uint64_t next_of(uint64_t ticket) { return ticket & 0xffff; }
constexpr bool has_task(uint64_t ticket) { return next_of(ticket) < tasks_of(ticket); }

// How long an idle helper, or a caller that waits for the last tasks, stays awake. It yields now
// and then, so that on a busy machine the spinning does not take a processor from anyone.
constexpr std::chrono::microseconds kSpin{60};
constexpr int kPausesPerLook = 64;

void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Spins until done() or until kSpin has passed; says which.
template <class Done>
bool spin_until(Done done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (done()) return true;
      pause_processor();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

// The loop being run. Plain fields: they are written before the ticket is published, and read only
// by a thread that has claimed a task, for which the caller waits.
struct Loop {
  int64_t count = 0, grain = 0, chunks = 0;
  int64_t chunks_per_task = 1;
  detail::ParallelBody call = nullptr;
  void* body = nullptr;
  std::atomic<int64_t> failed_chunk{INT64_MAX};  // lowest chunk that threw so far
  std::exception_ptr error;                      // what it threw; guarded by error_mutex
  std::mutex error_mutex;
};

thread_local bool inside_loop = false;

class Pool {
 public:
  // Never destroyed: helpers may still sleep in it while the process ends.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  int threads() const { return threads_.load(std::memory_order_relaxed); }
  void resize(int n);
  bool run(int64_t count, int64_t grain, detail::ParallelBody call, void* body);

 private:
  Pool();
  void start_helpers(int n);
  void stop_helpers(int n);
  void helper(int index);
  bool run_one_task(uint64_t& ticket);
  void run_chunks(int64_t task);

  std::mutex busy_;  // held by the thread whose loop has the pool
  std::atomic<int> threads_{1};
  std::vector<std::thread> helpers_;    // guarded by busy_
  std::atomic<int> wanted_helpers_{0};  // helpers with a larger index leave
  uint64_t epoch_ = 0;                  // guarded by busy_
  Loop loop_;
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int> done_{0};  // finished tasks of the loop
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<int> wake_{0};  // changes whenever sleepers have to look again
};

int threads_from_environment() {
  const char* text = std::getenv("OCELLUS_THREADS");
  if (text == nullptr || *text == '\0')
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  check<UsageError>(*end == '\0' && n >= 1 && n <= kMaxThreads,
                    "OCELLUS_THREADS must be a whole number from 1 to {}, got \"{}\"", kMaxThreads,
                    text);
  return static_cast<int>(n);
}

Pool::Pool() : threads_(threads_from_environment()) {}

void Pool::resize(int n) {
  const std::lock_guard lock(busy_);
  threads_.store(n, std::memory_order_relaxed);
  if (static_cast<int>(helpers_.size()) > n - 1) stop_helpers(n - 1);
}

// Helpers start when the first loop needs them, with all signals blocked: those are the main
// thread's.
void Pool::start_helpers(int n) {
  if (static_cast<int>(helpers_.size()) >= n) return;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  wanted_helpers_.store(n);
  try {
    while (static_cast<int>(helpers_.size()) < n)
      helpers_.emplace_back(&Pool::helper, this, static_cast<int>(helpers_.size()));
  } catch (const std::system_error&) {
    // The system has no more threads for us: the loop runs with those that there are.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Pool::stop_helpers(int n) {
  wanted_helpers_.store(n);
  wake_.fetch_add(1);
  wake_.notify_all();
  while (static_cast<int>(helpers_.size()) > n) {
    helpers_.back().join();
    helpers_.pop_back();
  }
}

void Pool::helper(int index) {
  inside_loop = true;
  uint64_t ticket = 0;
  const auto leave = [&] { return index >= wanted_helpers_.load(std::memory_order_relaxed); };
  const auto look = [&] {
    ticket = ticket_.load(std::memory_order_acquire);
    return has_task(ticket) || leave();
  };
  while (!leave()) {
    if (spin_until(look)) {
      while (run_one_task(ticket)) {
      }
      continue;
    }
    // Announced before the last look; the caller publishes before it counts the sleepers. One of
    // the two sees the other.
    sleepers_.fetch_add(1);
    const int seen = wake_.load();
    ticket = ticket_.load();
    if (!has_task(ticket) && !leave()) wake_.wait(seen);
    sleepers_.fetch_sub(1);
  }
}

// Claims and runs one task of the loop that `ticket` shows, which is updated; false if none is
// left.
bool Pool::run_one_task(uint64_t& ticket) {
  while (has_task(ticket)) {
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
    const int tasks = static_cast<int>(tasks_of(ticket));
    run_chunks(static_cast<int64_t>(next_of(ticket)));
    ticket = ticket_.load(std::memory_order_acquire);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) done_.notify_one();
    return true;
  }
  return false;
}

void Pool::run_chunks(int64_t task) {
  const int64_t first = task * loop_.chunks_per_task;
  const int64_t last = std::min(first + loop_.chunks_per_task, loop_.chunks);
  for (int64_t chunk = first; chunk < last; ++chunk) {
    if (chunk > loop_.failed_chunk.load(std::memory_order_relaxed)) return;
    try {
      const int64_t begin = chunk * loop_.grain;
      loop_.call(loop_.body, begin, begin + std::min(loop_.grain, loop_.count - begin));
    } catch (...) {
      const std::lock_guard lock(loop_.error_mutex);
      if (chunk < loop_.failed_chunk.load(std::memory_order_relaxed)) {
        loop_.failed_chunk.store(chunk, std::memory_order_relaxed);
        loop_.error = std::current_exception();
      }
    }
  }
}

// Runs the loop on the pool; false if another thread has it.
bool Pool::run(int64_t count, int64_t grain, detail::ParallelBody call, void* body) {
  const std::unique_lock lock(busy_, std::try_to_lock);
  if (!lock) return false;
  start_helpers(threads() - 1);
  loop_.count = count;
  loop_.grain = grain;
  loop_.chunks = (count - 1) / grain + 1;
  loop_.chunks_per_task = (loop_.chunks - 1) / kMaxTasks + 1;
  loop_.call = call;
  loop_.body = body;
  loop_.failed_chunk.store(INT64_MAX, std::memory_order_relaxed);
  const int tasks = static_cast<int>((loop_.chunks - 1) / loop_.chunks_per_task + 1);
  done_.store(0, std::memory_order_relaxed);
  uint64_t ticket = make_ticket(++epoch_, static_cast<uint64_t>(tasks));
  ticket_.store(ticket);
  if (sleepers_.load() > 0) {
    wake_.fetch_add(1);
    if (tasks == 2)
      wake_.notify_one();
    else
      wake_.notify_all();
  }

  inside_loop = true;
  while (run_one_task(ticket)) {
  }
  inside_loop = false;
  // Every task has been claimed by now: what is waited for is running.
  int done = done_.load(std::memory_order_acquire);
  if (done != tasks)
    spin_until([&] { return (done = done_.load(std::memory_order_acquire)) == tasks; });
  while (done != tasks) {
    done_.wait(done, std::memory_order_acquire);
    done = done_.load(std::memory_order_acquire);
  }
  if (loop_.error) std::rethrow_exception(std::exchange(loop_.error, nullptr));
  return true;
}

}  // namespace

void set_num_threads(int n) {
  check<UsageError>(n >= 1 && n <= kMaxThreads,
                    "set_num_threads: the number of threads must be 1 to {}, got {}", kMaxThreads,
                    n);
  check<UsageError>(
      !inside_loop,
      "set_num_threads: the number of threads cannot be changed inside a parallel_for");
  Pool::instance().resize(n);
}

int num_threads() { return Pool::instance().threads(); }

bool in_parallel() { return inside_loop; }

namespace detail {

void run_parallel(int64_t count, int64_t grain, ParallelBody call, void* body) {
  LoopWatch::note();
  check<UsageError>(grain > 0, "parallel_for: grain must be at least 1, got {}", grain);
  if (!inside_loop && Pool::instance().threads() > 1 &&
      Pool::instance().run(count, grain, call, body))
    return;
  for (int64_t begin = 0; begin < count;) {
    const int64_t end = begin + std::min(grain, count - begin);
    call(body, begin, end);
    begin = end;
  }
}

}  // namespace detail
}  // namespace ocellus
