#include "data/tokenizer_added.h"

#include <algorithm>

#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

void StringMatcher::add(std::string_view text, uint32_t value) {
  uint32_t node = 0;
  for (char c : text) {
    const auto [it, is_new] = edges_.emplace(uint64_t{node} << 8 | static_cast<uint8_t>(c),
                                             static_cast<uint32_t>(values_.size()));
    if (is_new) values_.push_back(kNone);
    node = it->second;
  }
  if (node == 0) return;
  starts_[static_cast<uint8_t>(text[0])] = true;
  values_[node] = value;
}

std::optional<StringMatcher::Match> StringMatcher::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    uint32_t node = 0;
    Match best{begin, 0, kNone};
    for (size_t at = begin; at < text.size(); ++at) {
      const auto it = edges_.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[at]));
      if (it == edges_.end()) break;
      node = it->second;
      if (values_[node] != kNone) best = {begin, at + 1, values_[node]};
    }
    if (best.value != kNone) return best;
  }
  return std::nullopt;
}

namespace {

bool is_space(char32_t code) { return unicode::class_of(code) & unicode::kSpace; }

/// Nothing but blanks, or the sign that stands for one in SentencePiece vocabularies.
bool is_blank(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const unicode::Char c = unicode::decode_at(text, at);
    if (!is_space(c.code) && c.code != 0x2581) return false;
    at += c.size;
  }
  return true;
}

size_t blanks_before(std::string_view text, size_t at) {
  while (at > 0) {
    const size_t start = unicode::previous_start(text, at);
    if (!is_space(unicode::decode_at(text, start).code)) break;
    at = start;
  }
  return at;
}

size_t blanks_after(std::string_view text, size_t at) {
  while (at < text.size()) {
    const unicode::Char c = unicode::decode_at(text, at);
    if (!is_space(c.code)) break;
    at += c.size;
  }
  return at;
}

}  // namespace

void AddedTokens::add(AddedToken token, const Model& model, const Normalizer* normalizer) {
  if (token.content.empty()) return;
  if (next_id_ < 0) next_id_ = static_cast<int32_t>(model.size());
  token.normal_form = token.content;
  if (token.normalized && normalizer) {
    NormalText normal{token.content};
    normalizer->apply(normal);
    token.normal_form = std::move(normal.text);
  }
  if (const auto known = by_content_.find(token.content); known != by_content_.end()) {
    token.id = tokens_[known->second].id;
    tokens_[known->second] = std::move(token);
    return;
  }
  token.id = model.find(token.content).value_or(next_id_);
  if (token.id == next_id_) ++next_id_;
  const auto index = static_cast<uint32_t>(tokens_.size());
  by_content_.emplace(token.content, index);
  by_id_.insert_or_assign(token.id, index);
  tokens_.push_back(std::move(token));
}

void AddedTokens::finish() {
  for (uint32_t i = 0; i < tokens_.size(); ++i)
    (tokens_[i].normalized ? normalized_ : raw_)
        .add(tokens_[i].normalized ? tokens_[i].normal_form : tokens_[i].content, i);
}

void AddedTokens::split(std::string_view text, bool normalized, bool parse,
                        std::vector<Part>& parts) const {
  const StringMatcher& matcher = normalized ? normalized_ : raw_;
  parts.clear();
  size_t plain = 0;  // where the plain text before the next match begins
  if (!matcher.empty()) {
    size_t from = 0;
    while (const auto match = matcher.find(text, from)) {
      from = match->end;
      const AddedToken& token = tokens_[match->value];
      if (!parse && !is_blank(token.content)) continue;
      size_t begin = match->begin, end = match->end;
      if (token.single_word) {
        const auto is_word = [&](size_t at) {
          return unicode::is_word(unicode::decode_at(text, at).code);
        };
        if (begin > 0 && is_word(unicode::previous_start(text, begin))) continue;
        if (end < text.size() && is_word(end)) continue;
      }
      if (token.lstrip) begin = std::max(blanks_before(text, begin), plain);
      if (token.rstrip) end = blanks_after(text, end);
      if (plain < begin) parts.push_back({plain, begin, -1});
      parts.push_back({begin, end, token.id});
      plain = end;
    }
  }
  if (plain < text.size()) parts.push_back({plain, text.size(), -1});
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto it = by_content_.find(std::string(content));
  return it == by_content_.end() ? nullptr : &tokens_[it->second];
}

bool AddedTokens::is_special(int32_t id) const {
  const AddedToken* token = find(id);
  return token && token->special;
}

int32_t AddedTokens::id_limit() const {
  int32_t limit = 0;
  for (const AddedToken& token : tokens_) limit = std::max(limit, token.id + 1);
  return limit;
}

}  // namespace ocellus::tokenizer
