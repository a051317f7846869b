// Tensor cores and asynchronous copies: the only place with PTX, each function beside its meaning
// for the emulator. All need sm_80.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "engine/dtype.h"
#if defined(OCELLUS_SIMT)
#include "cuda/simt/async_copy.h"
#include "cuda/simt/tensor_core.h"
#endif

namespace ocellus {

#if !defined(OCELLUS_SIMT)
__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
#endif

#if defined(OCELLUS_SIMT)

inline void cp_async16(void* target, const void* source, bool valid, SIMT_SITE) {
  simt::async_copy(target, source, 16, valid ? 16 : 0, SIMT_HERE);
}
inline void cp_async_commit() { simt::async_commit(); }
template <int pending>
void cp_async_wait() {
  simt::async_wait(pending);
}
template <bool transposed>
void ldmatrix_x4(uint32_t (&out)[4], const void* row, SIMT_SITE) {
  simt::load_matrices(out, row, transposed, SIMT_HERE);
}
inline void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                         SIMT_SITE) {
  simt::multiply_tiles(c, a, b0, b1, SIMT_HERE);
}

#else

/// cp_async16(target, source, valid) — starts a copy of 16 bytes from device to shared memory, past
/// the registers; writes zeros if not `valid` (then `source` is not read). Both aligned to 16.
__device__ inline void cp_async16(void* target, const void* source, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(target)),
               "l"(source), "r"(bytes)
               : "memory");
}
/// The copies since the last commit become a group.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
/// Waits until at most `pending` groups of this thread are under way. Other threads see the copied
/// bytes after the next barrier.
template <int pending>
__device__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
}

/// ldmatrix_x4 — four 8×8 matrices of 16-bit elements from shared memory to the warp. Lane l names
/// row l mod 8 of matrix l / 8 (16 aligned bytes); out[i] of lane l is elements 2·(l mod 4) and + 1
/// of row l / 4 of matrix i, or of its transpose.
template <bool transposed>
__device__ void ldmatrix_x4(uint32_t (&out)[4], const void* row) {
  const uint32_t address = shared_address(row);
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

/// mma_m16n8k16 — c += a·b of a warp: a 16×16 and b 16×8 of bf16, c 16×8 of f32. With g = lane / 4
/// and t = lane mod 4 (PTX ISA, "matrix fragments for mma.m16n8k16"):
///   a[0], a[1]: columns 2t, 2t+1 of rows g, g+8;  a[2], a[3]: columns 2t+8, 2t+9 of rows g, g+8
///   b0: rows 2t, 2t+1 of column g;  b1: rows 2t+8, 2t+9
///   c[0], c[1]: columns 2t, 2t+1 of row g;  c[2], c[3]: of row g+8
__device__ inline void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif

/// Two numbers rounded to bf16, the first in the lower half: a register of a fragment.
__device__ inline uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(bf16(low).bits) | static_cast<uint32_t>(bf16(high).bits) << 16;
}

}  // namespace ocellus
