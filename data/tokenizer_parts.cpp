#include "data/tokenizer_parts.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

NormalText::NormalText(std::string_view original, bool traced)
    : text(original),
      start(original.empty() ? 0 : unicode::decode_at(original, 0).size),
      traced(traced) {
  if (traced) origins = own_origins(original);
}

std::vector<TextRange> own_origins(std::string_view text) {
  std::vector<TextRange> out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t size = unicode::decode_at(text, at).size;
    out.insert(out.end(), size, {at, at + size});
    at += size;
  }
  return out;
}

void Rewriter::trace(size_t before, size_t source) {
  at_start_ = at_start_ && (source == kFront || source < old_.start);
  if (at_start_) start_ = text_.size();
  if (old_.traced)
    origins_.insert(origins_.end(), text_.size() - before,
                    source == kFront ? TextRange{0, 0} : old_.origins[source]);
}

void Rewriter::put(char32_t code, size_t source) {
  const size_t before = text_.size();
  unicode::append_utf8(text_, code);
  trace(before, source);
}

void Rewriter::put(std::string_view part, size_t source) {
  if (part.empty()) return;
  const size_t before = text_.size();
  text_ += part;
  trace(before, source);
}

void Rewriter::keep(size_t begin, size_t end) {
  if (begin == end) return;
  if (at_start_) start_ = text_.size() + std::min(end, std::max(old_.start, begin)) - begin;
  at_start_ = at_start_ && end <= old_.start;
  text_.append(old_.text, begin, end - begin);
  if (old_.traced)
    origins_.insert(origins_.end(), old_.origins.begin() + static_cast<ptrdiff_t>(begin),
                    old_.origins.begin() + static_cast<ptrdiff_t>(end));
}

void Rewriter::finish() {
  old_.text = std::move(text_);
  old_.origins = std::move(origins_);
  old_.start = start_;
}

void apply_changes(NormalText& text, const std::vector<Change>& changes) {
  if (text.text.empty()) return;
  Rewriter out(text);
  const std::string_view old = text.text;
  size_t at = 0;
  const auto next = [&] { at += at < old.size() ? unicode::decode_at(old, at).size : 0; };
  for (const Change& c : changes) {
    if (c.change > 0) {
      out.put(c.code, at > 0 ? at - 1 : Rewriter::kFront);
      continue;
    }
    out.put(c.code, std::min(at, old.size() - 1));
    for (int i = c.change; i <= 0; ++i) next();
  }
  out.finish();
}

void Vocabulary::add(std::string_view token, int32_t id) {
  entries_.push_back({arena_.size(), static_cast<uint32_t>(token.size()), id});
  arena_ += token;
}

void Vocabulary::finish(const Where& where, bool tokens_may_repeat) {
  check<FormatError>(entries_.size() <= static_cast<size_t>(kLargestId) + 1,
                     "{}: {} tokens are more than the {} allowed", where.text(), entries_.size(),
                     kLargestId + 1);
  slots_.assign(std::bit_ceil(entries_.size() * 2 + 2), 0);
  const size_t mask = slots_.size() - 1;
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    check<FormatError>(e.id >= 0 && e.id <= kLargestId,
                       "{}: token \"{}\" has id {}, which is outside 0 to {}", where.text(),
                       text_of(e), e.id, kLargestId);
    id_limit_ = std::max(id_limit_, e.id + 1);
    for (size_t slot = XXH3_64bits(arena_.data() + e.offset, e.length) & mask;;
         slot = (slot + 1) & mask) {
      if (slots_[slot] == 0) {
        slots_[slot] = i + 1;
        break;
      }
      if (text_of(entries_[slots_[slot] - 1]) == text_of(e)) {
        check<FormatError>(tokens_may_repeat, "{}: token \"{}\" is there twice", where.text(),
                           text_of(e));
        slots_[slot] = i + 1;  // the later one counts
        break;
      }
    }
  }
  by_id_.resize(entries_.size());
  std::iota(by_id_.begin(), by_id_.end(), 0u);
  std::stable_sort(by_id_.begin(), by_id_.end(),
                   [&](uint32_t a, uint32_t b) { return entries_[a].id < entries_[b].id; });
  for (size_t i = 1; i < by_id_.size(); ++i) {
    const Entry &a = entries_[by_id_[i - 1]], &b = entries_[by_id_[i]];
    check<FormatError>(a.id != b.id, "{}: id {} is given to both \"{}\" and \"{}\"", where.text(),
                       a.id, text_of(a), text_of(b));
  }
}

int32_t Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return -1;
  const size_t mask = slots_.size() - 1;
  for (size_t slot = XXH3_64bits(token.data(), token.size()) & mask; slots_[slot];
       slot = (slot + 1) & mask) {
    const Entry& e = entries_[slots_[slot] - 1];
    if (text_of(e) == token) return e.id;
  }
  return -1;
}

std::optional<std::string_view> Vocabulary::token(int32_t id) const {
  if (id < 0 || id >= id_limit_) return std::nullopt;
  // Without holes the id is the index.
  if (static_cast<size_t>(id) < by_id_.size() && entries_[by_id_[id]].id == id)
    return text_of(entries_[by_id_[id]]);
  const auto it =
      std::lower_bound(by_id_.begin(), by_id_.end(), id,
                       [&](uint32_t e, int32_t value) { return entries_[e].id < value; });
  if (it == by_id_.end() || entries_[*it].id != id) return std::nullopt;
  return text_of(entries_[*it]);
}

namespace {

// GPT-2's table: printable Latin-1 stands for itself, the other 68 bytes take U+0100 onwards in
// order.
struct ByteSymbols {
  std::array<std::string, 256> symbol;
  std::array<int16_t, 0x144> byte;
  ByteSymbols() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const char32_t code = printable ? static_cast<char32_t>(b) : next++;
      unicode::append_utf8(symbol[b], code);
      byte[code] = static_cast<int16_t>(b);
    }
  }
};
const ByteSymbols& byte_symbols() {
  static const ByteSymbols table;
  return table;
}

}  // namespace

std::string_view byte_symbol(uint8_t byte) { return byte_symbols().symbol[byte]; }

int byte_of_symbol(char32_t code) { return code < 0x144 ? byte_symbols().byte[code] : -1; }

std::optional<std::string> bytes_of_symbols(std::string_view token) {
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const unicode::Char c = unicode::decode_at(token, at);
    const int byte = byte_of_symbol(c.code);
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    at += c.size;
  }
  return bytes;
}

std::string symbols_of_bytes(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (char c : bytes) out += byte_symbol(static_cast<uint8_t>(c));
  return out;
}

}  // namespace ocellus::tokenizer
