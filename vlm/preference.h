// Losses over pairs of a preferred and a rejected answer.
#pragma once
#include <string>

#include "autograd/ops.h"

namespace ocellus {

/// sequence_logps — Σ log softmax(logits[b, t])[labels[b, t + 1]] over labels ≠ -100, or their
/// mean; logits [B, T, V], labels [B, T] i64 → [B]. UsageError for a row without a target.
Variable sequence_logps(const Variable& logits, const Tensor& labels, bool mean);

struct PreferenceConfig {
  std::string loss_type = "sigmoid";  // sigmoid | ipo
  double beta = 0.1;
  double label_smoothing =
      0;  // ε: the share of pairs taken to be the wrong way round; sigmoid only
};

/// PreferenceLoss — of B pairs; rewards β·(policy - reference), without gradients.
struct PreferenceLoss {
  Variable loss;                            // mean over the pairs
  Tensor chosen_rewards, rejected_rewards;  // [B]
};

/// preference_loss — with h = (policy_chosen - policy_rejected) - (ref_chosen - ref_rejected):
///   sigmoid: -(1-ε)·log σ(βh) - ε·log σ(-βh).  Rafailov et al. 2023, arXiv:2305.18290; ε: Mitchell
///   2023. ipo:     (h - 1/(2β))², over mean log-probabilities.  Azar et al. 2023,
///   arXiv:2310.12036.
/// Log-probabilities [B]; those of the reference come from a frozen copy, or from the same model
/// under AdaptersOff.
PreferenceLoss preference_loss(const Variable& policy_chosen, const Variable& policy_rejected,
                               const Tensor& ref_chosen, const Tensor& ref_rejected,
                               const PreferenceConfig& config);

}  // namespace ocellus
