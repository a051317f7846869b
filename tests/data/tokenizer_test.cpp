#include "data/tokenizer.h"

#include <doctest/doctest.h>

#include <thread>

#include "engine/check.h"

using namespace ocellus;

namespace {

Tokenizer small() {
  return Tokenizer::train_byte_bpe(
      {"what is the red shape?", "what is the blue shape?", "is it red?"}, 275,
      {"<|pad|>", "<|end|>"});
}

}  // namespace

TEST_CASE(
    "tokenizer: trained byte-level BPE gives specials, bytes and merges their ids in this order") {
  const Tokenizer t = small();
  CHECK(t.vocab_size() == 275);
  CHECK(t.token_to_id("<|pad|>") == 0);
  CHECK(t.token_to_id("<|end|>") == 1);
  CHECK(t.id_to_token(2) == "!");
  CHECK(t.is_special(1));
  CHECK_FALSE(t.is_special(2));
  CHECK(t.id_to_token(275).empty());
}

TEST_CASE("tokenizer: decode gives back what was encoded, bytes that are no UTF-8 as U+FFFD") {
  const Tokenizer t = small();
  for (const char* text :
       {"what is the red shape?", "naïve 名前 🙂\n\t x", "", " ", "a<|end|>b"})
    CHECK(t.decode(t.encode(text), false) == text);
  CHECK(t.decode(t.encode("a\xFF\xE2\x82z")) == "a\xEF\xBF\xBD\xEF\xBF\xBDz");
}

TEST_CASE("tokenizer: special tokens written in a text are parsed only if asked") {
  const Tokenizer t = small();
  CHECK(t.encode("<|end|>") == std::vector<int32_t>{1});
  const auto plain = t.encode("<|end|>", true, false);
  CHECK(plain.size() > 1);
  CHECK(t.decode(plain) == "<|end|>");
  CHECK(t.decode(t.encode("a<|end|>b")) == "ab");
}

TEST_CASE("tokenizer: a trained tokenizer read back from its own file gives the same ids") {
  const Tokenizer t = small();
  const Tokenizer again = Tokenizer::from_json(t.to_json(), "copy");
  for (const char* text : {"what is the red shape?", "blue? <|end|>", "日本"})
    CHECK(again.encode(text) == t.encode(text));
}

TEST_CASE("tokenizer: training refuses a vocabulary that cannot hold all bytes") {
  CHECK_THROWS_WITH_AS(Tokenizer::train_byte_bpe({"a"}, 200, {"<s>"}),
                       "train_byte_bpe: vocab_size must be 257 (256 bytes and 1 special tokens) to "
                       "16777215, got 200",
                       UsageError);
  CHECK_THROWS_WITH_AS(Tokenizer::train_byte_bpe({"a"}, 300, {""}),
                       "train_byte_bpe: special token \"\" is empty or not UTF-8", UsageError);
}

TEST_CASE("tokenizer: streaming never splits a character and adds up to decode") {
  const Tokenizer t = small();
  const std::string text = "é名🙂 end";
  StreamDecoder stream(t);
  std::string all;
  for (int32_t id : t.encode(text)) {
    const std::string piece = stream.push(id);
    CHECK(piece.find("\xEF\xBF\xBD") == std::string::npos);
    all += piece;
  }
  CHECK(all + stream.finish() == text);
  auto ids = t.encode("🙂");
  ids.pop_back();
  for (int32_t id : ids) CHECK(stream.push(id).empty());
  CHECK(stream.finish() == "\xEF\xBF\xBD");
}

TEST_CASE("tokenizer: threads share one tokenizer") {
  const Tokenizer t = small();
  std::vector<std::vector<int32_t>> out(4);
  std::vector<std::thread> threads;
  for (auto& ids : out)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) ids = t.encode("what is the shape " + std::to_string(i));
    });
  for (auto& thread : threads) thread.join();
  for (const auto& ids : out) CHECK(ids == t.encode("what is the shape 199"));
}
