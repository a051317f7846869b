#include "vlm/token_scores.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

namespace ocellus {
namespace {

void take_out(Scores& scores, int64_t id) {
  if (id >= 0 && id < static_cast<int64_t>(scores.size())) scores[id] = -INFINITY;
}

bool ends_with(const Tokens& seen, const int64_t* tail, size_t count) {
  return seen.size() >= count &&
         std::equal(tail, tail + count, seen.end() - static_cast<long>(count));
}

std::vector<size_t> sorted_by(const Scores& keys) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  return order;
}

double score_of_rank(Scores scores, int64_t rank) {
  const auto at = scores.begin() + std::min<int64_t>(rank, static_cast<int64_t>(scores.size())) - 1;
  std::nth_element(scores.begin(), at, scores.end(), std::greater<>());
  return *at;
}

}  // namespace

Scores log_probabilities(const Scores& scores) {
  const double top = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double s : scores) total += std::exp(s - top);
  Scores y = scores;
  for (double& s : y) s -= top + std::log(total);
  return y;
}

Scores probabilities(const Scores& scores) {
  Scores p = log_probabilities(scores);
  for (double& x : p) x = std::exp(x);
  return p;
}

void penalize_repetition(Scores& scores, const Tokens& seen, double penalty) {
  for (int64_t id : std::set<int64_t>(seen.begin(), seen.end()))
    if (id >= 0 && id < static_cast<int64_t>(scores.size()))
      scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
}

void ban_repeated_ngrams(Scores& scores, const Tokens& seen, int64_t n) {
  const auto length = static_cast<int64_t>(seen.size());
  if (n <= 0 || length < n) return;
  for (int64_t i = 0; i + n <= length; ++i)
    if (ends_with(seen, seen.data() + i, static_cast<size_t>(n - 1)))
      take_out(scores, seen[i + n - 1]);
}

void ban_words(Scores& scores, const Tokens& seen, const std::vector<Tokens>& words,
               const Tokens& stops) {
  for (const Tokens& word : words) {
    if (word.empty()) continue;
    if (word.size() == 1 && std::find(stops.begin(), stops.end(), word[0]) != stops.end()) continue;
    if (ends_with(seen, word.data(), word.size() - 1)) take_out(scores, word.back());
  }
}

void ban_tokens(Scores& scores, const Tokens& banned) {
  for (int64_t id : banned) take_out(scores, id);
}

void keep_top_k(Scores& scores, int64_t k, int64_t least) {
  k = std::max(k, least);
  if (k >= static_cast<int64_t>(scores.size())) return;
  const double bound = score_of_rank(scores, k);
  for (double& s : scores)
    if (s < bound) s = -INFINITY;
}

void keep_top_p(Scores& scores, double p, int64_t least) {
  const Scores share = probabilities(scores);
  const auto order = sorted_by(scores);
  double sum = 0;
  for (size_t i = 0; i + static_cast<size_t>(least) < order.size(); ++i) {
    sum += share[order[i]];
    if (sum <= 1 - p) scores[order[i]] = -INFINITY;
  }
}

void keep_min_p(Scores& scores, double share, int64_t least) {
  const Scores p = probabilities(scores);
  const double bound =
      std::min(share * *std::max_element(p.begin(), p.end()), score_of_rank(p, least));
  for (size_t i = 0; i < scores.size(); ++i)
    if (p[i] < bound) scores[i] = -INFINITY;
}

void keep_typical(Scores& scores, double mass, int64_t least) {
  const Scores information = log_probabilities(scores), p = probabilities(scores);
  double entropy = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) entropy -= p[i] * information[i];
  Scores distance = information;
  for (double& d : distance) d = std::fabs(-d - entropy);
  const auto order = sorted_by(distance);
  size_t last = 0;
  for (double sum = 0; last < order.size() && (sum += p[order[last]]) < mass;) ++last;
  const double bound = distance[order[std::min(last, order.size() - 1)]];
  for (size_t i = static_cast<size_t>(least); i < order.size(); ++i)
    if (distance[order[i]] > bound) scores[order[i]] = -INFINITY;
}

}  // namespace ocellus
