#include "cuda/simt/fibers.h"

#include <sys/mman.h>

#include "engine/check.h"

namespace ocellus::simt {
namespace {

constexpr size_t kGuard = 4096, kSlot = kStackBytes + kGuard;

// All stacks in one reservation, so that on_stack() is one comparison.
char* stacks() {
  static char* const base = [] {
    void* memory = mmap(nullptr, kSlot * kMaxFibers, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check<OutOfMemory>(memory != MAP_FAILED, "simt: no room for the stacks of {} threads",
                       kMaxFibers);
    for (int i = 0; i < kMaxFibers; ++i)
      mprotect(static_cast<char*>(memory) + static_cast<size_t>(i) * kSlot, kGuard, PROT_NONE);
    return static_cast<char*>(memory);
  }();
  return base;
}

}  // namespace

bool on_stack(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(stacks()) < kSlot * kMaxFibers;
}

#if defined(__x86_64__)

// The six registers that a called function must preserve go on the stack, then the stack changes.
extern "C" void ocellus_simt_switch(void** from, void* to);
asm(R"(
.text
.globl ocellus_simt_switch
.type ocellus_simt_switch, @function
ocellus_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ocellus_simt_switch, . - ocellus_simt_switch
)");

void prepare(Fiber& fiber, int number, void (*entry)()) {
  // A function begins with a stack pointer of 8 modulo 16: below its return address, here a null
  // that ends backtraces.
  auto* top = reinterpret_cast<void**>(stacks() + static_cast<size_t>(number + 1) * kSlot);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
}

void switch_to(Fiber& from, Fiber& to) {
  ocellus_simt_switch(&from.stack_pointer, to.stack_pointer);
}

#else

void prepare(Fiber& fiber, int number, void (*entry)()) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stacks() + static_cast<size_t>(number) * kSlot + kGuard;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}

void switch_to(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }

#endif

}  // namespace ocellus::simt
