// ldmatrix and mma.sync for the emulator, by the fragment layouts of the PTX manual.
#pragma once
#include <cstdint>

#include "cuda/simt/simt.h"

namespace ocellus::simt {

/// Four 8×8 matrices of 16-bit elements; every lane names one row of 16 bytes in shared memory.
void load_matrices(uint32_t (&out)[4], const void* row, bool transposed, Site site);

/// c += a·b, 16×8×16, bf16 in, sums in double and rounded once.
void multiply_tiles(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Site site);

}  // namespace ocellus::simt
