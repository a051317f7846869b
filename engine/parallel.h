// One pool of threads for the whole process, and loops whose partition depends on the work alone.
// A result that is computed chunk by chunk therefore has the same bits with 1, 2 or 64 threads.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace ocellus {

inline constexpr int kMaxThreads = 64;

/// set_num_threads — threads that a loop may use, the caller's included; 1 … 64. Waits for a loop
/// that is running. Throws UsageError for another number, and from inside a parallel_for.
void set_num_threads(int n);

/// num_threads — the number last set; else the environment's OCELLUS_THREADS (UsageError if that is
/// no number from 1 to 64); else the processors that this process may run on.
int num_threads();

/// in_parallel — whether this thread runs a body of parallel_for now: loops would be serial.
bool in_parallel();

namespace detail {
using ParallelBody = void (*)(void* body, int64_t begin, int64_t end);
void run_parallel(int64_t count, int64_t grain, ParallelBody call, void* body);
}  // namespace detail

/// parallel_for — calls body(begin, end) on [0, grain), [grain, 2·grain), … up to `count`, each
/// once.
///
/// The last chunk may be shorter; one chunk runs inline. Chunks are handed out in order of their
/// index, to whichever thread is free. A loop inside a loop, and a loop that starts while another
/// thread's loop has the pool, run serially over the same chunks. If bodies throw, the exception of
/// the lowest chunk is rethrown here; chunks after it may not have run. Throws UsageError if
/// grain < 1. A negative count is an empty loop.
/// Cost: about 0.1 µs a chunk, and up to tens of µs where a sleeping thread has to be woken; so
/// give a chunk at least some 10 µs of work.
template <class F>
void parallel_for(int64_t count, int64_t grain, F&& body) {
  if (count <= 0) return;
  if (grain > 0 && count <= grain) {
    body(int64_t{0}, count);
    return;
  }
  using Body = std::remove_reference_t<F>;
  detail::run_parallel(
      count, grain,
      [](void* f, int64_t begin, int64_t end) { (*static_cast<Body*>(f))(begin, end); },
      const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

}  // namespace ocellus
