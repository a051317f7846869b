// Golden folders: a model as transformers saved it, and what transformers computed from it.
#pragma once
#include <string>
#include <vector>

#include "engine/dtype.h"

namespace ocellus {

/// One compared tensor, or one complaint.
struct ParityRow {
  std::string name;           // "out.logits", "grad.lm_head.weight", "gen.sequences"
  double max_error = 0;       // max|a - b|
  double relative = 0;        // max|a - b| / max|b|
  bool ok = false;
  std::string note;           // why it failed, if not by size
};

/// run_parity — computes every stored tensor of the golden folder and compares it:
/// max|a - b| ≤ atol + rtol·max|b|; integers must be equal. A tensor that nothing here produces is a
/// failed row. Throws FormatError for a folder that is no golden folder or does not load.
std::vector<ParityRow> run_parity(const std::string& folder, DType dtype);

}  // namespace ocellus
