#include "vlm/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/tape.h"

namespace ocellus {
namespace {

bool contains(const Tokens& list, int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Positions of real tokens: 0, 1, … ; padding gets 0.
Tensor positions_of(const Tensor& mask) {
  const int64_t rows = mask.dim(0), tokens = mask.dim(1);
  const auto real = mask.to_vector<int64_t>();
  Tokens positions(real.size(), 0);
  for (int64_t b = 0; b < rows; ++b) {
    int64_t next = 0;
    for (int64_t t = 0; t < tokens; ++t)
      if (real[b * tokens + t]) positions[b * tokens + t] = next++;
  }
  return Tensor::from(positions, mask.shape());
}

Variable last_token(const Variable& h) { return slice(h, 1, h.dim(1) - 1, h.dim(1)); }

Tensor as_rows(const Tensor& logits) { return logits.view_as({logits.dim(0), logits.dim(-1)}); }

class DecoderModel : public TokenModel {
 public:
  DecoderModel(Decoder& decoder, const Prompt& prompt, int64_t new_tokens)
      : decoder_(decoder),
        prompt_(prompt),
        tokens_(prompt.embeds.dim(1)),
        cache_(decoder.make_cache(prompt.embeds.dim(0), tokens_ + new_tokens)),
        lengths_(static_cast<size_t>(prompt.embeds.dim(0)), tokens_) {}

  Tensor start() override {
    DecoderPass pass;
    pass.cache = &cache_;
    if (prompt_.mask.defined()) {
      mark_padding();
      pass.positions = positions_of(prompt_.mask);
      pass.segments = cache_.segments().sliced(1, 0, tokens_);
    }
    return scores(decoder_.hidden(prompt_.embeds, pass));
  }

  Tensor step(const Tokens& tokens) override {
    DecoderPass pass;
    pass.cache = &cache_;
    ++tokens_;
    const auto rows = static_cast<int64_t>(tokens.size());
    if (prompt_.mask.defined()) {
      pass.positions = Tensor::from(lengths_, {rows, 1});
      pass.segments = cache_.segments().sliced(1, 0, tokens_);
    }
    for (int64_t& length : lengths_) ++length;
    return scores(decoder_.hidden(decoder_.embed(Tensor::from(tokens, {rows, 1})), pass));
  }

  void reorder(const std::vector<int64_t>& rows) override {
    cache_.reorder(rows);
    Tokens lengths;
    for (int64_t row : rows) lengths.push_back(lengths_[row]);
    lengths_ = lengths;
  }

 private:
  Tensor scores(const Variable& h) { return as_rows(decoder_.logits(last_token(h)).value()); }
  void mark_padding() {
    const auto mask = prompt_.mask.to_vector<int64_t>();
    int32_t* segments = cache_.segments().mutable_data<int32_t>("generate");
    for (int64_t b = 0; b < cache_.batch(); ++b) {
      lengths_[b] = 0;
      for (int64_t t = 0; t < tokens_; ++t) {
        lengths_[b] += mask[b * tokens_ + t] != 0;
        segments[b * cache_.capacity() + t] = mask[b * tokens_ + t] ? 0 : -1;
      }
    }
  }

  Decoder& decoder_;
  Prompt prompt_;
  int64_t tokens_;
  KvCache cache_;
  Tokens lengths_;
};

class EncoderDecoderModel : public TokenModel {
 public:
  EncoderDecoderModel(EncoderDecoder& model, const Variable& encoded, const Tensor& segments,
                      int64_t new_tokens)
      : model_(model),
        cache_(model.make_cache(encoded.dim(0), new_tokens)),
        cross_cache_(model.make_cache(encoded.dim(0), encoded.dim(1))) {
    pass_.encoded = encoded;
    pass_.encoded_segments = segments;
    pass_.cache = &cache_;
    pass_.cross_cache = &cross_cache_;
  }
  Tensor start() override {
    return step(
        Tokens(static_cast<size_t>(cache_.batch()), model_.config().decoder_start_token_id));
  }
  Tensor step(const Tokens& tokens) override {
    const Tensor ids = Tensor::from(tokens, {static_cast<int64_t>(tokens.size()), 1});
    return as_rows(model_.logits(model_.decode(ids, pass_)).value());
  }
  void reorder(const std::vector<int64_t>& rows) override {
    cache_.reorder(rows);
    cross_cache_.reorder(rows);
    if (!pass_.encoded_segments.defined()) return;
    const int64_t length = pass_.encoded_segments.dim(1);
    const auto from = pass_.encoded_segments.to_vector<int32_t>();
    std::vector<int32_t> to;
    for (int64_t row : rows)
      to.insert(to.end(), from.begin() + row * length, from.begin() + (row + 1) * length);
    pass_.encoded_segments = Tensor::from(to, {static_cast<int64_t>(rows.size()), length});
  }

 private:
  EncoderDecoder& model_;
  KvCache cache_, cross_cache_;
  T5Pass pass_;
};

// A token drawn with the given probabilities.
int64_t drawn(const Scores& p, RngKey key, uint64_t row) {
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  const double u = total * (key.word(row) + 0.5) * 0x1p-32;
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if ((sum += p[i]) > u) return static_cast<int64_t>(i);
  return std::max_element(p.begin(), p.end()) - p.begin();
}

}  // namespace

std::unique_ptr<TokenModel> token_model(Decoder& decoder, const Prompt& prompt,
                                        int64_t new_tokens) {
  return std::make_unique<DecoderModel>(decoder, prompt, new_tokens);
}
std::unique_ptr<TokenModel> token_model(EncoderDecoder& model, const Variable& encoded,
                                        const Tensor& segments, int64_t new_tokens) {
  return std::make_unique<EncoderDecoderModel>(model, encoded, segments, new_tokens);
}

void check_options(const GenerateOptions& o) {
  auto in_range = [](bool holds, const char* what) {
    check<UsageError>(holds, "generate: {}", what);
  };
  in_range(o.max_new_tokens >= 0 && o.min_new_tokens >= 0,
           "max_new_tokens and min_new_tokens must not be negative");
  in_range(o.temperature >= 0, "temperature must not be negative");
  in_range(o.top_k >= 0, "top_k must not be negative");
  in_range(o.top_p > 0 && o.top_p <= 1, "top_p must lie in (0, 1]");
  in_range(o.min_p >= 0 && o.min_p <= 1, "min_p must lie in [0, 1]");
  in_range(o.typical_p > 0 && o.typical_p <= 1, "typical_p must lie in (0, 1]");
  in_range(o.repetition_penalty > 0, "repetition_penalty must be positive");
  in_range(o.no_repeat_ngram_size >= 0, "no_repeat_ngram_size must not be negative");
  in_range(o.beams >= 1, "beams must be at least 1");
  in_range(o.return_sequences >= 1 && o.return_sequences <= o.beams,
           "return_sequences must be from 1 to the number of beams");
  in_range(o.beams == 1 || o.temperature == 0, "drawing by beams is not supported");
  in_range(o.beams == 1 || !o.on_tokens, "beams cannot be streamed");
}

void process_scores(Scores& scores, const Tokens& seen, int64_t produced,
                    const GenerateOptions& o) {
  if (o.repetition_penalty != 1) penalize_repetition(scores, seen, o.repetition_penalty);
  ban_repeated_ngrams(scores, seen, o.no_repeat_ngram_size);
  ban_words(scores, seen, o.bad_words, o.stop_tokens);
  if (produced < o.min_new_tokens) ban_tokens(scores, o.stop_tokens);
  ban_tokens(scores, o.banned_tokens);
}

void warp_scores(Scores& scores, const GenerateOptions& o) {
  for (double& s : scores) s /= o.temperature;
  if (o.top_k > 0) keep_top_k(scores, o.top_k);
  if (o.top_p < 1) keep_top_p(scores, o.top_p);
  if (o.min_p > 0) keep_min_p(scores, o.min_p);
  if (o.typical_p < 1) keep_typical(scores, o.typical_p);
}

int64_t next_token(Scores scores, const Tokens& seen, const GenerateOptions& o, uint64_t step,
                   uint64_t row) {
  process_scores(scores, seen, static_cast<int64_t>(step), o);
  if (o.temperature <= 0) return std::max_element(scores.begin(), scores.end()) - scores.begin();
  warp_scores(scores, o);
  return drawn(probabilities(scores), RngKey{o.seed, step}, row);
}

std::vector<Tokens> generate(TokenModel& model, std::vector<Tokens> seen,
                             const GenerateOptions& o) {
  check_options(o);
  StopRecording stop;
  const size_t rows = seen.size();
  std::vector<Tokens> produced(rows * static_cast<size_t>(o.return_sequences));
  if (o.max_new_tokens == 0 || rows == 0) return produced;
  if (o.beams > 1) return beam_search(model, seen, o);
  std::vector<bool> done(rows, false);
  Tensor logits = model.start();
  for (int64_t step = 0;; ++step) {
    const Scores all = logits.to_vector<double>();
    const auto vocabulary = static_cast<int64_t>(all.size() / rows);
    Tokens next(rows, o.pad_token);
    for (size_t b = 0; b < rows; ++b) {
      if (done[b]) continue;
      const auto begin = all.begin() + static_cast<int64_t>(b) * vocabulary;
      next[b] = next_token({begin, begin + vocabulary}, seen[b], o, static_cast<uint64_t>(step), b);
      produced[b].push_back(next[b]);
      seen[b].push_back(next[b]);
      done[b] = contains(o.stop_tokens, next[b]);
    }
    if (o.on_tokens && !o.on_tokens(next)) break;
    if (std::all_of(done.begin(), done.end(), [](bool d) { return d; }) ||
        step + 1 == o.max_new_tokens)
      break;
    logits = model.step(next);
  }
  return produced;
}

std::vector<Tokens> generate(Decoder& decoder, const Prompt& prompt, const GenerateOptions& o) {
  check_options(o);
  StopRecording stop;
  const int64_t rows = prompt.embeds.dim(0), tokens = prompt.embeds.dim(1);
  const auto ids = prompt.ids.to_vector<int64_t>();
  const auto mask =
      prompt.mask.defined() ? prompt.mask.to_vector<int64_t>() : Tokens(ids.size(), 1);
  std::vector<Tokens> seen(static_cast<size_t>(rows));
  for (int64_t b = 0; b < rows; ++b)
    for (int64_t t = 0; t < tokens; ++t)
      if (mask[b * tokens + t]) seen[b].push_back(ids[b * tokens + t]);
  return generate(*token_model(decoder, prompt, o.max_new_tokens), std::move(seen), o);
}

Tensor padded(const Tensor& prompts, const std::vector<Tokens>& rows, const GenerateOptions& o) {
  size_t longest = 0;
  for (const Tokens& row : rows) longest = std::max(longest, row.size());
  const int64_t fill =
      o.beams > 1 && o.pad_token == 0 && !o.stop_tokens.empty() ? o.stop_tokens[0] : o.pad_token;
  const int64_t prompt = prompts.dim(1), width = prompt + static_cast<int64_t>(longest);
  const int64_t count = static_cast<int64_t>(rows.size());
  const auto from = prompts.to_vector<int64_t>();
  Tokens all;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t b = r * prompts.dim(0) / count;
    all.insert(all.end(), from.begin() + b * prompt, from.begin() + (b + 1) * prompt);
    all.insert(all.end(), rows[r].begin(), rows[r].end());
    all.resize(static_cast<size_t>((r + 1) * width), fill);
  }
  return Tensor::from(all, {count, width});
}

}  // namespace ocellus
