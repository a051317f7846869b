// The shared oracles: ids that the original tokenizers of six models give.
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "tests/data/support.h"

using namespace ocellus;
using Json = nlohmann::json;

namespace {

/// What transformers.js does to decoded text before it shows it.
std::string cleaned(std::string text) {
  for (const char* sign : {" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're"})
    for (size_t at = text.find(sign); at != std::string::npos; at = text.find(sign))
      text.erase(at, 1);
  return text;
}

/// `bos`: the oracle puts this id first, the file does not.
void check_oracle(const std::string& name, const std::string& file, bool special,
                  int32_t bos = -1) {
  const std::string folder = "data/tokenizers/";
  if (!test::have_shared(folder + file)) return;
  const Tokenizer t = Tokenizer::load((test::shared_root() / folder / file).string());
  std::istringstream lines(
      test::slurp(test::shared_root() / folder / ("oracles/" + name + ".jsonl")));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const Json oracle = Json::parse(line);
    const auto text = oracle["text"].get<std::string>();
    CAPTURE(text);
    std::vector<int32_t> ids = t.encode(text, special);
    if (bos >= 0) ids.insert(ids.begin(), bos);
    CHECK(ids == oracle["ids"].get<std::vector<int32_t>>());
    StreamDecoder stream(t, false);
    std::string streamed;
    for (int32_t id : ids) streamed += stream.push(id);
    CHECK(streamed + stream.finish() == t.decode(ids, false));
    if (oracle.contains("decoded")) {
      const std::string decoded = t.decode(ids, false), want = oracle["decoded"];
      CHECK_MESSAGE((decoded == want || cleaned(decoded) == want), decoded, " is not ", want);
    }
  }
  CHECK(count >= 4);
}

}  // namespace

TEST_CASE("tokenizer: oracle of GPT-2 (vocab.json and merges.txt)") {
  check_oracle("gpt2", "gpt2", false);
}
TEST_CASE("tokenizer: oracle of CLIP (end-of-word suffix, both special tokens)") {
  check_oracle("clip", "clip", true);
}
TEST_CASE("tokenizer: oracle of Phi-3 mini (SentencePiece BPE with byte fallback)") {
  check_oracle("phi3-mini", "phi3-mini", false);
}
TEST_CASE("tokenizer: oracle of Llama on the Phi-3 vocabulary") {
  check_oracle("llama-bos-on-phi3-vocab", "phi3-mini", false, 1);
}
TEST_CASE("tokenizer: oracle of Falcon (sequence of four pre-tokenizers)") {
  check_oracle("falcon", "falcon", false);
}
TEST_CASE("tokenizer: oracle of cl100k (tiktoken)") {
  check_oracle("cl100k_base", "cl100k_base/cl100k_base.tiktoken", false);
}
TEST_CASE("tokenizer: oracle of T5 small (Unigram, precompiled character map, no type field)") {
  check_oracle("t5-small", "t5-small", true);
}

TEST_CASE(
    "tokenizer: a tokenizer.json written from GPT-2's and cl100k's own files gives the same ids") {
  for (const char* file : {"gpt2", "cl100k_base/cl100k_base.tiktoken"}) {
    if (!test::have_shared(std::string("data/tokenizers/") + file)) continue;
    const Tokenizer t = Tokenizer::load((test::shared_root() / "data/tokenizers" / file).string());
    const Tokenizer again = Tokenizer::from_json(t.to_json(), "copy");
    CHECK(again.vocab_size() == t.vocab_size());
    for (const char* text :
         {"Hello, world! It's 2024.", "  naïve façade\n\n\t日本語 🙂🙃", "<|endoftext|>x",
          "antidisestablishmentarianism supercalifragilistic ¼½¾"}) {
      CHECK(again.encode(text) == t.encode(text));
      CHECK(again.decode(again.encode(text), false) == text);
    }
  }
}
