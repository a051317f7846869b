#include "nn/optim/schedule.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"

namespace ocellus {

double Schedule::factor(int64_t step) const {
  check<UsageError>(kind == "constant" || kind == "linear" || kind == "cosine" || kind == "wsd",
                    "schedule: \"{}\" is not one of constant, linear, cosine, wsd", kind);
  if (step < warmup_steps) return static_cast<double>(step) / static_cast<double>(warmup_steps);
  const int64_t rest = std::max<int64_t>(1, total_steps - warmup_steps);
  const double share = std::min(1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(rest));
  if (kind == "constant") return 1;
  if (kind == "linear") return min_ratio + (1 - min_ratio) * (1 - share);
  if (kind == "cosine") return min_ratio + (1 - min_ratio) * 0.5 * (1 + std::cos(share * 3.141592653589793));
  const int64_t left = std::max<int64_t>(0, total_steps - step);
  if (left >= decay_steps) return 1;
  return min_ratio + (1 - min_ratio) * static_cast<double>(left) / static_cast<double>(decay_steps);
}

}  // namespace ocellus
