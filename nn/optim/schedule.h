// Learning rate over the steps of a stage.
#pragma once
#include <cstdint>
#include <string>

namespace ocellus {

/// Schedule — factor(step) multiplies the base rate at step 0, 1, …, total_steps - 1.
///   warm-up   step/warmup_steps while step < warmup_steps (so the first rate is 0, as in transformers)
///   constant  1
///   linear    from 1 down to min_ratio at total_steps
///   cosine    min_ratio + (1 - min_ratio)·½(1 + cos(π·p)), p the share done after warm-up;
///             Loshchilov & Hutter 2016, arXiv:1608.03983
///   wsd       1, then linear to min_ratio over the last decay_steps (warm-up, stable, decay;
///             Hu et al. 2024, arXiv:2404.06395)
struct Schedule {
  std::string kind = "constant";
  int64_t warmup_steps = 0, total_steps = 0, decay_steps = 0;
  double min_ratio = 0;
  /// Throws UsageError for an unknown kind.
  double factor(int64_t step) const;
};

}  // namespace ocellus
