// Where in a text the tokens lie, and that long texts take no longer than their length.
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "tests/data/support.h"

using namespace ocellus;
using Json = nlohmann::json;

namespace {

Tokenizer with(const char* changes) {
  Json file = Json::parse(R"({"version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "unk_token": "?", "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3, "▁": 4, "é": 5},
              "merges": [["a", "b"]]}})");
  file.merge_patch(Json::parse(changes));
  return Tokenizer::from_json(file.dump(), "t.json");
}

std::vector<std::pair<size_t, size_t>> ranges_of(const Tokenizer& t, std::string_view text) {
  std::vector<TextRange> ranges;
  t.encode_with_ranges(text, {}, ranges);
  std::vector<std::pair<size_t, size_t>> out;
  for (const TextRange& r : ranges) out.emplace_back(r.begin, r.end);
  return out;
}

using Pairs = std::vector<std::pair<size_t, size_t>>;

}  // namespace

TEST_CASE("tokenizer: ranges are bytes of the text before normalization") {
  const Tokenizer t = with(R"({"normalizer": {"type": "Sequence", "normalizers": [
      {"type": "NFC"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}})");
  CHECK(ranges_of(t, "AB E\u0301ab") == Pairs{{0, 2}, {2, 3}, {3, 4}, {6, 8}});
  CHECK(ranges_of(with("{}"), "a中b") == Pairs{{0, 1}, {1, 4}, {4, 5}});
}

TEST_CASE("tokenizer: tokens of a part of a character have the range of the whole") {
  const Tokenizer t = Tokenizer::train_byte_bpe({"a"}, 256, {});
  CHECK(ranges_of(t, "aé") == Pairs{{0, 1}, {1, 3}, {1, 3}});
}

TEST_CASE("tokenizer: a text of one long line takes time by its length, of every kind") {
  std::string letters, blanks, mixed, marks = "e";
  for (int i = 0; i < 200000; ++i) {
    letters += "ab"[i % 2];
    blanks += ' ';
    mixed += i % 3 ? "ab" : " ";
    if (i % 4 == 0) marks += "\u0301";
  }
  const char* const kinds[] = {
      "{}",
      R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}})",
      R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
          {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}]}})",
      R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "use_regex": false}})",
      R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\w+|\\s+(?!\\S)|\\s"}, "behavior": "Isolated",
          "invert": false}})",
      R"({"normalizer": {"type": "NFC"}})",
      R"({"added_tokens": [{"content": "  ", "single_word": false, "lstrip": true, "rstrip": true,
          "normalized": false, "special": false}]})",
      R"({"model": {"type": "Unigram", "unk_id": 0,
          "vocab": [["?", 0.0], ["a", -1.0], ["b", -1.0], ["ab", -1.5], ["▁", -1.0]], "merges": null, "unk_token": null}})",
      R"({"model": {"type": "WordPiece", "continuing_subword_prefix": "", "max_input_chars_per_word": 1000000,
          "merges": null}})"};
  for (const char* kind : kinds) {
    CAPTURE(kind);
    const Tokenizer t = with(kind);
    for (const std::string* text : {&letters, &blanks, &mixed, &marks}) {
      std::vector<TextRange> ranges;
      const std::vector<int32_t> ids = t.encode_with_ranges(*text, {}, ranges);
      CHECK(ids == t.encode(*text));
      CHECK(ranges.size() == ids.size());
    }
  }
}
