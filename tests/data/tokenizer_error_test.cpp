// What is wrong with a tokenizer file is said with file, place and rule.
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "tests/data/support.h"

using namespace ocellus;
using Json = nlohmann::json;
using test::error_of;

namespace {

Json file() {
  return Json::parse(R"({"version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}})");
}

/// The message for the file with `value` at `pointer`.
std::string refusal(const char* pointer, const char* value) {
  Json changed = file();
  changed[Json::json_pointer(pointer)] = Json::parse(value);
  return error_of<FormatError>([&] { Tokenizer::from_json(changed.dump(), "t.json"); });
}

}  // namespace

TEST_CASE("tokenizer: unknown kinds are refused by name") {
  CHECK(refusal("/version", R"("2.0")") ==
        "t.json: version \"2.0\" is not supported, only \"1.0\"");
  CHECK(refusal("/normalizer", R"({"type": "Upper"})") ==
        "t.json: normalizer: normalizer \"Upper\" is not supported");
  CHECK(refusal("/normalizer",
                R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "X"}]})") ==
        "t.json: normalizer.normalizers[1]: normalizer \"X\" is not supported");
  CHECK(refusal("/pre_tokenizer", R"({"type": "UnicodeScripts"})") ==
        "t.json: pre_tokenizer: pre_tokenizer \"UnicodeScripts\" is not supported");
  CHECK(refusal("/pre_tokenizer", R"({"type": "Punctuation", "behavior": "Gone"})") ==
        "t.json: pre_tokenizer: behavior \"Gone\" is not supported");
  CHECK(refusal("/post_processor", R"({"type": "P"})") ==
        "t.json: post_processor: post_processor \"P\" is not supported");
  CHECK(refusal("/decoder", R"({"type": "D"})") ==
        "t.json: decoder: decoder \"D\" is not supported");
  CHECK(refusal("/model/type", R"("Neural")") ==
        "t.json: model: model \"Neural\" is not supported");
  CHECK(refusal("/model/dropout", "0.1") ==
        "t.json: model.dropout: dropout of merges is not supported");
}

TEST_CASE("tokenizer: fields of the wrong form are refused with their place") {
  CHECK(refusal("/model", "[]") == "t.json: model: an object is needed");
  CHECK(refusal("/normalizer", "3") == "t.json: normalizer: an object is needed, got number");
  CHECK(refusal("/normalizer", R"({"type": "Strip", "strip_left": 1, "strip_right": true})") ==
        "t.json: normalizer.strip_left: true or false is needed");
  CHECK(refusal("/normalizer", R"({"type": "Replace", "pattern": {}, "content": ""})") ==
        "t.json: normalizer.pattern: String or Regex is needed");
  CHECK(refusal("/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "?"})") ==
        "t.json: normalizer.precompiled_charsmap: not base64");
  CHECK(refusal("/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "AAEAAA=="})") ==
        "t.json: normalizer.precompiled_charsmap: 4 bytes do not hold the trie they announce");
  CHECK(refusal("/pre_tokenizer", R"({"type": "CharDelimiterSplit", "delimiter": "ab"})") ==
        "t.json: pre_tokenizer.delimiter: exactly one character is needed, got \"ab\"");
  CHECK(refusal("/pre_tokenizer", R"({"type": "FixedLength", "length": 0})") ==
        "t.json: pre_tokenizer.length: a whole number from 1 to 9223372036854775807 is needed");
  CHECK(refusal("/pre_tokenizer",
                R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})") ==
        "t.json: pre_tokenizer.prepend_scheme: \"last\" is not always, first or never");
  CHECK(refusal("/pre_tokenizer", R"({"type": "Metaspace", "replacement": "_",
                "prepend_scheme": "first", "add_prefix_space": false})") ==
        "t.json: pre_tokenizer: prepend_scheme \"first\" contradicts add_prefix_space false");
  CHECK(refusal("/added_tokens", R"([{"content": "x", "special": true}])") ==
        "t.json: added_tokens[0].single_word: true or false is needed");
  CHECK(
      refusal("/post_processor", R"({"type": "BertProcessing", "sep": ["a"], "cls": ["b", 1]})") ==
      "t.json: post_processor.sep: a token and its id are needed");
  CHECK(refusal("/post_processor",
                R"({"type": "BertProcessing", "sep": ["a", -1], "cls": ["b", 1]})") ==
        "t.json: post_processor.sep[1]: an id from 0 to 16777215 is needed, got -1");
  CHECK(refusal("/post_processor", R"({"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}]})") ==
        "t.json: post_processor.single[0]: \"[CLS]\" is not among special_tokens");
  CHECK(refusal("/post_processor",
                R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B"}}]})") ==
        "t.json: post_processor.single[0]: a single text has no sequence B");
  CHECK(refusal("/post_processor", R"({"type": "Sequence", "processors": [
                {"type": "BertProcessing", "sep": ["a", 0], "cls": ["b", 1]},
                {"type": "RobertaProcessing", "sep": ["a", 0], "cls": ["b", 1]}]})") ==
        "t.json: post_processor.processors[1]: more than one processor that adds tokens is not "
        "supported");
}

TEST_CASE("tokenizer: vocabularies and merges that do not fit are refused") {
  CHECK(refusal("/model/vocab", "[]") == "t.json: model.vocab: an object is needed");
  CHECK(refusal("/model/vocab/a", "-1") ==
        "t.json: model.vocab: the id of \"a\" must be a number from 0 to 16777215");
  CHECK(refusal("/model/vocab/a", "4294967296") ==
        "t.json: model.vocab: the id of \"a\" must be a number from 0 to 16777215");
  CHECK(refusal("/model/vocab/a", "1") ==
        "t.json: model.vocab: id 1 is given to both \"a\" and \"b\"");
  CHECK(refusal("/model/merges/0", R"("a b c")") ==
        "t.json: model.merges[0]: \"a b c\" is not two tokens with one blank between");
  CHECK(refusal("/model/merges/0", "[1, 2]") == "t.json: model.merges[0]: two tokens are needed");
  CHECK(refusal("/model/merges/0", R"(["b", "a"])") ==
        "t.json: model.merges[0]: \"ba\" is not in the vocabulary");
  CHECK(refusal("/model/continuing_subword_prefix", R"("##")") ==
        "t.json: model.merges[0]: \"b\" is shorter than continuing_subword_prefix");
  CHECK(refusal("/model", R"({"vocab": {"a": 0}})") ==
        "t.json: model: neither the field type nor other fields say which model this is");
  CHECK(refusal("/model", R"({"type": "Unigram", "vocab": [["a"]]})") ==
        "t.json: model.vocab[0]: a token and its score are needed");
  CHECK(refusal("/model", R"({"type": "Unigram", "vocab": [["a", 1.0]], "unk_id": 1})") ==
        "t.json: model.unk_id: a whole number from 0 to 0 is needed");
  CHECK(refusal("/model", R"({"type": "Unigram", "vocab": [], "unk_id": 0})") ==
        "t.json: model.vocab: the vocabulary is empty");
}

TEST_CASE("tokenizer: a text that needs a missing unknown token is refused") {
  const auto encoding_error = [](const char* model) {
    Json changed = file();
    changed["model"] = Json::parse(model);
    const Tokenizer t = Tokenizer::from_json(changed.dump(), "t.json");
    return error_of<FormatError>([&] { t.encode("xyz"); });
  };
  CHECK(encoding_error(R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "u"})") ==
        "t.json: model: the text needs unk_token \"u\", which is not in the vocabulary");
  CHECK(encoding_error(R"({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "u"})") ==
        "t.json: model: the text needs unk_token \"u\", which is not in the vocabulary");
  CHECK(encoding_error(R"({"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "u",
                           "continuing_subword_prefix": "##", "max_input_chars_per_word": 9})") ==
        "t.json: model: the text needs unk_token \"u\", which is not in the vocabulary");
  CHECK(encoding_error(R"({"type": "Unigram", "vocab": [["a", 0.0]]})") ==
        "t.json: model: the text needs an unknown token, unk_id is missing");
}

TEST_CASE("tokenizer: steps that double a text without end are stopped") {
  Json changed = file();
  const Json doubling =
      Json::parse(R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"})");
  changed["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json(40, doubling)}};
  const Tokenizer t = Tokenizer::from_json(changed.dump(), "t.json");
  CHECK(error_of<FormatError>([&] { t.encode("a"); }) ==
        "tokenizer: normalization makes the text longer than 1048640 bytes");
  changed = file();
  changed["decoder"] = {{"type", "Sequence"}, {"decoders", Json(40, doubling)}};
  const Tokenizer u = Tokenizer::from_json(changed.dump(), "t.json");
  CHECK(error_of<FormatError>([&] { u.decode(std::vector<int32_t>{0}); }) ==
        "tokenizer: decoding makes a text longer than 67108864 bytes");
}

TEST_CASE("tokenizer: folders and tiktoken files that are not what they say are refused") {
  const test::TemporaryFolder folder;
  const std::string path = folder.path.string();
  CHECK(error_of<FormatError>([&] { Tokenizer::load(path); }) ==
        path + ": neither tokenizer.json nor vocab.json with merges.txt is in this folder");
  test::spill(folder.path / "tokenizer.model", "x");
  CHECK(test::contains(error_of<FormatError>([&] { Tokenizer::load(path); }),
                       "save the tokenizer with transformers as tokenizer.json"));
  test::spill(folder.path / "vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
  test::spill(folder.path / "merges.txt", "#version: 0.2\na b\nab\n");
  CHECK(error_of<FormatError>([&] { Tokenizer::load(path); }) ==
        path + "/merges.txt: line 3 is not two tokens with one blank between");
  test::spill(folder.path / "merges.txt", "#version: 0.2\na b\n");
  test::spill(folder.path / "tokenizer_config.json", R"({"tokenizer_class": "WhisperTokenizer"})");
  CHECK(test::contains(error_of<FormatError>([&] { Tokenizer::load(path); }),
                       "of the class WhisperTokenizer are not supported"));

  const std::string ranks = (folder.path / "mine.tiktoken").string();
  test::spill(ranks, "YQ== 0\nYg== x\n");
  CHECK(test::contains(error_of<UsageError>([&] { Tokenizer::load(ranks); }),
                       "the splitting pattern of \"mine\" is not known"));
  const TiktokenOptions options{"a+", {}};
  CHECK(error_of<FormatError>([&] { Tokenizer::load_tiktoken(ranks, options); }) ==
        ranks + ": line 2 is not a token in base64, a blank and a rank");
  test::spill(ranks, "YQ== 0\nYg== 1\n");
  CHECK(error_of<FormatError>([&] { Tokenizer::load_tiktoken(ranks, options); }) ==
        ranks + ": the byte 0x00 has no token");
  test::spill(ranks, "YQ== 0\nYQ== 1\n");
  CHECK(error_of<FormatError>([&] { Tokenizer::load_tiktoken(ranks, options); }) ==
        ranks + ": token \"a\" is there twice");
}

TEST_CASE("tokenizer: RoBERTa's and CLIP's folders get their special tokens") {
  const test::TemporaryFolder folder;
  test::spill(folder.path / "merges.txt", "#version: 0.2\na b\n");
  test::spill(
      folder.path / "vocab.json",
      R"({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6, "<mask>": 7, "Ġ": 8})");
  const Tokenizer roberta = Tokenizer::load(folder.path.string());
  // transformers 5 takes no blank before <mask> unless the folder says so (4 did).
  CHECK(roberta.encode("ab <mask>") == std::vector<int32_t>{0, 6, 8, 7, 2});
  CHECK(roberta.encode("ab", false) == std::vector<int32_t>{6});
  CHECK(roberta.is_special(7));
  test::spill(
      folder.path / "tokenizer_config.json",
      R"({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "bos_token": "</s>"})");
  CHECK(Tokenizer::load(folder.path.string()).encode("ab a") == std::vector<int32_t>{2, 6, 8, 4});
  std::filesystem::remove(folder.path / "tokenizer_config.json");
  test::spill(folder.path / "merges.txt", "#version: 0.2\na b</w>\n");
  test::spill(
      folder.path / "vocab.json",
      R"({"a": 0, "b": 1, "!</w>": 2, "b</w>": 3, "ab</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6})");
  const Tokenizer clip = Tokenizer::load(folder.path.string());
  CHECK(clip.encode("AB  ab!") == std::vector<int32_t>{5, 4, 4, 2, 6});
  CHECK(clip.decode(clip.encode("AB  ab!")) == "ab ab !");
}

TEST_CASE("tokenizer: duplicate keys, cyclic merges, holes and huge numbers are told or kept") {
  const auto error = [](std::string text) {
    return error_of<FormatError>([&] { Tokenizer::from_json(text, "t.json"); });
  };
  CHECK(test::contains(
      error(R"({"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}})"),
      "t.json: the key \"a\" occurs twice in one JSON object"));
  CHECK(test::contains(error(R"({"model": )"), "t.json: "));
  CHECK(refusal("/model/vocab/a", "2000000000") ==
        "t.json: model.vocab: the id of \"a\" must be a number from 0 to 16777215");
  CHECK(refusal("/model/vocab/a", "1e30") ==
        "t.json: model.vocab: the id of \"a\" must be a number from 0 to 16777215");
  CHECK(refusal("/post_processor",
                R"({"type": "BertProcessing", "sep": ["a", 4294967296], "cls": ["b", 1]})") ==
        "t.json: post_processor.sep[1]: an id from 0 to 16777215 is needed, got 4294967296");
  CHECK(test::contains(
      refusal("/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "(a"},
                                                    "behavior": "Isolated", "invert": false})"),
      "t.json: pre_tokenizer.pattern.Regex: the regular expression \"(a\" is not supported: "));
  // What a precompiled map announces is more than it has.
  CHECK(refusal("/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "/P///w=="})") ==
        "t.json: normalizer.precompiled_charsmap: 4 bytes do not hold the trie they announce");

  // Every merge takes one symbol away, so merges that lead in a circle end as well.
  Json changed = file();
  changed["model"]["vocab"] = {{"a", 0}, {"aa", 1}, {"", 2}};
  changed["model"]["merges"] = Json::parse(R"([["a", "a"], ["aa", "a"], ["a", "aa"]])");
  CHECK(error(changed.dump()) == "t.json: model.merges[1]: \"aaa\" is not in the vocabulary");
  changed["model"]["merges"] = Json::parse(R"([["a", ""], ["", "a"], ["a", "a"]])");
  CHECK(Tokenizer::from_json(changed.dump(), "t.json").encode("aaaa") ==
        std::vector<int32_t>{1, 1});

  // A vocabulary with holes.
  changed = file();
  changed["model"]["vocab"] = {{"a", 5}, {"b", 90000}, {"ab", 7}};
  const Tokenizer t = Tokenizer::from_json(changed.dump(), "t.json");
  CHECK(t.encode("ab b") == std::vector<int32_t>{7, 90000});
  CHECK(t.vocab_size() == 90001);
  CHECK(t.id_to_token(6).empty());
  CHECK(t.decode(std::vector<int32_t>{7, 6, -1, 16777216, 90000}) == "ab b");
}

TEST_CASE("tokenizer: an added token of which normalization leaves nothing is refused") {
  Json changed = file();
  changed["normalizer"] =
      Json::parse(R"({"type": "Strip", "strip_left": true, "strip_right": true})");
  changed["added_tokens"] = Json::parse(R"([{"content": "  ", "single_word": false, "lstrip": false,
      "rstrip": false, "normalized": true, "special": false}])");
  CHECK(error_of<FormatError>([&] { Tokenizer::from_json(changed.dump(), "t.json"); }) ==
        "t.json: added_tokens: normalization leaves nothing of the token \"  \"");
  CHECK(test::contains(refusal("/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "\\X"},
                                                    "behavior": "Isolated", "invert": false})"),
                       "\\X"));
}
