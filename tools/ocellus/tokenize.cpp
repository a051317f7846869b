// ocellus tokenize and ocellus tokenizer train.
#include <iostream>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "engine/file.h"
#include "engine/json.h"
#include "tools/ocellus/command.h"
#include "vlm/processor.h"

namespace ocellus {
namespace {

struct TokenizeArguments {
  std::string tokenizer;
  bool no_special = false, details = false;
};

/// What a text becomes; a text that has no ids (no unknown token) is told as {"error": …}.
nlohmann::json details_of(const Tokenizer& tokenizer, const std::string& text, bool add_special) {
  try {
    std::vector<TextRange> offsets;
    const std::vector<int32_t> ids = tokenizer.encode_with_offsets(text, add_special, offsets);
    check<FormatError>(ids == tokenizer.encode(text, add_special),
                       "tokenize: with offsets the ids are others");
    nlohmann::json places = nlohmann::json::array();
    for (const TextRange& o : offsets) places.push_back({o.begin, o.end});
    StreamDecoder stream(tokenizer, false);
    nlohmann::json pieces = nlohmann::json::array();
    for (const int32_t id : ids) pieces.push_back(stream.push(id));
    pieces.push_back(stream.finish());
    return {{"ids", ids},
            {"offsets", places},
            {"decoded", tokenizer.decode(ids)},
            {"decoded_with_special", tokenizer.decode(ids, false)},
            {"streamed", pieces}};
  } catch (const FormatError& error) {
    return {{"error", error.what()}};
  }
}

int run_tokenize(const TokenizeArguments& a) {
  const Tokenizer tokenizer = Tokenizer::load(a.tokenizer);
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.empty()) continue;
    const std::string who = fmt::format("stdin: line {}", number);
    const nlohmann::json record = parse_json(line, who);
    check<FormatError>(record.is_object() && record.contains("text") && record["text"].is_string(),
                       "{}: needs an object with a string \"text\"", who);
    const auto text = record["text"].get<std::string>();
    if (a.details) {
      fmt::print("{}\n", details_of(tokenizer, text, !a.no_special).dump());
      continue;
    }
    const auto ids = tokenizer.encode(text, !a.no_special);
    fmt::print("{}\n", nlohmann::json({{"ids", ids}, {"decoded", tokenizer.decode(ids)}}).dump());
  }
  return 0;
}

struct TokenizerTrainArguments {
  std::vector<std::string> files;
  int64_t vocab = 512;
  std::string out;
};

// A JSONL file gives its records' text fields or messages, any other file its lines.
void add_text(const std::string& path, std::vector<std::string>& texts) {
  if (!path.ends_with(".jsonl")) {
    texts.push_back(read_file(path));
    return;
  }
  DataSpec spec;
  spec.name = path;
  spec.kind = "messages";
  spec.path = path;
  spec.need_answer = false;
  const auto source = open_source(spec);
  for (int64_t i = 0; i < source->size(); ++i) {
    const Conversation conversation = source->conversation(i);
    for (const Message& message : conversation.messages)
      for (const Part& part : message.parts)
        if (part.kind == Part::Kind::kText) texts.push_back(part.text);
  }
}

int run_train(const TokenizerTrainArguments& a) {
  check<UsageError>(!a.out.empty(), "tokenizer train: needs --out DIR");
  check<UsageError>(a.vocab > 0 && a.vocab < (int64_t{1} << 24),
                    "tokenizer train: --vocab must be from 1 to 2^24, got {}", a.vocab);
  std::vector<std::string> texts;
  for (const std::string& file : a.files) add_text(file, texts);
  const Tokenizer tokenizer =
      Tokenizer::train_byte_bpe(texts, static_cast<int>(a.vocab), kSpecialTokens);
  make_folders(a.out);
  write_file_atomic(a.out + "/tokenizer.json", tokenizer.to_json());
  fmt::print("{} tokens in {}/tokenizer.json\n", tokenizer.vocab_size(), a.out);
  return 0;
}

const RegisterCommand kTokenize({"tokenize", "JSONL {\"text\"} on stdin to {\"ids\", \"decoded\"} on stdout",
                                 "echo '{\"text\": \"a red circle\"}' | ocellus tokenize --tokenizer DIR",
                                 [](Options& options) -> std::function<int()> {
                                   auto a = std::make_shared<TokenizeArguments>();
                                   options.option("--tokenizer", a->tokenizer, "folder or tokenizer.json", true);
                                   options.flag("--no-special", a->no_special, "add no special tokens");
                                   options.flag("--details", a->details,
                                                "also offsets in characters, the text with special tokens, pieces as they stream");
                                   return [a] { return run_tokenize(*a); };
                                 }});
const RegisterCommand kTokenizer({"tokenizer", "train a tokenizer",
                                  "ocellus tokenizer train text.txt --vocab 1024 --out tok",
                                  [](Options& options) -> std::function<int()> {
                                    auto a = std::make_shared<TokenizerTrainArguments>();
                                    Options train = options.subcommand("train", "byte-level BPE from text files",
                                                                       [a] { return run_train(*a); });
                                    train.positionals("files", a->files, "text files, or JSONL of messages");
                                    train.option("--vocab", a->vocab, "entries, bytes and special tokens included");
                                    train.option("--out", a->out, "folder for tokenizer.json", true);
                                    return [] { return 2; };
                                  }});

}  // namespace
}  // namespace ocellus
