#include "vlm/preference.h"

#include "vlm/language_loss.h"

namespace ocellus {

Variable sequence_logps(const Variable& logits, const Tensor& labels, bool mean) {
  check<ShapeError>(logits.rank() == 3 && labels.shape() == Shape({logits.dim(0), logits.dim(1)}),
                    "sequence_logps: labels must be [B, T] of logits {}, got {}",
                    to_string(logits.shape()), to_string(labels.shape()));
  const int64_t rows = logits.dim(0), tokens = logits.dim(1), vocabulary = logits.dim(2);
  const Tensor targets = shifted_labels(labels);
  Variables logps;
  for (int64_t b = 0; b < rows; ++b) {
    const LossSum loss = cross_entropy(reshape(slice(logits, 0, b, b + 1), {tokens, vocabulary}),
                                       targets.sliced(0, b, b + 1).reshaped({tokens}));
    check<UsageError>(loss.count > 0, "sequence_logps: row {} has no target", b);
    logps.push_back(
        reshape(mul(loss.sum, mean ? -1.0 / static_cast<double>(loss.count) : -1.0), {1}));
  }
  return concat(logps, 0);
}

namespace {
// Σ_i log(1 + e^{-x_i}) for sign = 1, log(1 + e^{x_i}) for sign = -1: cross-entropy of (x, 0).
Variable negative_log_sigmoid(const Variable& x, int sign) {
  const int64_t rows = x.dim(0);
  const Variable column = reshape(x, {rows, 1});
  const Variable logits = concat({column, mul(column, 0.0)}, 1);
  return cross_entropy(logits, Tensor::full({rows}, sign > 0 ? 0 : 1, DType::kI64)).sum;
}
}  // namespace

PreferenceLoss preference_loss(const Variable& policy_chosen, const Variable& policy_rejected,
                               const Tensor& ref_chosen, const Tensor& ref_rejected,
                               const PreferenceConfig& config) {
  check<ShapeError>(policy_chosen.rank() == 1 && policy_rejected.shape() == policy_chosen.shape() &&
                        ref_chosen.shape() == policy_chosen.shape() &&
                        ref_rejected.shape() == policy_chosen.shape(),
                    "preference_loss: all log-probabilities must be [B], got {}, {}, {} and {}",
                    to_string(policy_chosen.shape()), to_string(policy_rejected.shape()),
                    to_string(ref_chosen.shape()), to_string(ref_rejected.shape()));
  check<UsageError>(config.beta > 0, "preference_loss: beta must be positive, got {}", config.beta);
  check<UsageError>(config.label_smoothing >= 0 && config.label_smoothing < 0.5,
                    "preference_loss: label_smoothing must be in [0, 0.5), got {}",
                    config.label_smoothing);
  const Variable chosen = sub(policy_chosen, constant(ref_chosen));
  const Variable rejected = sub(policy_rejected, constant(ref_rejected));
  const Variable h = sub(chosen, rejected);
  const double share = 1.0 / static_cast<double>(h.dim(0));
  PreferenceLoss out;
  if (config.loss_type == "sigmoid") {
    const Variable x = mul(h, config.beta);
    out.loss = mul(negative_log_sigmoid(x, 1), (1 - config.label_smoothing) * share);
    if (config.label_smoothing > 0)
      out.loss = add(out.loss, mul(negative_log_sigmoid(x, -1), config.label_smoothing * share));
  } else if (config.loss_type == "ipo") {
    check<UsageError>(config.label_smoothing == 0, "preference_loss: ipo has no label_smoothing");
    out.loss = mul(sum(square(add(h, -1 / (2 * config.beta)))), share);
  } else {
    fail<UsageError>("preference_loss: loss_type \"{}\" is not one of sigmoid, ipo",
                     config.loss_type);
  }
  out.chosen_rewards = mul(constant(chosen.value()), config.beta).value();
  out.rejected_rewards = mul(constant(rejected.value()), config.beta).value();
  return out;
}

}  // namespace ocellus
