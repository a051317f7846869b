#include "vlm/token_scores.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/json.h"
#include "tests/data/support.h"
#include "vlm/generate.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

Scores scores_of(const json& list) {
  Scores scores;
  for (const json& x : list) scores.push_back(x.is_null() ? -INFINITY : x.get<double>());
  return scores;
}

bool draws(const json& options) {
  for (const char* key : {"temperature", "top_k", "top_p", "min_p", "typical_p"})
    if (options.contains(key)) return true;
  return false;
}

}  // namespace

TEST_CASE("token_scores: every change gives the scores that transformers gives") {
  const json stored = load_json(OCELLUS_SOURCE_DIR "/tests/golden/token_scores.json");
  const Tokens seen = stored["seen"].get<Tokens>();
  CHECK(stored["cases"].size() >= 16);
  for (const json& one : stored["cases"]) {
    json config = one["options"];
    config["eos_token_id"] = stored["eos_token_id"];
    config["do_sample"] = draws(config);
    GenerateOptions options;
    read_generate_options(config, "token_scores.json", options);
    Scores scores = scores_of(stored["scores"]);
    process_scores(scores, seen, stored["produced"].get<int64_t>(), options);
    if (draws(config)) warp_scores(scores, options);
    const Scores expected = scores_of(one["scores"]);
    REQUIRE(scores.size() == expected.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      const bool equal = scores[i] == expected[i] || std::abs(scores[i] - expected[i]) < 1e-12;
      CHECK_MESSAGE(equal, one["name"].get<std::string>() << ": token " << i << " has " << scores[i]
                                                          << ", transformers " << expected[i]);
    }
  }
}

TEST_CASE("token_scores: at least one token stays, whatever the bound") {
  const Scores scores = {0.1, 3, -2, 2.5};
  auto kept = [](const Scores& s) {
    return std::count_if(s.begin(), s.end(), [](double x) { return x > -INFINITY; });
  };
  Scores s = scores;
  keep_top_p(s, 1e-9);
  CHECK(kept(s) == 1);
  CHECK(s[1] == 3);
  s = scores;
  keep_typical(s, 1e-9);
  CHECK(kept(s) == 1);
  s = scores;
  keep_min_p(s, 1);
  CHECK(kept(s) == 1);
  s = scores;
  keep_top_k(s, 1, 2);
  CHECK(kept(s) == 2);
  s = scores;
  keep_top_p(s, 1e-9, 3);
  CHECK(kept(s) == 3);
}

TEST_CASE("token_scores: ids outside of the vocabulary are passed over") {
  Scores s = {1, -1};
  penalize_repetition(s, {-1, 7, 1}, 2);
  CHECK(s == Scores{1, -2});
  ban_tokens(s, {-3, 2});
  ban_repeated_ngrams(s, {5, 5}, 1);
  CHECK(s == Scores{1, -2});
  ban_words(s, {9}, {{}, {9, 4}}, {});
  CHECK(s == Scores{1, -2});
}
