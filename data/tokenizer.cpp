#include "data/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "data/bpe.h"
#include "data/pretokenizer.h"
#include "data/tokenizer_impl.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus {

using tokenizer::AddedTokens;
using tokenizer::Pieces;

namespace {

/// A flat copy would be wasteful: most texts are valid, and are used where they are.
std::string_view valid_text(std::string_view text, std::string& storage) {
  if (unicode::is_valid_utf8(text)) return text;
  storage = unicode::replace_invalid_utf8(text);
  return storage;
}

/// End-of-word suffixes to blanks, none at the ends (as `transformers` decodes CLIP).
void blank_suffixes(const std::string& suffix, std::string& text) {
  std::string out;
  size_t covered = 0;
  for (size_t at = text.find(suffix); at != std::string::npos; at = text.find(suffix, covered)) {
    out.append(text, covered, at - covered) += ' ';
    covered = at + suffix.size();
  }
  text = out.append(text, covered);
  size_t begin = 0, end = text.size();
  const auto blank = [&](size_t at) {  // as Python's str.strip
    const char32_t code = unicode::decode_at(text, at).code;
    return unicode::class_of(code) & unicode::kSpace || (code >= 0x1C && code <= 0x1F);
  };
  while (begin < end && blank(begin)) begin += unicode::decode_at(text, begin).size;
  while (end > begin && blank(unicode::previous_start(text, end)))
    end = unicode::previous_start(text, end);
  text = text.substr(begin, end - begin);
}

}  // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special,
                                       bool parse_special) const {
  std::string storage;
  text = valid_text(text, storage);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  thread_local std::vector<AddedTokens::Part> parts;
  impl_->added.split(text, false, parse_special, parts);
  for (const AddedTokens::Part& part : parts) {
    if (part.id >= 0)
      ids.push_back(part.id);
    else
      tokenizer::cut_part(
          *impl_, text.substr(part.begin, part.end - part.begin), false, part.begin == 0,
          parse_special, {}, 0,
          [&](int32_t id, std::string_view, const TextRange&) { ids.push_back(id); },
          [&](const Pieces& pieces) { impl_->model->encode(pieces, ids); });
  }
  if (impl_->post_processor) impl_->post_processor->apply(ids, nullptr, add_special);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (int32_t id : ids) {
    if (const tokenizer::AddedToken* added = impl_->added.find(id)) {
      if (!skip_special || !impl_->added.left_out(*added)) tokens.push_back(added->normal_form);
    } else if (const auto token = impl_->model->token(id)) {
      tokens.emplace_back(*token);
    }
  }
  if (impl_->decoder) impl_->decoder->apply(tokens);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !impl_->decoder) text += ' ';
    text += tokens[i];
  }
  if (!impl_->word_suffix.empty()) blank_suffixes(impl_->word_suffix, text);
  return text;
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const tokenizer::AddedToken* added = impl_->added.find(token)) return added->id;
  return impl_->model->find(token);
}

std::string Tokenizer::id_to_token(int32_t id) const {
  if (const tokenizer::AddedToken* added = impl_->added.find(id)) return added->content;
  return std::string(impl_->model->token(id).value_or(""));
}

int Tokenizer::vocab_size() const {
  return std::max(impl_->model->id_limit(), impl_->added.id_limit());
}

bool Tokenizer::is_special(int32_t id) const { return impl_->added.is_special(id); }

std::string Tokenizer::to_json() const {
  return impl_->make_json ? impl_->make_json() : impl_->json;
}

Tokenizer Tokenizer::train_byte_bpe(const std::vector<std::string>& texts, int vocab_size,
                                    const std::vector<std::string>& special_tokens) {
  std::vector<std::string> first_tokens;
  for (const std::string& token : special_tokens) {
    check<UsageError>(!token.empty() && unicode::is_valid_utf8(token),
                      "train_byte_bpe: special token \"{}\" is empty or not UTF-8", token);
    if (std::find(first_tokens.begin(), first_tokens.end(), token) == first_tokens.end())
      first_tokens.push_back(token);
  }
  check<UsageError>(
      vocab_size >= static_cast<int>(256 + first_tokens.size()) &&
          vocab_size <= tokenizer::kLargestId,
      "train_byte_bpe: vocab_size must be {} (256 bytes and {} special tokens) to {}, "
      "got {}",
      256 + first_tokens.size(), first_tokens.size(), tokenizer::kLargestId, vocab_size);
  std::vector<std::pair<int, std::string>> alphabet;  // in order of code points
  for (int b = 0; b < 256; ++b) {
    const std::string symbol(tokenizer::byte_symbol(static_cast<uint8_t>(b)));
    alphabet.emplace_back(static_cast<int>(unicode::decode_at(symbol, 0).code), symbol);
  }
  std::sort(alphabet.begin(), alphabet.end());
  for (const auto& [code, symbol] : alphabet)
    if (std::find(first_tokens.begin(), first_tokens.end(), symbol) == first_tokens.end())
      first_tokens.push_back(symbol);

  // Count words first: questions and captions repeat few of them.
  std::unordered_map<std::string, int64_t> counts;
  const auto split = tokenizer::make_byte_level(false, true, false);
  Pieces pieces;
  std::string storage, word;
  for (const std::string& text : texts) {
    pieces.text = valid_text(text, storage);
    pieces.spans.assign(1, {0, pieces.text.size()});
    split->apply(pieces);
    for (const tokenizer::Span& span : pieces.spans) {
      word = pieces.piece(span);
      ++counts[word];
    }
  }
  std::vector<std::pair<std::string, int64_t>> words;
  words.reserve(counts.size());
  for (const auto& [bytes, count] : counts)
    words.emplace_back(tokenizer::symbols_of_bytes(bytes), count);
  std::sort(words.begin(), words.end());
  const tokenizer::BpeTraining trained =
      tokenizer::train_bpe(words, first_tokens, static_cast<size_t>(vocab_size));

  using Json = nlohmann::ordered_json;
  Json added = Json::array(), vocab = Json::object(), merges = Json::array();
  for (size_t i = 0; i < special_tokens.size(); ++i) {
    if (std::find(special_tokens.begin(), special_tokens.begin() + static_cast<ptrdiff_t>(i),
                  special_tokens[i]) != special_tokens.begin() + static_cast<ptrdiff_t>(i))
      continue;
    added.push_back(Json{{"id", added.size()},
                         {"content", special_tokens[i]},
                         {"single_word", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"normalized", false},
                         {"special", true}});
  }
  // ordered_json looks a key up by scanning; writing the object as text keeps this linear.
  std::string vocab_text = "{";
  for (size_t i = 0; i < trained.tokens.size(); ++i)
    vocab_text += fmt::format("{}{}:{}", i ? "," : "", Json(trained.tokens[i]).dump(), i);
  vocab_text += "}";
  for (const auto& [left, right] : trained.merges)
    merges.push_back(Json::array({trained.tokens[left], trained.tokens[right]}));
  const Json byte_level{{"type", "ByteLevel"},
                        {"add_prefix_space", false},
                        {"trim_offsets", true},
                        {"use_regex", true}};
  const std::string text = fmt::format(
      R"({{"version":"1.0","truncation":null,"padding":null,"added_tokens":{},"normalizer":null,)"
      R"("pre_tokenizer":{},"post_processor":null,"decoder":{},"model":{{"type":"BPE","dropout":null,)"
      R"("unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,)"
      R"("fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{},"merges":{}}}}})",
      added.dump(), byte_level.dump(), byte_level.dump(), vocab_text, merges.dump());
  return from_json(text, "train_byte_bpe");
}

std::string StreamDecoder::push(int32_t id) {
  ids_.push_back(id);
  std::string text = tokenizer_.decode(ids_, skip_special_);
  if (!text.starts_with(told_)) {
    // A run of byte tokens has become invalid as a whole; what was told of it stays told.
    ids_.assign(1, id);
    told_.clear();
    text = tokenizer_.decode(ids_, skip_special_);
  }
  // A replacement character at the end may be the start of a character that is not finished.
  std::string_view ready = text;
  while (ready.ends_with("\xEF\xBF\xBD")) ready.remove_suffix(3);
  if (ready.size() <= told_.size()) return "";
  std::string piece(ready.substr(told_.size()));
  told_ = ready;
  if (ready.size() == text.size()) shorten(text);
  return piece;
}

void StreamDecoder::shorten(std::string_view text) {
  // A few ids stay as context for decoders that look at neighbours; not every place can be cut.
  constexpr size_t kLongest = 24;
  if (ids_.size() < kLongest) return;
  for (size_t keep = 6; keep < 12; ++keep) {
    const std::span<const int32_t> rest = std::span(ids_).last(keep);
    std::string kept = tokenizer_.decode(rest, skip_special_);
    if (kept.empty() || !text.ends_with(kept)) continue;
    ids_.erase(ids_.begin(), ids_.end() - static_cast<ptrdiff_t>(keep));
    told_ = std::move(kept);
    return;
  }
}

std::string StreamDecoder::finish() {
  const std::string text = tokenizer_.decode(ids_, skip_special_);
  std::string piece = text.starts_with(told_) ? text.substr(told_.size()) : "";
  ids_.clear();
  told_.clear();
  return piece;
}

}  // namespace ocellus
