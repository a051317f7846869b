// The functions that g++ -fsanitize=thread calls before every load and store of a kernel. The
// program is linked without that sanitizer's library: these take its place.
#include <cstdint>

#include "cuda/simt/schedule.h"
#include "cuda/simt/shadow.h"

using ocellus::simt::Access;

namespace {
inline void hook(void* address, size_t bytes, Access access, void* code) {
  ocellus::simt::check_access(reinterpret_cast<uintptr_t>(address), bytes, access,
                              reinterpret_cast<uintptr_t>(code));
}
// An access of a type must lie on a multiple of its size: a GPU faults otherwise, this CPU does
// not.
inline void aligned_hook(void* address, size_t bytes, Access access, void* code) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0 && ocellus::simt::in_kernel)
    ocellus::simt::misaligned(reinterpret_cast<uintptr_t>(address), bytes,
                              reinterpret_cast<uintptr_t>(code));
  hook(address, bytes, access, code);
}
}  // namespace

#define HOOKS(bytes)                                                     \
  void __tsan_read##bytes(void* p) {                                     \
    aligned_hook(p, bytes, Access::kRead, __builtin_return_address(0));  \
  }                                                                      \
  void __tsan_write##bytes(void* p) {                                    \
    aligned_hook(p, bytes, Access::kWrite, __builtin_return_address(0)); \
  }                                                                      \
  void __tsan_unaligned_read##bytes(void* p) {                           \
    hook(p, bytes, Access::kRead, __builtin_return_address(0));          \
  }                                                                      \
  void __tsan_unaligned_write##bytes(void* p) {                          \
    hook(p, bytes, Access::kWrite, __builtin_return_address(0));         \
  }

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* p, size_t n) {
  hook(p, n, Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* p, size_t n) {
  hook(p, n, Access::kWrite, __builtin_return_address(0));
}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_init() {}
}

// Atomics of the host code that shares those files (reference counts, guards of statics): done as
// asked. Kernels use atomicAdd and the like, below.
#define ATOMICS(bits)                                                                             \
  using Word##bits = uint##bits##_t;                                                              \
  Word##bits __tsan_atomic##bits##_load(const volatile Word##bits* p, int) {                      \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                               \
  void __tsan_atomic##bits##_store(volatile Word##bits* p, Word##bits value, int) {               \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                               \
  Word##bits __tsan_atomic##bits##_exchange(volatile Word##bits* p, Word##bits value, int) {      \
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                       \
  }                                                                                               \
  Word##bits __tsan_atomic##bits##_fetch_add(volatile Word##bits* p, Word##bits value, int) {     \
    return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);                                        \
  }                                                                                               \
  Word##bits __tsan_atomic##bits##_fetch_sub(volatile Word##bits* p, Word##bits value, int) {     \
    return __atomic_fetch_sub(p, value, __ATOMIC_SEQ_CST);                                        \
  }                                                                                               \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile Word##bits* p, Word##bits* was,      \
                                                    Word##bits value, int, int) {                 \
    return __atomic_compare_exchange_n(p, was, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }

extern "C" {
ATOMICS(8)
ATOMICS(32)
ATOMICS(64)
}

namespace ocellus::simt {

uint32_t atomic_update(void* address, uint32_t operand, uint32_t (*combine)(uint32_t, uint32_t),
                       Site site) {
  check_alignment(address, 4, site);
  hook(address, 4, Access::kAtomic, __builtin_return_address(0));
  uint32_t* word = static_cast<uint32_t*>(address);
  const uint32_t before = *word;
  *word = combine(before, operand);
  return before;
}

}  // namespace ocellus::simt
