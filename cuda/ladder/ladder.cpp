#include "cuda/ladder/ladder.h"

namespace ocellus {

Ladder ladder(OnCuda device, const std::string& name) {
  if (name == "gemm") return gemm_ladder(device);
  if (name == "softmax") return softmax_ladder(device);
  if (name == "layer_norm") return layer_norm_ladder(device);
  if (name == "flash") return flash_ladder(device);
  fail<UsageError>("ladder: must be one of gemm, softmax, layer_norm, flash, got \"{}\"", name);
}

}  // namespace ocellus
