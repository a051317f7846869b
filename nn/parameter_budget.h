// A bound on what a config may make of a model, before the names of its file are compared.
#pragma once
#include <cstdint>
#include <string>

#include "nn/checkpoint_file.h"

namespace ocellus {

/// ParameterBudget — while it lives, modules of this thread may register four times the tensors and
/// elements of `checkpoint`, and a little more: enough for a model that belongs to another file, so
/// that load_parameters can name the differences; far less than a config with absurd sizes asks
/// for. Beyond it parameter_() throws a FormatError that begins with `who`.
class ParameterBudget {
 public:
  ParameterBudget(const CheckpointReader& checkpoint, std::string who);
  ~ParameterBudget();
  ParameterBudget(const ParameterBudget&) = delete;
  ParameterBudget& operator=(const ParameterBudget&) = delete;
  /// Takes a parameter of this shape from the budget of this thread, if there is one.
  static void take(const std::string& name, const Shape& shape);

 private:
  std::string who_;
  int64_t tensors_, elements_;
  ParameterBudget* before_;
};

}  // namespace ocellus
