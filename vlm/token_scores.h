// Scores of the next token, changed before one is chosen: what transformers calls logits processors
// and warpers. Each works on one row, in place; -infinity takes a token out.
#pragma once
#include <cstdint>
#include <vector>

namespace ocellus {

using Scores = std::vector<double>;  // [V]
using Tokens = std::vector<int64_t>;

/// Divides positive scores of the tokens in `seen` by `penalty`, multiplies negative ones by it.
/// Keskar et al. 2019, arXiv:1909.05858.
void penalize_repetition(Scores& scores, const Tokens& seen, double penalty);
/// Takes out every token that would complete an n-gram that `seen` has already.  Paulus et al.
/// 2017, arXiv:1705.04304.
void ban_repeated_ngrams(Scores& scores, const Tokens& seen, int64_t n);
/// Takes out the last token of every word whose other tokens end `seen`; a word that is one of
/// `stops` alone stays.
void ban_words(Scores& scores, const Tokens& seen, const std::vector<Tokens>& words,
               const Tokens& stops);
void ban_tokens(Scores& scores, const Tokens& banned);

// The following keep at least `least` tokens.

/// The k highest scores, and those equal to the lowest of them.
void keep_top_k(Scores& scores, int64_t k, int64_t least = 1);
/// The fewest likely tokens of total probability ≥ p.  Holtzman et al. 2019, arXiv:1904.09751.
void keep_top_p(Scores& scores, double p, int64_t least = 1);
/// Tokens of at least `share` of the highest probability.  Nguyen et al. 2024, arXiv:2407.01082.
void keep_min_p(Scores& scores, double share, int64_t least = 1);
/// The tokens whose information is nearest to the entropy, of total probability ≥ mass.
/// Meister et al. 2022, arXiv:2202.00666.
void keep_typical(Scores& scores, double mass, int64_t least = 1);

/// e^{score - max}/Σ, and score - log Σ e^score; tokens that are out have 0 and -infinity.
Scores probabilities(const Scores& scores);
Scores log_probabilities(const Scores& scores);

}  // namespace ocellus
