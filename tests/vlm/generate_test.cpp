#include "vlm/generate.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

DecoderConfig small_config(int64_t window = 0) {
  DecoderConfig c;
  c.vocab_size = 23;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 4;
  c.intermediate_size = 24;
  c.initializer_range = 0.5;
  c.windows = {window, 0};
  return c;
}

struct Model {
  explicit Model(int64_t window = 0) : scope(DType::kF64), decoder(small_config(window)) {
    init_parameters(decoder, 5);
  }
  Prompt prompt(const Tokens& ids, int64_t rows, const Tokens& mask = {}) {
    const int64_t width = static_cast<int64_t>(ids.size()) / rows;
    const Tensor tensor = Tensor::from(ids, {rows, width});
    return {decoder.embed(tensor), tensor,
            mask.empty() ? Tensor() : Tensor::from(mask, {rows, width})};
  }
  std::vector<Tokens> answers(const Tokens& ids, int64_t rows, const GenerateOptions& options,
                              const Tokens& mask = {}) {
    return generate(decoder, prompt(ids, rows, mask), options);
  }
  // The likeliest next token by a whole pass without a cache.
  int64_t next(const Tokens& ids) {
    const Prompt p = prompt(ids, 1);
    const auto logits = decoder.logits(decoder.hidden(p.embeds, {})).value().to_vector<double>();
    const auto last = logits.end() - decoder.config().vocab_size;
    return std::max_element(last, logits.end()) - last;
  }
  ParameterDType scope;
  Decoder decoder;
};

GenerateOptions options_of(int64_t new_tokens) {
  GenerateOptions o;
  o.max_new_tokens = new_tokens;
  return o;
}

// Log-probability of the tokens after the prompt.
double log_probability(Model& model, Tokens ids, const Tokens& answer) {
  double total = 0;
  for (int64_t token : answer) {
    const Prompt p = model.prompt(ids, 1);
    const Scores all =
        model.decoder.logits(model.decoder.hidden(p.embeds, {})).value().to_vector<double>();
    total += log_probabilities({all.end() - 23, all.end()})[token];
    ids.push_back(token);
  }
  return total;
}

}  // namespace

TEST_CASE("generate: greedy tokens are those of whole passes, with sliding caches too") {
  for (const int64_t window : {0, 3}) {
    Model model(window);
    Tokens ids = {3, 1, 4, 1, 5, 9, 2, 6, 5};
    const Tokens answer = model.answers(ids, 1, options_of(20))[0];
    REQUIRE(answer.size() == 20);
    for (int64_t token : answer) {
      CHECK(token == model.next(ids));
      ids.push_back(token);
    }
  }
}

TEST_CASE("generate: rows of a batch padded on the left answer as they do alone") {
  for (const int64_t window : {0, 4}) {
    Model model(window);
    GenerateOptions o = options_of(12);
    const auto both =
        model.answers({3, 1, 4, 1, 5, 0, 0, 0, 9, 2}, 2, o, {1, 1, 1, 1, 1, 0, 0, 0, 1, 1});
    CHECK(both[0] == model.answers({3, 1, 4, 1, 5}, 1, o)[0]);
    if (window == 0) CHECK(both[1] == model.answers({9, 2}, 1, o)[0]);
  }
}

TEST_CASE("generate: any of several stop tokens ends a row, and only that row") {
  Model model;
  const Tokens free = model.answers({3, 1, 4}, 1, options_of(10))[0];
  GenerateOptions o = options_of(10);
  o.stop_tokens = {22, free[4]};
  const Tokens stopped = model.answers({3, 1, 4}, 1, o)[0];
  const auto first = std::find(free.begin(), free.end(), free[4]);
  CHECK(stopped == Tokens(free.begin(), first + 1));
  o.min_new_tokens = 10;
  CHECK(model.answers({3, 1, 4}, 1, o)[0].size() == 10);
}

TEST_CASE("generate: draws depend on seed, step and row alone") {
  Model model;
  GenerateOptions o = options_of(8);
  o.temperature = 1.5;
  o.seed = 11;
  const auto once = model.answers({3, 1, 4, 1, 5, 9}, 2, o);
  CHECK(once == model.answers({3, 1, 4, 1, 5, 9}, 2, o));
  CHECK(once[0] == model.answers({3, 1, 4}, 1, o)[0]);
  o.seed = 12;
  CHECK(once != model.answers({3, 1, 4, 1, 5, 9}, 2, o));
  o.top_k = 1;
  CHECK(model.answers({3, 1, 4}, 1, o)[0] == model.answers({3, 1, 4}, 1, options_of(8))[0]);
}

TEST_CASE("generate: wide beams find the likeliest answer of all") {
  Model model;
  GenerateOptions o = options_of(2);
  o.beams = 23;
  const Tokens best = model.answers({3, 1, 4}, 1, o)[0];
  double top = -1e9;
  for (int64_t a = 0; a < 23; ++a)
    for (int64_t b = 0; b < 23; ++b) top = std::max(top, log_probability(model, {3, 1, 4}, {a, b}));
  CHECK(log_probability(model, {3, 1, 4}, best) == doctest::Approx(top));
}

TEST_CASE("generate: several answers of a beam search come best first, for each row") {
  Model model;
  GenerateOptions o = options_of(5);
  o.beams = 4;
  o.return_sequences = 3;
  const auto rows = model.answers({3, 1, 4, 1, 5, 9}, 2, o);
  REQUIRE(rows.size() == 6);
  for (size_t r = 0; r < 6; ++r) {
    const Tokens prompt = r < 3 ? Tokens{3, 1, 4} : Tokens{1, 5, 9};
    if (r % 3 == 0) continue;
    CHECK(log_probability(model, prompt, rows[r - 1]) > log_probability(model, prompt, rows[r]));
  }
}

TEST_CASE("generate: answers are put behind their prompts and filled up") {
  GenerateOptions o;
  o.pad_token = 7;
  const Tensor prompts = Tensor::from<int64_t>({1, 2, 3, 4}, {2, 2});
  CHECK(padded(prompts, {{5}, {6, 8}}, o).to_vector<int64_t>() == Tokens{1, 2, 5, 7, 3, 4, 6, 8});
  CHECK(padded(prompts, {{5}, {6}, {8}, {9}}, o).to_vector<int64_t>() ==
        Tokens{1, 2, 5, 1, 2, 6, 3, 4, 8, 3, 4, 9});
}

TEST_CASE("generate: options out of range are refused, each by name") {
  auto error = [](auto change) {
    GenerateOptions o;
    change(o);
    return error_of<UsageError>([&] { check_options(o); });
  };
  CHECK(error([](auto& o) { o.max_new_tokens = -1; }) ==
        "generate: max_new_tokens and min_new_tokens must not be negative");
  CHECK(error([](auto& o) { o.temperature = -1; }) == "generate: temperature must not be negative");
  CHECK(error([](auto& o) { o.top_k = -1; }) == "generate: top_k must not be negative");
  CHECK(error([](auto& o) { o.top_p = 0; }) == "generate: top_p must lie in (0, 1]");
  CHECK(error([](auto& o) { o.min_p = 2; }) == "generate: min_p must lie in [0, 1]");
  CHECK(error([](auto& o) { o.typical_p = 0; }) == "generate: typical_p must lie in (0, 1]");
  CHECK(error([](auto& o) { o.repetition_penalty = 0; }) ==
        "generate: repetition_penalty must be positive");
  CHECK(error([](auto& o) { o.no_repeat_ngram_size = -1; }) ==
        "generate: no_repeat_ngram_size must not be negative");
  CHECK(error([](auto& o) { o.beams = 0; }) == "generate: beams must be at least 1");
  CHECK(error([](auto& o) { o.return_sequences = 2; }) ==
        "generate: return_sequences must be from 1 to the number of beams");
  CHECK(error([](auto& o) {
          o.beams = 2;
          o.temperature = 1;
        }) == "generate: drawing by beams is not supported");
  CHECK(error([](auto& o) {
          o.beams = 2;
          o.on_tokens = [](const Tokens&) { return true; };
        }) == "generate: beams cannot be streamed");
}

TEST_CASE("generate: generation_config.json is read over what was there") {
  GenerateOptions o;
  o.top_k = 9;
  read_generate_options({{"max_new_tokens", 5},
                         {"do_sample", true},
                         {"temperature", 0.7},
                         {"top_k", nullptr},
                         {"eos_token_id", {2, 3}},
                         {"pad_token_id", 1},
                         {"bad_words_ids", {{4}, {5, 6}}},
                         {"num_beams", 3},
                         {"early_stopping", "never"},
                         {"length_penalty", -1.0}},
                        "g.json", o);
  CHECK(o.max_new_tokens == 5);
  CHECK(o.temperature == 0.7);
  CHECK(o.top_k == 9);
  CHECK(o.stop_tokens == Tokens{2, 3});
  CHECK(o.pad_token == 1);
  CHECK(o.bad_words == std::vector<Tokens>{{4}, {5, 6}});
  CHECK(o.beams == 3);
  CHECK(o.early_stopping == EarlyStopping::kNever);
  CHECK(o.length_penalty == -1);
  auto error = [](const json& config) {
    GenerateOptions options;
    return error_of<FormatError>([&] { read_generate_options(config, "g.json", options); });
  };
  CHECK(error({{"top_k", 1.5}}) == "g.json: top_k must be a whole number, got 1.5");
  CHECK(error({{"bad_words_ids", {1}}}) ==
        "g.json: bad_words_ids must be a list of lists of token ids");
  CHECK(error({{"early_stopping", "soon"}}) ==
        "g.json: early_stopping must be true, false or \"never\", got \"soon\"");
  CHECK(error(json::array()) == "g.json: must be an object");
}
