// Ops that have no CUDA kernel yet: the list cuda/pending.def, as a function.
#pragma once
#include <string_view>

namespace ocellus {

/// cuda_pending — true if `op` is in cuda/pending.def: on a CUDA tensor it says "no CUDA kernel
/// yet".
inline bool cuda_pending([[maybe_unused]] std::string_view op) {
#define PENDING(name) \
  if (op == #name) return true;
#include "cuda/pending.def"
#undef PENDING
  return false;
}

}  // namespace ocellus
