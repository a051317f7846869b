// Generation: prefill once, then a token at a time with the cache.
#pragma once
#include <functional>
#include <vector>

#include "vlm/decoder.h"

namespace ocellus {

struct GenerateOptions {
  int64_t max_new_tokens = 32;
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // 0: off
  double top_p = 1;        // 1: off
  double repetition_penalty = 1;
  std::vector<int64_t> stop_tokens;
  std::vector<int64_t> banned_tokens;  // never produced: image slots
  int64_t pad_token = 0;               // fills rows that have stopped
  uint64_t seed = 0;
  /// Called after each step with the new token of every row; returning false stops.
  std::function<bool(const std::vector<int64_t>&)> on_tokens;
};

/// What is continued: embedded prompt, its ids (for the repetition penalty), and a mask of real tokens
/// (left padding), empty if all are.
struct Prompt {
  Variable embeds;  // [B, T, C]
  Tensor ids;       // [B, T]
  Tensor mask;      // [B, T], 1 = real
};

/// generate — new tokens of each row, stop token included, nothing after it. Positions count real tokens
/// only. Scores are divided by temperature, penalised (Keskar et al. 2019, arXiv:1909.05858), cut by
/// top-k, then by top-p (Holtzman et al. 2019, arXiv:1904.09751); draws come from Philox by
/// (seed, step, row), so they do not depend on the batch's other rows.
std::vector<std::vector<int64_t>> generate(Decoder& decoder, const Prompt& prompt,
                                           const GenerateOptions& options);

/// next_token — one draw from `logits` of one row as generate() makes it (greedy: the first largest).
int64_t next_token(std::vector<double> logits, const std::vector<int64_t>& seen,
                   const GenerateOptions& options, uint64_t step, uint64_t row);

}  // namespace ocellus
