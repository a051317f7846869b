// Generation: prefill once, then a token at a time with the cache; greedy, by drawing, or by beams.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "vlm/decoder.h"
#include "vlm/encoder_decoder.h"
#include "vlm/token_scores.h"

namespace ocellus {

/// When a beam search ends before the longest answer: as soon as all beams of a row have ended; or
/// when no running beam can still be better, judged at its present length, or at the longest one.
enum class EarlyStopping : uint8_t { kAllEnded, kNoBetter, kNever };

struct GenerateOptions {
  int64_t max_new_tokens = 32, min_new_tokens = 0;
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // 0: off
  double top_p = 1;        // 1: off
  double min_p = 0;        // 0: off
  double typical_p = 1;    // 1: off
  double repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;  // 0: off
  std::vector<Tokens> bad_words;     // never produced as a whole
  Tokens stop_tokens;
  Tokens banned_tokens;   // never produced: image slots
  int64_t pad_token = 0;  // fills rows that have stopped
  int64_t beams = 1, return_sequences = 1;
  double length_penalty = 1;  // beam scores are divided by length^penalty
  EarlyStopping early_stopping = EarlyStopping::kNoBetter;
  uint64_t seed = 0;
  /// Called after each step with the new token of every row; returning false stops. Not for beams.
  std::function<bool(const Tokens&)> on_tokens;
};

/// check_options — UsageError for a value out of its range.
void check_options(const GenerateOptions& options);

/// read_generate_options — the keys of generation_config.json (max_new_tokens, do_sample,
/// temperature, eos_token_id, bad_words_ids, num_beams …) over `options`; what is absent or null
/// stays.
void read_generate_options(const nlohmann::json& config, const std::string& who,
                           GenerateOptions& options);

/// TokenModel — what generation needs of a language model, with its cache and its place in the
/// text.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Scores of the first new token, [B, V].
  virtual Tensor start() = 0;
  /// Scores of the token after `tokens`, one for each row.
  virtual Tensor step(const Tokens& tokens) = 0;
  /// Row i continues what row rows[i] holds.
  virtual void reorder(const std::vector<int64_t>& rows) = 0;
};

/// What is continued: embedded prompt, its ids (for penalties), and a mask of real tokens (left
/// padding), empty if all are.
struct Prompt {
  Variable embeds;  // [B, T, C]
  Tensor ids;       // [B, T]
  Tensor mask;      // [B, T], 1 = real
};

/// A decoder behind a prompt, with room for `new_tokens` more. Positions count real tokens only.
std::unique_ptr<TokenModel> token_model(Decoder& decoder, const Prompt& prompt, int64_t new_tokens);
/// T5's decoder behind the start token; encoded [B, S, C], segments [B, S] i32 or undefined.
std::unique_ptr<TokenModel> token_model(EncoderDecoder& model, const Variable& encoded,
                                        const Tensor& segments, int64_t new_tokens);

/// generate — new tokens of each row, stop token included, nothing after it. `seen`: the ids before
/// them, one list a row (without padding). With beams, return_sequences lists for each row, best
/// first. Scores change in the order of transformers: repetition, n-grams, bad words, shortest
/// length, banned tokens; then, for drawing, temperature, top-k, top-p, min-p, typical. Draws come
/// from Philox by (seed, step, row), so they do not depend on the batch's other rows.
std::vector<Tokens> generate(TokenModel& model, std::vector<Tokens> seen,
                             const GenerateOptions& options);
/// The same behind a prompt.
std::vector<Tokens> generate(Decoder& decoder, const Prompt& prompt,
                             const GenerateOptions& options);

/// process_scores — the changes that hold for every way of choosing; `produced` counts new tokens.
void process_scores(Scores& scores, const Tokens& seen, int64_t produced,
                    const GenerateOptions& options);
/// warp_scores — those of drawing.
void warp_scores(Scores& scores, const GenerateOptions& options);

/// next_token — one draw from `scores` of one row as generate() makes it (greedy: the first
/// largest).
int64_t next_token(Scores scores, const Tokens& seen, const GenerateOptions& options, uint64_t step,
                   uint64_t row);

/// beam_search — generate() with options.beams beams.
std::vector<Tokens> beam_search(TokenModel& model, const std::vector<Tokens>& seen,
                                const GenerateOptions& options);

/// padded — prompts [B, T] each followed by the tokens of its answers (rows.size() / B of them),
/// filled up as transformers does: with the pad token; after a beam search with the first stop
/// token if the pad token is 0.
Tensor padded(const Tensor& prompts, const std::vector<Tokens>& rows,
              const GenerateOptions& options);

}  // namespace ocellus
