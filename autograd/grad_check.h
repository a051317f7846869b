// The checks that every registered op must pass, run over its samples. The suite in tests/autograd
// calls them for the whole registry; `ocellus ops NAME --check` and an op's author for one.
#pragma once
#include <string>
#include <vector>

#include "autograd/op_def.h"

namespace ocellus {

struct CheckOutcome {
  std::string check, op, sample;
  bool passed = false, skipped = false;
  std::string detail;  // measured error, or what went wrong
};

/// The names: coverage gradient fan-out reference precision lanes layout bounds repeat saved.
const std::vector<std::string>& check_names();

/// Runs one check over the samples of `op`; `seed` varies inputs and cotangents.
std::vector<CheckOutcome> run_check(const std::string& check, const OpDef& op, uint64_t seed = 1);

/// Runs every check on `op`.
std::vector<CheckOutcome> check_op(const OpDef& op, uint64_t seed = 1);

}  // namespace ocellus
