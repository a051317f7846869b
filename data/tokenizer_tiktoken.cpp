// Files of tiktoken: a line is a token in base64 and its rank, which is its id as well. The pair
// whose joined text has the lowest rank is merged first, so every cut of a token into two is a
// merge of it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/bpe.h"
#include "data/pretokenizer.h"
#include "data/tokenizer_base64.h"
#include "data/tokenizer_fields.h"
#include "data/tokenizer_impl.h"
#include "data/tokenizer_sections.h"
#include "engine/check.h"
#include "engine/file.h"

namespace ocellus {
namespace tokenizer {
namespace {

struct KnownEncoding {
  std::string_view name;
  const char* const& pattern;
  std::vector<std::pair<std::string, int32_t>> specials;
};

/// The encodings whose pattern and special tokens are public knowledge, by the name of the file.
const std::vector<KnownEncoding>& known_encodings() {
  static const std::vector<KnownEncoding> list{
      {"cl100k_base",
       kCl100kPattern,
       {{"<|endoftext|>", 100257},
        {"<|fim_prefix|>", 100258},
        {"<|fim_middle|>", 100259},
        {"<|fim_suffix|>", 100260},
        {"<|endofprompt|>", 100276}}},
      {"o200k_base", kO200kPattern, {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
      {"r50k_base", kGpt2Pattern, {{"<|endoftext|>", 50256}}},
      {"p50k_base", kGpt2Pattern, {{"<|endoftext|>", 50256}}},
  };
  return list;
}

struct Ranks {
  std::vector<std::pair<std::string, int32_t>> tokens;  // bytes and rank, by rank
  Vocabulary bytes;                                     // the same, to look up
};

Ranks read_ranks(std::string_view text, const std::string& path) {
  Ranks out;
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t blank = line.find(' ');
    const auto bytes = decode_base64(line.substr(0, blank));
    const std::string_view number = blank == line.npos ? "" : line.substr(blank + 1);
    int32_t rank = -1;
    const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), rank);
    check<FormatError>(bytes && !bytes->empty() && error == std::errc() &&
                           stop == number.data() + number.size() && rank >= 0 && rank <= kLargestId,
                       "{}: line {} is not a token in base64, a blank and a rank", path,
                       line_number);
    out.tokens.emplace_back(*bytes, rank);
  }
  std::sort(out.tokens.begin(), out.tokens.end(),
            [](const auto& a, const auto& b) { return a.second < b.second; });
  out.bytes.reserve(out.tokens.size());
  for (const auto& [bytes, rank] : out.tokens) out.bytes.add(bytes, rank);
  out.bytes.finish({path, ""});
  for (int b = 0; b < 256; ++b)
    check<FormatError>(out.bytes.find(std::string(1, static_cast<char>(b))) >= 0,
                       "{}: the byte 0x{:02X} has no token", path, b);
  return out;
}

/// Every pair of tokens that makes a third, in order of the third, then of its parts.
std::vector<BpeMerge> all_merges(const Ranks& ranks) {
  std::vector<BpeMerge> out;
  for (const auto& [bytes, rank] : ranks.tokens) {
    const size_t before = out.size();
    const std::string_view text = bytes;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const int32_t left = ranks.bytes.find(text.substr(0, cut));
      if (left < 0) continue;
      const int32_t right = ranks.bytes.find(text.substr(cut));
      if (right >= 0) out.push_back({left, right, rank, rank});
    }
    std::sort(out.begin() + static_cast<ptrdiff_t>(before), out.end(),
              [](const BpeMerge& a, const BpeMerge& b) {
                return std::pair(a.left, a.right) < std::pair(b.left, b.right);
              });
  }
  return out;
}

Json pre_tokenizer_section(const std::string& pattern) {
  return {{"type", "Sequence"},
          {"pretokenizers", Json::array({{{"type", "Split"},
                                          {"pattern", {{"Regex", pattern}}},
                                          {"behavior", "Removed"},
                                          {"invert", true}},
                                         {{"type", "ByteLevel"},
                                          {"add_prefix_space", false},
                                          {"trim_offsets", true},
                                          {"use_regex", false}}})}};
}

Json decoder_section() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", false}};
}

/// The tokenizer.json with the same ids.
std::string json_of(const Ranks& ranks, const std::string& pattern,
                    const std::vector<std::pair<std::string, int32_t>>& specials) {
  Json vocab = Json::object(), merges = Json::array(), added = Json::array();
  for (const auto& [bytes, rank] : ranks.tokens) vocab[symbols_of_bytes(bytes)] = rank;
  for (const auto& [content, id] : specials) {
    vocab[content] = id;
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  for (const BpeMerge& merge : all_merges(ranks))
    merges.push_back(Json::array({symbols_of_bytes(*ranks.bytes.token(merge.left)),
                                  symbols_of_bytes(*ranks.bytes.token(merge.right))}));
  return Json{{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added},
              {"normalizer", nullptr},
              {"pre_tokenizer", pre_tokenizer_section(pattern)},
              {"post_processor", nullptr},
              {"decoder", decoder_section()},
              {"model",
               {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"ignore_merges", true},
                {"vocab", vocab},
                {"merges", merges}}}}
      .dump();
}

}  // namespace
}  // namespace tokenizer

Tokenizer Tokenizer::load_tiktoken(const std::string& path, const TiktokenOptions& options) {
  TiktokenOptions complete = options;
  if (complete.pattern.empty()) {
    const std::string name = std::filesystem::path(path).stem().string();
    for (const tokenizer::KnownEncoding& known : tokenizer::known_encodings()) {
      if (known.name != name) continue;
      complete.pattern = known.pattern;
      if (complete.special_tokens.empty()) complete.special_tokens = known.specials;
    }
    check<UsageError>(!complete.pattern.empty(),
                      "{}: the splitting pattern of \"{}\" is not known (cl100k_base, o200k_base, "
                      "r50k_base and p50k_base are); give one",
                      path, name);
  }
  return from_tiktoken(read_file(path, uint64_t{1} << 28), path, complete);
}

Tokenizer Tokenizer::from_tiktoken(std::string_view text, const std::string& who,
                                   const TiktokenOptions& options) {
  using namespace tokenizer;
  auto ranks = std::make_shared<Ranks>(read_ranks(text, who));
  Vocabulary vocabulary;
  vocabulary.reserve(ranks->tokens.size() + options.special_tokens.size());
  for (const auto& [bytes, rank] : ranks->tokens) vocabulary.add(symbols_of_bytes(bytes), rank);
  for (const auto& [content, id] : options.special_tokens) vocabulary.add(content, id);
  vocabulary.finish({who, ""});

  auto impl = std::make_shared<Impl>();
  BpeSettings settings;
  settings.ignore_merges = true;
  settings.bytes = true;
  impl->model = make_bpe(std::move(vocabulary), all_merges(*ranks), settings, {who, ""});
  bool bytes = true;
  impl->pre_tokenizers =
      read_pre_tokenizers(pre_tokenizer_section(options.pattern), {who, ""}, bytes);
  impl->decoder = read_decoder(decoder_section(), {who, ""});
  for (const auto& [content, id] : options.special_tokens) {
    AddedToken token;
    token.content = content;
    token.special = true;
    token.normalized = false;
    impl->added.add(std::move(token), *impl->model, nullptr);
  }
  impl->added.finish({who, ""});
  impl->make_json = [ranks, options] {
    return json_of(*ranks, options.pattern, options.special_tokens);
  };
  return Tokenizer(impl);
}

}  // namespace ocellus
