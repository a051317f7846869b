// Runs a kernel: blocks one after another, the threads of a block as fibers that take turns at
// barriers and exchanges.
#pragma once
#include <cstddef>
#include <cstdint>
#include <tuple>

#include "cuda/simt/simt.h"

namespace ocellus::simt {

/// The order in which blocks start, and threads start and go on after a barrier.
enum class Order { kForward, kReverse, kRandom };
void set_order(Order order, uint64_t seed = 1);

struct Geometry {
  dim3 grid, block;
  size_t shared_bytes = 0;  // dynamic shared memory
};

/// run_kernel — call(closure) in every thread of the grid. `closure` is the one piece of host
/// memory that the threads may read. Throws SimtError with the report of the first fault.
void run_kernel(const char* name, const Geometry& geometry, const void* closure,
                size_t closure_bytes, void (*call)(const void* closure));

/// KernelCall — a kernel with its arguments, as run_kernel wants them.
template <class... Parameters>
class KernelCall {
 public:
  template <class... Args>
  explicit KernelCall(void (*kernel)(Parameters...), const Args&... args)
      : kernel_(kernel), values_{static_cast<Parameters>(args)...} {}
  void run(const char* name, const Geometry& geometry) const {
    run_kernel(name, geometry, this, sizeof(*this), [](const void* closure) {
      const auto* self = static_cast<const KernelCall*>(closure);
      std::apply(self->kernel_, self->values_);
    });
  }

 private:
  void (*kernel_)(Parameters...);
  std::tuple<Parameters...> values_;
};

/// What has run since the program started: launches, threads, exchanges and barriers of warps.
struct Counts {
  uint64_t launches = 0, threads = 0, meetings = 0, accesses = 0;
};
Counts counts();

// --- for the other files of the emulator ---

/// Lanes of one warp that must come together.
struct Meeting {
  const char* what;
  unsigned mask;
  /// Runs once, in the last lane to arrive; arguments[lane] is what that lane passed to meet().
  void (*compute)(void* const (&arguments)[32], unsigned mask);
};
void meet(const Meeting& meeting, void* argument, Site site);

/// Who runs: number of the thread in its block, its index, the state of its warp's clocks.
struct Runner {
  unsigned thread = 0;
  uint32_t segment = 0;              // counts barriers of all blocks and launches
  uint32_t block_begin = 0;          // segment in which this block began
  uint32_t launch_begin = 0;         // … and this launch
  const uint16_t* clocks = nullptr;  // [32]: what this lane knows of the lanes of its warp
};
extern Runner runner;
extern constinit thread_local bool in_kernel;
/// True if `address` belongs to the arguments of the running kernel.
bool in_closure(uintptr_t address);
const char* kernel_name();
uint3 thread_index(unsigned thread);

/// Ends the launch with this report; the fibers are abandoned.
[[noreturn]] void abort_kernel(const char* text);

}  // namespace ocellus::simt
