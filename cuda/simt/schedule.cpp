#include "cuda/simt/schedule.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/simt/async_copy.h"
#include "cuda/simt/fibers.h"
#include "cuda/simt/report.h"
#include "cuda/simt/shadow.h"
#include "engine/check.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace ocellus::simt {

Runner runner;
constinit thread_local bool in_kernel = false;

namespace {

constexpr int kLanes = 32;
constexpr unsigned kNobody = ~0u;

enum class State : uint8_t { kNew, kReady, kAtBarrier, kMeeting, kDone };

struct Thread {
  State state = State::kNew;
  uint3 index{};
  int fiber = -1;
  Site site{"", 0};          // where it waits
  const char* what = "";     // for what
  unsigned mask = 0;         // with which lanes
  void* argument = nullptr;  // its part of a meeting
  uint16_t clocks[kLanes];
};

// Lanes of a warp that have arrived at a meeting; one group a mask, since halves of a warp may meet
// apart.
struct Group {
  unsigned mask = 0, arrived = 0;
  void (*compute)(void* const (&)[kLanes], unsigned) = nullptr;
  const char* what = "";
  Site site{"", 0};
};
struct Warp {
  Group groups[4];
};

struct Launch {
  const char* name = "";
  const void* closure = nullptr;
  size_t closure_bytes = 0;
  void (*call)(const void*) = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<unsigned> order, ready;  // ready: a queue, read at `next_ready`
  size_t next_new = 0, next_ready = 0;
  unsigned at_barrier = 0, done = 0;
  std::vector<int> free_fibers;
  Fiber fibers[kMaxFibers], host;
  std::string report;
};

Launch launch_state;
Order chosen_order = Order::kForward;
uint64_t random_state = 1;
Counts counted;

uint64_t next_random() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

void arrange(std::vector<unsigned>& numbers) {
  if (chosen_order == Order::kReverse) std::reverse(numbers.begin(), numbers.end());
  if (chosen_order == Order::kRandom)
    for (size_t i = numbers.size(); i > 1; --i)
      std::swap(numbers[i - 1], numbers[next_random() % i]);
}

std::string place_of(unsigned thread) {
  const Thread& t = launch_state.threads[thread];
  return describe_thread(thread) + " waits for " + t.what + " at " + describe_site(t.site);
}

void enter(unsigned thread) {
  Thread& t = launch_state.threads[thread];
  runner.thread = thread;
  runner.clocks = t.clocks;
  threadIdx = t.index;
}

void reset_clocks() {
  for (size_t i = 0; i < launch_state.threads.size(); ++i) {
    Thread& t = launch_state.threads[i];
    std::fill(t.clocks, t.clocks + kLanes, uint16_t{0});
    t.clocks[i % kLanes] = 1;
  }
}

[[noreturn]] void report_standstill() {
  const Launch& l = launch_state;
  in_kernel = false;  // a report is being written, see describe_thread
  std::string text = "threads wait for each other";
  int shown = 0;
  const char* last = nullptr;
  int last_line = -1;
  for (unsigned i = 0; i < l.threads.size() && shown < 4; ++i) {
    const Thread& t = l.threads[i];
    if (t.state != State::kAtBarrier && t.state != State::kMeeting) continue;
    if (last == t.site.file && last_line == t.site.line) continue;  // one for each line
    last = t.site.file, last_line = t.site.line;
    text += "\n    " + place_of(i);
    ++shown;
  }
  if (l.done > 0) {
    for (unsigned i = 0; i < l.threads.size(); ++i)
      if (l.threads[i].state == State::kDone) {
        text += "\n    " + describe_thread(i) + " has returned";
        break;
      }
  }
  fault("divergence", text);
}

void fiber_main();

// Goes on with another thread; the caller's has been noted as waiting (or done).
void run_next(Fiber& from) {
  Launch& l = launch_state;
  if (l.next_ready < l.ready.size()) {
    const unsigned thread = l.ready[l.next_ready++];
    if (l.next_ready == l.ready.size()) l.ready.clear(), l.next_ready = 0;
    enter(thread);
    Fiber& to = l.fibers[l.threads[thread].fiber];
    if (&to != &from) switch_to(from, to);
    return;
  }
  if (l.next_new < l.order.size()) {
    const int number = l.free_fibers.back();
    l.free_fibers.pop_back();
    prepare(l.fibers[number], number, fiber_main);
    const unsigned thread = l.order[l.next_new++];
    l.threads[thread].fiber = number;
    l.threads[thread].state = State::kReady;
    enter(thread);
    switch_to(from, l.fibers[number]);
    return;
  }
  if (l.done == l.threads.size()) {
    switch_to(from, l.host);
    return;
  }
  report_standstill();
}

void wait(State state, const char* what, Site site) {
  Thread& t = launch_state.threads[runner.thread];
  t.state = state;
  t.what = what;
  t.site = site;
  run_next(launch_state.fibers[t.fiber]);
}

// A fiber runs one thread to its end, then starts the next on the same stack.
void fiber_main() {
  Launch& l = launch_state;
  const unsigned first = runner.thread;
  const int number = l.threads[first].fiber;
  for (;;) {
    l.call(l.closure);
    check_no_copies_left(runner.thread);
    l.threads[runner.thread].state = State::kDone;
    ++l.done;
    if (l.next_ready == l.ready.size() && l.next_new < l.order.size()) {
      const unsigned thread = l.order[l.next_new++];
      l.threads[thread].fiber = number;
      l.threads[thread].state = State::kReady;
      enter(thread);
      continue;
    }
    l.free_fibers.push_back(number);
    run_next(l.fibers[number]);
    return;  // not reached: nobody switches back to a fiber that is done
  }
}

void run_block(const Geometry& geometry) {
  Launch& l = launch_state;
  const unsigned count = geometry.block.x * geometry.block.y * geometry.block.z;
  l.threads.assign(count, Thread());
  l.warps.assign((count + kLanes - 1) / kLanes, Warp());
  for (unsigned i = 0; i < count; ++i)
    l.threads[i].index = {i % geometry.block.x, i / geometry.block.x % geometry.block.y,
                          i / (geometry.block.x * geometry.block.y)};
  l.order.resize(count);
  std::iota(l.order.begin(), l.order.end(), 0u);
  arrange(l.order);
  l.ready.clear();
  l.next_new = l.next_ready = l.at_barrier = l.done = 0;
  l.free_fibers.resize(kMaxFibers);
  std::iota(l.free_fibers.rbegin(), l.free_fibers.rend(), 0);
  begin_shared(geometry.shared_bytes);
  reset_clocks();
  runner.block_begin = ++runner.segment;
  counted.threads += count;
  in_kernel = true;
  run_next(l.host);  // comes back when all threads are done, or after a fault
  in_kernel = false;
}

// Shared reads of what nobody wrote are reported late, since a missing barrier is the better name
// for most of them.
void next_segment() {
  report_uninitialised(/*device_too=*/false);
  ++runner.segment;
  reset_clocks();
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  chosen_order = order;
  random_state = seed * 0x9E3779B97F4A7C15ull | 1;
}

Counts counts() { return counted; }
bool in_closure(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(launch_state.closure) < launch_state.closure_bytes;
}
const char* kernel_name() { return launch_state.name; }
uint3 thread_index(unsigned thread) { return launch_state.threads[thread].index; }

void abort_kernel(const char* text) {
  in_kernel = false;
  launch_state.report = text;
  Fiber abandoned;
  switch_to(abandoned, launch_state.host);
  __builtin_unreachable();
}

void run_kernel(const char* name, const Geometry& geometry, const void* closure,
                size_t closure_bytes, void (*call)(const void*)) {
  const uint64_t threads = uint64_t{geometry.block.x} * geometry.block.y * geometry.block.z;
  check<SimtError>(!in_kernel, "{}: a kernel cannot launch another here", name);
  check<SimtError>(0 < threads && threads <= kMaxFibers,
                   "{}: a block must have 1 to {} threads, got {}", name, kMaxFibers, threads);
  check<SimtError>(
      geometry.grid.x > 0 && geometry.grid.y - 1 < 65535 && geometry.grid.z - 1 < 65535,
      "{}: the grid [{}, {}, {}] is not possible", name, geometry.grid.x, geometry.grid.y,
      geometry.grid.z);
  Launch& l = launch_state;
  l.name = name;
  l.closure = closure;
  l.closure_bytes = closure_bytes;
  l.call = call;
  l.report.clear();
  ++counted.launches;
  gridDim = geometry.grid;
  blockDim = geometry.block;
  runner.launch_begin = runner.segment + 1;
  forget_copies();
  forget_uninitialised();
  std::vector<unsigned> blocks(geometry.grid.x * geometry.grid.y * geometry.grid.z);
  std::iota(blocks.begin(), blocks.end(), 0u);
  arrange(blocks);
  for (unsigned number : blocks) {
    blockIdx = {number % gridDim.x, number / gridDim.x % gridDim.y,
                number / (gridDim.x * gridDim.y)};
    run_block(geometry);
    if (l.report.empty())
      report_uninitialised_after(/*device_too=*/number == blocks.back(), l.report);
    if (!l.report.empty()) {
      forget_uninitialised();
      throw SimtError(l.report);
    }
  }
}

void barrier(Site site) {
  Launch& l = launch_state;
  Thread& me = l.threads[runner.thread];
  me.state = State::kAtBarrier;
  me.what = "__syncthreads";
  me.site = site;
  if (++l.at_barrier < l.threads.size()) return wait(State::kAtBarrier, me.what, site);
  for (unsigned i = 0; i < l.threads.size(); ++i) {
    const Site other = l.threads[i].site;
    if (other.line != site.line || std::string_view(other.file) != site.file)
      fault("divergence", "threads of a block stand at different barriers\n    " +
                              place_of(runner.thread) + "\n    " + place_of(i));
  }
  l.at_barrier = 0;
  next_segment();
  static std::vector<unsigned> others;
  others.clear();
  for (unsigned i = 0; i < l.threads.size(); ++i)
    if (i != runner.thread) others.push_back(i);
  arrange(others);
  for (unsigned i : others) {
    l.threads[i].state = State::kReady;
    l.ready.push_back(i);
  }
  me.state = State::kReady;
}

void meet(const Meeting& meeting, void* argument, Site site) {
  Launch& l = launch_state;
  ++counted.meetings;
  const unsigned lane = runner.thread % kLanes, first = runner.thread - lane;
  Thread& me = l.threads[runner.thread];
  if (!(meeting.mask >> lane & 1))
    fault("divergence",
          describe_thread(runner.thread) + " is not in its own mask at " + describe_site(site));
  if (const unsigned lanes =
          std::min<unsigned>(kLanes, static_cast<unsigned>(l.threads.size()) - first);
      lanes < kLanes && meeting.mask >> lanes)
    fault("divergence", fmt::format("{}: the mask {:#x} names lanes beyond the {} of this warp",
                                    describe_site(site), meeting.mask, lanes));
  Group* group = nullptr;
  for (Group& g : l.warps[runner.thread / kLanes].groups) {
    if (g.arrived && g.mask == meeting.mask) {
      group = &g;
      break;
    }
    if (!g.arrived && !group) group = &g;
  }
  if (!group) fault("divergence", "more than four groups of lanes meet in one warp");
  if (!group->arrived) {
    group->mask = meeting.mask;
    group->compute = meeting.compute;
    group->what = meeting.what;
    group->site = site;
  } else if (group->compute != meeting.compute || group->what != meeting.what ||
             group->site.line != site.line) {
    fault("divergence",
          fmt::format("lanes of a warp meet for {} at {} and for {} at {}", group->what,
                      describe_site(group->site), meeting.what, describe_site(site)));
  }
  me.argument = argument;
  group->arrived |= 1u << lane;
  if (group->arrived != group->mask) return wait(State::kMeeting, meeting.what, site);

  void* arguments[kLanes] = {};
  static std::vector<unsigned> others;
  others.clear();
  for (unsigned i = 0; i < kLanes; ++i) {
    if (!(meeting.mask >> i & 1)) continue;
    arguments[i] = l.threads[first + i].argument;
    if (i != lane) others.push_back(first + i);
  }
  meeting.compute(arguments, meeting.mask);
  group->arrived = 0;
  arrange(others);
  for (unsigned i : others) {
    l.threads[i].state = State::kReady;
    l.ready.push_back(i);
  }
}

void warp_barrier(unsigned mask, Site site) {
  meet({"__syncwarp", mask,
        [](void* const(&)[kLanes], unsigned lanes) {
          // All learn what any of them knew; then each begins a new step.
          const unsigned first = runner.thread / kLanes * kLanes;
          uint16_t known[kLanes] = {};
          for (unsigned i = 0; i < kLanes; ++i)
            if (lanes >> i & 1)
              for (int k = 0; k < kLanes; ++k)
                known[k] = std::max(known[k], launch_state.threads[first + i].clocks[k]);
          for (unsigned i = 0; i < kLanes; ++i)
            if (lanes >> i & 1) {
              std::copy(known, known + kLanes, launch_state.threads[first + i].clocks);
              ++launch_state.threads[first + i].clocks[i];
            }
        }},
       nullptr, site);
}

namespace {

struct ExchangeArgument {
  Exchange kind;
  uint32_t word, result;
  unsigned parameter;
  int width;
  Site site;
};

// The lane that `lane` reads, as CUDA defines it: beyond its section of `width` lanes it keeps its
// own.
unsigned source_of(const ExchangeArgument& a, unsigned lane) {
  const unsigned width = static_cast<unsigned>(a.width), base = lane / width * width;
  switch (a.kind) {
    case Exchange::kIndex:
      return base + a.parameter % width;
    case Exchange::kDown:
      return lane + a.parameter < base + width ? lane + a.parameter : lane;
    case Exchange::kUp:
      return lane >= base + a.parameter ? lane - a.parameter : lane;
    case Exchange::kXor:
      return (lane ^ a.parameter) < base + width ? lane ^ a.parameter : lane;
  }
  return lane;
}

void exchange_words(void* const (&arguments)[kLanes], unsigned mask) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!arguments[lane]) continue;
    auto& a = *static_cast<ExchangeArgument*>(arguments[lane]);
    const unsigned source = source_of(a, lane);
    if (!(mask >> source & 1))
      fault("divergence",
            fmt::format("lane {} reads lane {}, which is not in the mask {:#x}, at {}", lane,
                        source, mask, describe_site(a.site)));
    a.result = static_cast<ExchangeArgument*>(arguments[source])->word;
  }
}

struct VoteArgument {
  bool value;
  unsigned result;
};

void count_votes(void* const (&arguments)[kLanes], unsigned) {
  unsigned votes = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (arguments[lane] && static_cast<VoteArgument*>(arguments[lane])->value) votes |= 1u << lane;
  for (void* argument : arguments)
    if (argument) static_cast<VoteArgument*>(argument)->result = votes;
}

}  // namespace

uint32_t exchange(Exchange kind, unsigned mask, uint32_t word, unsigned parameter, int width,
                  Site site) {
  ExchangeArgument argument{kind, word, 0, parameter, width, site};
  meet({"a shuffle", mask, exchange_words}, &argument, site);
  return argument.result;
}

unsigned vote(unsigned mask, bool value, Site site) {
  VoteArgument argument{value, 0};
  meet({"a vote", mask, count_votes}, &argument, site);
  return argument.result;
}

}  // namespace ocellus::simt
