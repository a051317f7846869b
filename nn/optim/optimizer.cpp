#include "nn/optim/optimizer.h"

#include <algorithm>
#include <cmath>

#include "engine/kernels/copy.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/optim.h"

namespace ocellus {

Optimizer::Optimizer(OptimizerConfig config, std::vector<ParameterGroup> groups)
    : config_(std::move(config)), groups_(std::move(groups)) {
  check<UsageError>(config_.kind == "adamw" || config_.kind == "sgd",
                    "optimizer: \"{}\" is not one of adamw, sgd", config_.kind);
  for (const ParameterGroup& group : groups_)
    for (const auto& [name, parameter] : group.parameters) {
      const Tensor& value = parameter->value();
      Moments& moments = moments_[name];
      moments.first = Tensor::zeros(value.shape(), value.dtype(), value.device(), "optimizer");
      if (config_.kind == "adamw")
        moments.second = Tensor::zeros(value.shape(), value.dtype(), value.device(), "optimizer");
    }
}

double Optimizer::gradient_norm() const {
  Tensors gradients;
  for (const ParameterGroup& group : groups_)
    for (const auto& [name, parameter] : group.parameters)
      if (parameter->grad().defined()) gradients.push_back(parameter->grad());
  return global_norm(gradients);
}

void Optimizer::step(double lr, double gradient_scale) {
  ++step_;
  std::vector<AdamWItem> items;
  for (ParameterGroup& group : groups_)
    for (auto& [name, parameter] : group.parameters) {
      if (!parameter->grad().defined()) continue;
      Moments& moments = moments_.at(name);
      const double rate = lr * group.lr_scale;
      if (config_.kind == "adamw")
        items.push_back({&parameter->mutable_value(), &moments.first, &moments.second,
                         &parameter->grad(), rate, group.weight_decay});
      else
        sgd_step(parameter->mutable_value(), parameter->grad(), moments.first, rate, config_.momentum,
                 group.weight_decay, gradient_scale);
    }
  AdamWStep step;
  step.beta1 = config_.betas[0];
  step.beta2 = config_.betas[1];
  step.eps = config_.eps;
  step.step = step_;
  step.gradient_scale = gradient_scale;
  adamw_steps(items, step);
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  std::vector<std::pair<std::string, Tensor>> list;
  for (const auto& [name, moments] : moments_) {
    if (config_.kind == "adamw") {
      list.emplace_back("exp_avg." + name, moments.first);
      list.emplace_back("exp_avg_sq." + name, moments.second);
    } else {
      list.emplace_back("momentum." + name, moments.first);
    }
  }
  return list;
}

namespace {
void restore(const std::map<std::string, Tensor>& state, const std::string& name, Tensor& into) {
  auto found = state.find(name);
  check<FormatError>(found != state.end(), "optimizer: the checkpoint has no state {}", name);
  check<FormatError>(found->second.shape() == into.shape(), "optimizer: {} is {} in the checkpoint, {} here",
                     name, to_string(found->second.shape()), to_string(into.shape()));
  copy(found->second, into);
}
}  // namespace

void Optimizer::load_state(const std::map<std::string, Tensor>& state, int64_t steps_done) {
  for (auto& [name, moments] : moments_) {
    if (config_.kind == "adamw") {
      restore(state, "exp_avg." + name, moments.first);
      restore(state, "exp_avg_sq." + name, moments.second);
    } else {
      restore(state, "momentum." + name, moments.first);
    }
  }
  step_ = steps_done;
}

double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

std::vector<ParameterGroup> group_parameters(
    Module& module, const std::vector<std::pair<std::string, double>>& lr_by_pattern,
    double weight_decay) {
  std::vector<ParameterGroup> groups;
  std::vector<bool> used(lr_by_pattern.size(), false);
  for (auto& [name, parameter] : module.parameters()) {
    if (!parameter->trainable()) continue;
    double rate = -1;
    for (size_t i = 0; i < lr_by_pattern.size(); ++i)
      if (name_matches(lr_by_pattern[i].first, name)) {
        rate = lr_by_pattern[i].second;
        used[i] = true;
      }
    check<UsageError>(rate >= 0, "lr: no pattern gives a rate for the trained parameter {}", name);
    const double decay = parameter->value().rank() >= 2 ? weight_decay : 0;
    auto same = std::find_if(groups.begin(), groups.end(), [&](const ParameterGroup& g) {
      return g.lr_scale == rate && g.weight_decay == decay;
    });
    if (same == groups.end()) {
      groups.push_back({{}, rate, decay});
      same = groups.end() - 1;
    }
    same->parameters.emplace_back(name, parameter);
  }
  for (size_t i = 0; i < used.size(); ++i)
    check<UsageError>(used[i], "lr: pattern \"{}\" matches no trained parameter", lr_by_pattern[i].first);
  return groups;
}

Ema::Ema(Module& module, double decay) : decay_(decay), parameters_(module.parameters()) {
  check<UsageError>(decay > 0 && decay < 1, "ema: decay must lie in (0, 1), got {}", decay);
  for (auto& [name, parameter] : parameters_) averages_.push_back(parameter->value().clone());
}

void Ema::update() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& value = parameters_[i].second->value();
    Tensor step = binary_forward(BinaryOp::k_sub, value, averages_[i]);
    scale_in_place(step, 1 - decay_);
    add_in_place(averages_[i], step);
  }
}

void Ema::swap() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Tensor value = parameters_[i].second->value().clone();
    copy(averages_[i], parameters_[i].second->mutable_value());
    averages_[i] = std::move(value);
  }
}

std::vector<std::pair<std::string, Tensor>> Ema::state() const {
  std::vector<std::pair<std::string, Tensor>> list;
  for (size_t i = 0; i < parameters_.size(); ++i)
    list.emplace_back(parameters_[i].first, averages_[i]);
  return list;
}

void Ema::load_state(const std::map<std::string, Tensor>& state) {
  for (size_t i = 0; i < parameters_.size(); ++i) restore(state, parameters_[i].first, averages_[i]);
}

}  // namespace ocellus
