// Fibers: stacks that take turns on one thread of the operating system.
#pragma once
#include <cstddef>
#include <cstdint>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace ocellus::simt {

inline constexpr size_t kStackBytes = size_t{64} << 10;
inline constexpr int kMaxFibers = 1024;  // threads of a block

/// Fiber — a suspended place of execution.
struct Fiber {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
};

/// prepare(fiber, number, entry) — the next switch to it calls entry(), which never returns, on
/// stack `number`. Stacks are kept for the life of the process, with a guard page below each.
void prepare(Fiber& fiber, int number, void (*entry)());

/// switch_to(from, to) — leaves the running fiber in `from` and goes on in `to`.
void switch_to(Fiber& from, Fiber& to);

/// True if `address` lies on one of the stacks.
bool on_stack(uintptr_t address);

}  // namespace ocellus::simt
