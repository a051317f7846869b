// Reduction of a monoid over the threads of a block.
#pragma once
#include "cuda/device/launch.h"
#include "cuda/device/warp.cuh"

namespace ocellus {

/// block_reduce(m) — the merge over all threads, in every thread. All threads of the block must
/// call it; their number must be a multiple of 32. May be called again at once.
template <class Monoid>
__device__ Monoid block_reduce(Monoid m) {
  SHARED(partial, Monoid[kWarp]);
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  m = warp_reduce(m);
  __syncthreads();  // the former call's readers are done
  if (lane == 0) partial[warp] = m;
  __syncthreads();
  if (warp == 0) {
    const Monoid of_warp = lane < blockDim.x / kWarp ? partial[lane] : Monoid();
    const Monoid total = warp_reduce(of_warp);
    __syncwarp();  // every lane has read before lane 0 writes
    if (lane == 0) partial[0] = total;
  }
  __syncthreads();
  return partial[0];
}

}  // namespace ocellus
