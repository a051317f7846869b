#include "data/tokenizer_added.h"

#include <algorithm>

#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

namespace {

/// Nothing but blanks, or the sign that stands for one in SentencePiece vocabularies.
bool is_blank(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const unicode::Char c = unicode::decode_at(text, at);
    if (!unicode::is_space(c.code) && c.code != 0x2581) return false;
    at += c.size;
  }
  return true;
}

/// Where the blanks before `at` begin, not before `limit`.
size_t blanks_before(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    const size_t start = unicode::previous_start(text, at);
    if (!unicode::is_space(unicode::decode_at(text, start).code)) break;
    at = start;
  }
  return at;
}

size_t blanks_after(std::string_view text, size_t at) {
  while (at < text.size()) {
    const unicode::Char c = unicode::decode_at(text, at);
    if (!unicode::is_space(c.code)) break;
    at += c.size;
  }
  return at;
}

/// Whether [begin, end) shares a byte with one of the ranges.
bool overlaps(std::span<const TextRange> ranges, size_t begin, size_t end) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const TextRange& r) { return r.begin < end && begin < r.end; });
}

}  // namespace

void AddedTokens::add(AddedToken token, const Model& model, const Normalizer* normalizer) {
  if (token.content.empty()) return;
  if (next_id_ < 0) next_id_ = static_cast<int32_t>(model.size());
  token.normal_form = token.content;
  if (token.normalized && normalizer) {
    NormalText normal(token.content);
    normalizer->apply(normal);
    token.normal_form = std::move(normal.text);
  }
  if (const auto known = by_content_.find(token.content); known != by_content_.end()) {
    token.id = tokens_[known->second].id;
    tokens_[known->second] = std::move(token);
    return;
  }
  const std::optional<int32_t> in_model = model.find(token.content);
  token.id = in_model ? *in_model : next_id_++;
  const auto index = static_cast<uint32_t>(tokens_.size());
  by_content_.emplace(token.content, index);
  by_id_.insert_or_assign(token.id, index);
  tokens_.push_back(std::move(token));
}

void AddedTokens::finish(const Where& where) {
  // Of tokens with the same normal form the first counts; the matcher keeps what comes last.
  std::vector<std::pair<std::string_view, int32_t>> raw, normalized;
  for (size_t i = tokens_.size(); i-- > 0;) {
    const AddedToken& token = tokens_[i];
    check<FormatError>(!token.normal_form.empty(),
                       "{}: normalization leaves nothing of the token \"{}\"", where.text(),
                       token.content);
    if (token.normalized)
      normalized.emplace_back(token.normal_form, static_cast<int32_t>(i));
    else
      raw.emplace_back(token.content, static_cast<int32_t>(i));
  }
  raw_ = StringMatcher(std::move(raw));
  normalized_ = StringMatcher(std::move(normalized));
}

void AddedTokens::split(std::string_view text, bool normalized, bool parse,
                        std::vector<Part>& parts, std::span<const TextRange> literal,
                        size_t base) const {
  const StringMatcher& matcher = normalized ? normalized_ : raw_;
  parts.clear();
  size_t plain = 0;  // where the plain text before the next match begins
  if (!matcher.empty()) {
    StringMatcher::Match match;
    for (size_t from = 0; matcher.find(text, from, match); from = match.end) {
      const AddedToken& token = tokens_[match.value];
      const bool is_text = !parse || overlaps(literal, base + match.begin, base + match.end);
      if (is_text && !is_blank(token.content)) continue;
      size_t begin = match.begin, end = match.end;
      if (token.single_word) {
        const auto is_word = [&](size_t at) {
          return unicode::is_word(unicode::decode_at(text, at).code);
        };
        if (begin > 0 && is_word(unicode::previous_start(text, begin))) continue;
        if (end < text.size() && is_word(end)) continue;
      }
      if (token.lstrip) begin = std::max(blanks_before(text, begin, plain), plain);
      // Inside the blanks of the token before it the end is known.
      if (token.rstrip) end = end < plain ? plain : blanks_after(text, end);
      if (begin > end) continue;
      if (plain < begin) parts.push_back({plain, begin, -1});
      // A token of blanks all of which belong to the token before it is none.
      if (begin < end) parts.push_back({begin, end, token.id});
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

bool AddedTokens::left_out(const AddedToken& token) const {
  if (token.normal_form == token.content) return token.special;
  const AddedToken* other = find(token.normal_form);
  return other && other->special;
}

int32_t AddedTokens::id_limit() const {
  int32_t limit = 0;
  for (const AddedToken& token : tokens_) limit = std::max(limit, token.id + 1);
  return limit;
}

}  // namespace ocellus::tokenizer
