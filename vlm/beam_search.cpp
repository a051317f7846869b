// Beam search as transformers does it: each step keeps the best unfinished continuations of a row's
// beams, and apart from them the best finished ones, scored by log-probability over length^penalty.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/tape.h"
#include "vlm/generate.h"

namespace ocellus {
namespace {

constexpr double kDead = -1e9;  // scores of what cannot be chosen

struct Beam {
  Tokens tokens;  // new ones
  double score = kDead;
  int64_t from = 0;  // the beam it continues
  bool ended = false;
};

// One row of the batch.
struct Search {
  std::vector<Beam> running, finished;
  bool improvable = true;
};

bool better(const Beam& a, const Beam& b) { return a.score > b.score; }

void keep_best(std::vector<Beam>& beams, size_t count) {
  std::stable_sort(beams.begin(), beams.end(), better);
  beams.resize(std::min(count, beams.size()));
}

class BeamSearch {
 public:
  BeamSearch(TokenModel& model, const std::vector<Tokens>& seen, const GenerateOptions& options)
      : model_(model), seen_(seen), o_(options), beams_(static_cast<size_t>(options.beams)) {
    searches_.resize(seen.size());
    for (Search& s : searches_) {
      s.running.resize(beams_);
      s.running[0].score = 0;
      s.finished.resize(beams_);
    }
  }

  std::vector<Tokens> run() {
    Tensor logits = model_.start();
    spread_first_rows();
    bool first = true;
    for (length_ = 0;;) {
      bool all_ended = true;
      const Scores scores = logits.to_vector<double>();
      for (size_t b = 0; b < searches_.size(); ++b) all_ended &= advance(b, scores, first);
      ++length_;
      bool improvable = false, all_finished = true;
      for (Search& s : searches_) {
        update_improvable(s);
        improvable |= s.improvable;
        all_finished &= has_all_ended(s);
      }
      if (!improvable || all_ended) break;
      if (all_finished && o_.early_stopping == EarlyStopping::kAllEnded) break;
      model_.reorder(origins());
      logits = model_.step(last_tokens());
      first = false;
    }
    return answers();
  }

 private:
  // The prompt was read once per row; every beam of a row continues it.
  void spread_first_rows() {
    std::vector<int64_t> rows;
    for (size_t b = 0; b < searches_.size(); ++b)
      rows.insert(rows.end(), beams_, static_cast<int64_t>(b));
    model_.reorder(rows);
  }

  // Log-probabilities of the tokens after one beam, processed, plus its score.
  Scores continued(size_t row, const Beam& beam, const Scores& all, size_t index) const {
    const size_t rows = all.size() / vocabulary_;
    const auto begin = all.begin() + static_cast<long>(std::min(index, rows - 1) * vocabulary_);
    Scores scores = log_probabilities({begin, begin + static_cast<long>(vocabulary_)});
    Tokens seen = seen_[row];
    seen.insert(seen.end(), beam.tokens.begin(), beam.tokens.end());
    process_scores(scores, seen, length_, o_);
    for (double& s : scores) s += beam.score;
    return scores;
  }

  // The best continuations of all beams of a row, enough that `beams` of them go on.
  std::vector<Beam> candidates(size_t row, const Scores& all, bool first) const {
    Scores scores;
    for (size_t k = 0; k < beams_; ++k) {
      const Scores of_beam =
          continued(row, searches_[row].running[k], all, first ? row : row * beams_ + k);
      scores.insert(scores.end(), of_beam.begin(), of_beam.end());
    }
    const size_t count =
        std::min(scores.size(), std::max<size_t>(2, 1 + o_.stop_tokens.size()) * beams_);
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::partial_sort(
        order.begin(), order.begin() + static_cast<long>(count), order.end(),
        [&](size_t a, size_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
    std::vector<Beam> best;
    for (size_t i = 0; i < count; ++i) {
      const size_t k = order[i] / vocabulary_;
      Beam beam{searches_[row].running[k].tokens, scores[order[i]], static_cast<int64_t>(k), false};
      beam.tokens.push_back(static_cast<int64_t>(order[i] % vocabulary_));
      best.push_back(std::move(beam));
    }
    return best;
  }

  // One step of a row; true if every candidate ends there.
  bool advance(size_t row, const Scores& all, bool first) {
    vocabulary_ = all.size() / (first ? searches_.size() : searches_.size() * beams_);
    Search& search = searches_[row];
    std::vector<Beam> best = candidates(row, all, first);
    bool all_ended = true;
    for (Beam& beam : best) {
      beam.ended = length_ + 1 == o_.max_new_tokens ||
                   std::find(o_.stop_tokens.begin(), o_.stop_tokens.end(), beam.tokens.back()) !=
                       o_.stop_tokens.end();
      all_ended &= beam.ended;
    }
    std::vector<Beam> running = best;
    for (Beam& beam : running) beam.score += beam.ended ? kDead : 0;
    keep_best(running, beams_);
    finish(search, best);
    search.running = std::move(running);
    return all_ended;
  }

  // Candidates that end, if among the first `beams`, compete with those that ended before.
  void finish(Search& search, const std::vector<Beam>& best) const {
    const bool closed = !search.improvable ||
                        (o_.early_stopping == EarlyStopping::kAllEnded && has_all_ended(search));
    if (closed) return;
    for (size_t i = 0; i < beams_ && i < best.size(); ++i) {
      if (!best[i].ended) continue;
      search.finished.push_back(best[i]);
      search.finished.back().score = normalised(best[i].score, length_ + 1);
    }
    keep_best(search.finished, beams_);
  }

  double normalised(double score, int64_t length) const {
    return score / std::pow(static_cast<double>(length), o_.length_penalty);
  }
  static bool has_all_ended(const Search& s) {
    return std::all_of(s.finished.begin(), s.finished.end(), [](const Beam& b) { return b.ended; });
  }

  // Whether the best running beam, at the length that the options assume, beats the worst finished
  // one.
  void update_improvable(Search& s) const {
    const bool longest = o_.early_stopping == EarlyStopping::kNever && o_.length_penalty > 0;
    const double best = normalised(s.running[0].score, longest ? o_.max_new_tokens : length_);
    const double worst = has_all_ended(s) ? s.finished.back().score : kDead;
    s.improvable = s.improvable && best > worst;
  }

  std::vector<int64_t> origins() const {
    std::vector<int64_t> rows;
    for (size_t b = 0; b < searches_.size(); ++b)
      for (const Beam& beam : searches_[b].running)
        rows.push_back(static_cast<int64_t>(b * beams_) + beam.from);
    return rows;
  }
  Tokens last_tokens() const {
    Tokens tokens;
    for (const Search& s : searches_)
      for (const Beam& beam : s.running) tokens.push_back(beam.tokens.back());
    return tokens;
  }
  std::vector<Tokens> answers() const {
    std::vector<Tokens> rows;
    for (const Search& s : searches_)
      for (int64_t i = 0; i < o_.return_sequences; ++i) rows.push_back(s.finished[i].tokens);
    return rows;
  }

  TokenModel& model_;
  const std::vector<Tokens>& seen_;
  const GenerateOptions& o_;
  size_t beams_, vocabulary_ = 0;
  int64_t length_ = 0;
  std::vector<Search> searches_;
};

}  // namespace

std::vector<Tokens> beam_search(TokenModel& model, const std::vector<Tokens>& seen,
                                const GenerateOptions& options) {
  check_options(options);
  StopRecording stop;
  std::vector<Tokens> none(seen.size() * static_cast<size_t>(options.return_sequences));
  if (options.max_new_tokens == 0 || seen.empty()) return none;
  return BeamSearch(model, seen, options).run();
}

}  // namespace ocellus
