#include "vlm/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/tape.h"

namespace ocellus {
namespace {

bool contains(const std::vector<int64_t>& list, int64_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Positions of real tokens: 0, 1, … ; padding gets 0.
Tensor positions_of(const Tensor& mask) {
  const int64_t rows = mask.dim(0), tokens = mask.dim(1);
  const auto real = mask.to_vector<int64_t>();
  std::vector<int64_t> positions(real.size(), 0);
  for (int64_t b = 0; b < rows; ++b) {
    int64_t next = 0;
    for (int64_t t = 0; t < tokens; ++t)
      if (real[b * tokens + t]) positions[b * tokens + t] = next++;
  }
  return Tensor::from(positions, mask.shape());
}

void keep_top_k(std::vector<double>& logits, int64_t k) {
  if (k <= 0 || k >= static_cast<int64_t>(logits.size())) return;
  std::vector<double> sorted = logits;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  const double bound = sorted[k - 1];
  for (double& l : logits)
    if (l < bound) l = -INFINITY;
}

// The smallest set of most likely tokens whose probabilities reach p.
void keep_top_p(std::vector<double>& probabilities, double p) {
  if (p >= 1) return;
  std::vector<size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  double sum = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && sum >= p) probabilities[order[i]] = 0;
    sum += probabilities[order[i]];
  }
}

}  // namespace

int64_t next_token(std::vector<double> logits, const std::vector<int64_t>& seen,
                   const GenerateOptions& o, uint64_t step, uint64_t row) {
  if (o.repetition_penalty != 1) {
    std::vector<int64_t> once = seen;
    std::sort(once.begin(), once.end());
    once.erase(std::unique(once.begin(), once.end()), once.end());
    for (int64_t id : once)
      if (id >= 0 && id < static_cast<int64_t>(logits.size()))
        logits[id] = logits[id] > 0 ? logits[id] / o.repetition_penalty
                                    : logits[id] * o.repetition_penalty;
  }
  for (int64_t id : o.banned_tokens)
    if (id >= 0 && id < static_cast<int64_t>(logits.size())) logits[id] = -INFINITY;
  if (o.temperature <= 0)
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  for (double& l : logits) l /= o.temperature;
  keep_top_k(logits, o.top_k);
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  double total = 0;
  for (size_t i = 0; i < p.size(); ++i) total += p[i] = std::exp(logits[i] - top);
  for (double& x : p) x /= total;
  keep_top_p(p, o.top_p);
  total = std::accumulate(p.begin(), p.end(), 0.0);
  const double u = total * (RngKey{o.seed, step}.word(row) + 0.5) * 0x1p-32;
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if ((sum += p[i]) > u) return static_cast<int64_t>(i);
  return std::max_element(p.begin(), p.end()) - p.begin();
}

std::vector<std::vector<int64_t>> generate(Decoder& decoder, const Prompt& prompt,
                                           const GenerateOptions& o) {
  check<UsageError>(o.max_new_tokens >= 0 && o.temperature >= 0 && o.top_p > 0 && o.top_p <= 1 &&
                        o.top_k >= 0 && o.repetition_penalty > 0,
                    "generate: max_new_tokens, temperature and top_k must not be negative, top_p lie in "
                    "(0, 1], repetition_penalty be positive");
  StopRecording stop;
  const int64_t rows = prompt.embeds.dim(0), tokens = prompt.embeds.dim(1);
  std::vector<std::vector<int64_t>> produced(static_cast<size_t>(rows));
  if (o.max_new_tokens == 0 || rows == 0) return produced;
  KvCache cache = decoder.make_cache(rows, tokens + o.max_new_tokens);
  const bool padded = prompt.mask.defined();
  std::vector<int64_t> lengths(static_cast<size_t>(rows), tokens);
  DecoderPass pass;
  pass.cache = &cache;
  if (padded) {
    const auto mask = prompt.mask.to_vector<int64_t>();
    int32_t* segments = cache.segments().mutable_data<int32_t>("generate");
    for (int64_t b = 0; b < rows; ++b) {
      lengths[b] = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        lengths[b] += mask[b * tokens + t] != 0;
        segments[b * cache.capacity() + t] = mask[b * tokens + t] ? 0 : -1;
      }
    }
    pass.positions = positions_of(prompt.mask);
    pass.segments = cache.segments().sliced(1, 0, tokens);
  }
  std::vector<std::vector<int64_t>> seen(static_cast<size_t>(rows));
  const auto ids = prompt.ids.to_vector<int64_t>();
  for (int64_t b = 0; b < rows; ++b)
    seen[b].assign(ids.begin() + b * tokens, ids.begin() + (b + 1) * tokens);

  Variable h = decoder.hidden(prompt.embeds, pass);
  Variable last = slice(h, 1, tokens - 1, tokens);
  std::vector<bool> done(static_cast<size_t>(rows), false);
  for (int64_t step = 0; step < o.max_new_tokens; ++step) {
    const auto logits = decoder.logits(last).value().to_vector<double>();
    const int64_t vocabulary = static_cast<int64_t>(logits.size()) / rows;
    std::vector<int64_t> next(static_cast<size_t>(rows), o.pad_token);
    for (int64_t b = 0; b < rows; ++b) {
      if (done[b]) continue;
      const auto begin = logits.begin() + b * vocabulary;
      next[b] = next_token({begin, begin + vocabulary}, seen[b], o, static_cast<uint64_t>(step),
                           static_cast<uint64_t>(b));
      produced[b].push_back(next[b]);
      seen[b].push_back(next[b]);
      done[b] = contains(o.stop_tokens, next[b]);
    }
    if (o.on_tokens && !o.on_tokens(next)) break;
    if (std::all_of(done.begin(), done.end(), [](bool d) { return d; }) ||
        step + 1 == o.max_new_tokens)
      break;
    if (padded) {
      std::vector<int64_t> positions;
      for (int64_t b = 0; b < rows; ++b) positions.push_back(lengths[b] + step);
      pass.positions = Tensor::from(positions, {rows, 1});
      pass.segments = cache.segments().sliced(1, 0, tokens + step + 1);
    } else {
      pass.positions = Tensor();
    }
    last = decoder.hidden(decoder.embed(Tensor::from(next, {rows, 1})), pass);
  }
  return produced;
}

}  // namespace ocellus
