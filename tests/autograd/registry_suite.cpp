// Runs the checks of autograd/grad_check.h over the whole registry.
//   ocellus_suite [CHECK…] [--op NAME] [--seed N] [--verbose] [--first]
// Each op and sample is one counted test; the last line is the tally. --first stops at the first failure.
#include <cstring>
#include <string>
#include <vector>

#include "autograd/grad_check.h"

int main(int argc, char** argv) {
  using namespace ocellus;
  std::vector<std::string> wanted;
  std::string only;
  uint64_t seed = 1;
  bool verbose = false, first = false;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--op") && i + 1 < argc) only = argv[++i];
    else if (!std::strcmp(argv[i], "--seed") && i + 1 < argc) seed = std::stoull(argv[++i]);
    else if (!std::strcmp(argv[i], "--verbose")) verbose = true;
    else if (!std::strcmp(argv[i], "--first")) first = true;
    else wanted.push_back(argv[i]);
  }
  if (wanted.empty()) wanted = check_names();
  int passed = 0, failed = 0;
  for (const std::string& check : wanted)
    for_each_op([&](const OpDef& op) {
      if ((!only.empty() && only != op.name) || (first && failed > 0)) return;
      for (const CheckOutcome& outcome : run_check(check, op, seed)) {
        ++(outcome.passed ? passed : failed);
        if (!outcome.passed || verbose)
          fmt::print("{} {} / {} / {}: {}\n", outcome.passed ? "ok    " : "FAILED", check,
                     outcome.op, outcome.sample, outcome.detail);
      }
    });
  if (passed + failed == 0) {
    fmt::print("FAILED no test matches\n");
    failed = 1;
  }
  fmt::print("{} passed, {} failed, 0 skipped\n", passed, failed);
  return failed ? 1 : 0;
}
