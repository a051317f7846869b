// Ops that have no CUDA kernel yet: the list cuda/pending.def, as a function.
#pragma once
#include <string_view>

namespace ocellus {

/// cuda_pending — true if `op` is in cuda/pending.def: on a CUDA tensor it says "no CUDA kernel yet".
inline bool cuda_pending(std::string_view op) {
  constexpr std::string_view names[] = {
#define PENDING(name) #name,
#include "cuda/pending.def"
#undef PENDING
  };
  for (std::string_view name : names)
    if (name == op) return true;
  return false;
}

}  // namespace ocellus
