// Optimizers over groups of parameters. State is f32 (f64 for f64 parameters) and keyed by name, so
// that a checkpoint resumes whatever the order of groups.
#pragma once
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace ocellus {

/// ParameterGroup — parameters that share a rate and a decay.
struct ParameterGroup {
  std::vector<std::pair<std::string, Parameter*>> parameters;
  double lr_scale = 1;      // multiplies the rate given to step()
  double weight_decay = 0;
};

struct OptimizerConfig {
  std::string kind = "adamw";  // adamw | sgd
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double momentum = 0.9;  // sgd
};

/// Optimizer — AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101) or SGD with momentum.
class Optimizer {
 public:
  Optimizer(OptimizerConfig config, std::vector<ParameterGroup> groups);

  /// √Σ g² over all groups, before clipping; f64.
  double gradient_norm() const;
  /// One update with gradients multiplied by `gradient_scale` (the clip factor); parameters without a
  /// gradient are left alone. Bumps the parameters' versions in the name of the optimizer.
  void step(double lr, double gradient_scale = 1);
  int64_t steps_done() const { return step_; }
  const std::vector<ParameterGroup>& groups() const { return groups_; }

  /// State by name ("exp_avg.NAME", "exp_avg_sq.NAME" or "momentum.NAME"), for checkpoints.
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// Restores it; FormatError naming the tensor that is missing or of another shape.
  void load_state(const std::map<std::string, Tensor>& state, int64_t steps_done);

 private:
  struct Moments { Tensor first, second; };
  OptimizerConfig config_;
  std::vector<ParameterGroup> groups_;
  std::map<std::string, Moments> moments_;
  int64_t step_ = 0;
};

/// clip_factor — min(1, limit/(norm + 1e-6)); 1 if limit is 0.
double clip_factor(double norm, double limit);

/// group_parameters — groups of the trainable parameters of `module` by rate and decay: the rate of the
/// last pattern that matches, decay only on matrices (rank ≥ 2), never on biases and
/// norms. UsageError for a pattern that matches no trainable parameter, or a parameter no pattern matches.
std::vector<ParameterGroup> group_parameters(
    Module& module, const std::vector<std::pair<std::string, double>>& lr_by_pattern,
    double weight_decay);

/// Ema — moving average of parameters, avg ← decay·avg + (1 - decay)·value.
class Ema {
 public:
  Ema(Module& module, double decay);
  void update();
  /// Exchanges averages and parameters: call before and after an evaluation.
  void swap();
  std::vector<std::pair<std::string, Tensor>> state() const;
  void load_state(const std::map<std::string, Tensor>& state);

 private:
  double decay_;
  std::vector<std::pair<std::string, Parameter*>> parameters_;
  std::vector<Tensor> averages_;
};

}  // namespace ocellus
