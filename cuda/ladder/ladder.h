// The ladders of this folder, by file.
#pragma once
#include "engine/kernels/ladder.h"

namespace ocellus {

Ladder gemm_ladder(OnCuda device);
Ladder softmax_ladder(OnCuda device);
Ladder layer_norm_ladder(OnCuda device);
Ladder flash_ladder(OnCuda device);

}  // namespace ocellus
