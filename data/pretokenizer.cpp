#include "data/pretokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/tokenizer_fields.h"
#include "data/tokenizer_regex.h"
#include "data/tokenizer_sections.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

using unicode::Char;
using unicode::decode_at;

void apply_behavior(std::span<const Part> parts, Behavior behavior, std::vector<Span>& out) {
  const size_t before = out.size();
  const auto add = [&](const Part& part) { out.push_back({part.begin, part.end}); };
  bool previous = false;  // was the part before a match?
  if (behavior == Behavior::kMergedWithNext) {
    for (size_t i = parts.size(); i-- > 0;) {
      if (parts[i].match && !previous && out.size() > before)
        out.back().begin = parts[i].begin;
      else
        add(parts[i]);
      previous = parts[i].match;
    }
    std::reverse(out.begin() + static_cast<ptrdiff_t>(before), out.end());
  } else {
    for (const Part& part : parts) {
      const bool first = out.size() == before;
      const bool joins = behavior == Behavior::kContiguous ? part.match == previous && !first
                         : behavior == Behavior::kMergedWithPrevious
                             ? part.match && !previous && !first
                             : false;
      if (joins)
        out.back().end = part.end;
      else if (!(behavior == Behavior::kRemoved && part.match))
        add(part);
      previous = part.match;
    }
  }
  out.erase(std::remove_if(out.begin() + static_cast<ptrdiff_t>(before), out.end(),
                           [](const Span& s) { return s.begin == s.end; }),
            out.end());
}

namespace {

/// A pre-tokenizer that only cuts: `cut` appends the pieces of one span.
class Cutter : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const final {
    pieces.scratch.clear();
    for (const Span& span : pieces.spans) cut(pieces.text, span, pieces.scratch);
    pieces.spans.swap(pieces.scratch);
  }

 protected:
  virtual void cut(std::string_view text, const Span& span, std::vector<Span>& out) const = 0;
};

/// Cuts where `is_delimiter(code)`: each such character is a match of its own.
template <class Predicate>
class CharacterCutter final : public Cutter {
 public:
  CharacterCutter(Predicate is_delimiter, Behavior behavior)
      : is_delimiter_(is_delimiter), behavior_(behavior) {}

 private:
  void cut(std::string_view text, const Span& span, std::vector<Span>& out) const override {
    thread_local std::vector<Part> parts;
    parts.clear();
    size_t plain = span.begin;
    for (size_t at = span.begin; at < span.end;) {
      const Char c = decode_at(text, at);
      if (is_delimiter_(c.code)) {
        if (plain < at) parts.push_back({plain, at, false});
        parts.push_back({at, at + c.size, true});
        plain = at + c.size;
      }
      at += c.size;
    }
    if (plain < span.end) parts.push_back({plain, span.end, false});
    tokenizer::apply_behavior(parts, behavior_, out);
  }
  Predicate is_delimiter_;
  Behavior behavior_;
};

template <class Predicate>
std::unique_ptr<PreTokenizer> cut_at(Predicate is_delimiter, Behavior behavior) {
  return std::make_unique<CharacterCutter<Predicate>>(is_delimiter, behavior);
}

/// Split: matches of a pattern are the delimiters, or with `invert` what lies between them.
class Split final : public Cutter {
 public:
  Split(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

 private:
  void cut(std::string_view text, const Span& span, std::vector<Span>& out) const override {
    thread_local std::vector<Regex::Found> found;
    thread_local std::vector<Part> parts;
    pattern_.find_all(text.substr(span.begin, span.end - span.begin), found);
    parts.clear();
    for (const Regex::Found& f : found)
      parts.push_back({span.begin + f.begin, span.begin + f.end, f.match != invert_});
    tokenizer::apply_behavior(parts, behavior_, out);
  }
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// The same for a pattern with a hand-written scanner: every match is a piece, gaps vanish.
class ScannedSplit final : public Cutter {
 public:
  explicit ScannedSplit(Scanner scan) : scan_(scan) {}

 private:
  void cut(std::string_view text, const Span& span, std::vector<Span>& out) const override {
    text = text.substr(0, span.end);
    for (size_t at = span.begin; at < span.end;) {
      const size_t end = scan_(text, at);
      if (end > at) out.push_back({at, end});
      at = end > at ? end : at + decode_at(text, at).size;
    }
  }
  Scanner scan_;
};

/// Whitespace: runs of \w and runs of neither \w nor \s.
class WordCutter final : public Cutter {
 private:
  static int kind(char32_t code) { return unicode::is_word(code) ? 1 : unicode::is_space(code) ? 0 : 2; }
  void cut(std::string_view text, const Span& span, std::vector<Span>& out) const override {
    for (size_t at = span.begin; at < span.end;) {
      const size_t begin = at;
      const int first = kind(decode_at(text, at).code);
      while (at < span.end) {
        const Char c = decode_at(text, at);
        if (kind(c.code) != first) break;
        at += c.size;
      }
      if (first) out.push_back({begin, at});
    }
  }
};

/// BertPreTokenizer: blanks are removed, punctuation stands alone.
class BertCutter final : public Cutter {
 private:
  void cut(std::string_view text, const Span& span, std::vector<Span>& out) const override {
    size_t word = span.begin;
    const auto add = [&](size_t begin, size_t end) {
      if (begin < end) out.push_back({begin, end});
    };
    for (size_t at = span.begin; at < span.end;) {
      const Char c = decode_at(text, at);
      const bool space = unicode::is_space(c.code);
      if (space || unicode::is_bert_punctuation(c.code)) {
        add(word, at);
        if (!space) add(at, at + c.size);
        word = at + c.size;
      }
      at += c.size;
    }
    add(word, span.end);
  }
};

class FixedLength final : public Cutter {
 public:
  explicit FixedLength(size_t length) : length_(length) {}

 private:
  void cut(std::string_view text, const Span& span, std::vector<Span>& out) const override {
    for (size_t at = span.begin; at < span.end;) {
      const size_t begin = at;
      for (size_t n = 0; n < length_ && at < span.end; ++n) at += decode_at(text, at).size;
      out.push_back({begin, at});
    }
  }
  size_t length_;
};

/// Metaspace: blanks become a visible sign, one is put before a text, pieces begin with the sign.
class Metaspace final : public PreTokenizer {
 public:
  Metaspace(std::string replacement, std::string scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(std::move(scheme)), split_(split) {}

  void apply(Pieces& pieces) const override {
    PieceRewriter out(pieces, pieces.text.size() / 2 + replacement_.size());
    for (Span& span : pieces.spans) {
      const std::string_view piece = pieces.piece(span);
      out.begin(span);
      const bool signed_already = piece.starts_with(' ') || piece.starts_with(replacement_);
      if (!signed_already &&
          (scheme_ == "always" || (scheme_ == "first" && span.begin < pieces.start)))
        out.put(replacement_, span.begin);
      for (size_t at = span.begin; at < span.end;) {
        const size_t blank = std::min(pieces.text.substr(0, span.end).find(' ', at), span.end);
        out.keep(at, blank);
        if (blank < span.end) out.put(replacement_, blank);
        at = blank + 1;
      }
      out.end(span);
    }
    out.finish();
    if (split_) cut(pieces);
  }

 private:
  void cut(Pieces& pieces) const {
    pieces.scratch.clear();
    for (const Span& span : pieces.spans) {
      const std::string_view text = pieces.text.substr(0, span.end);
      for (size_t at = span.begin; at < span.end;) {
        const size_t end = std::min(text.find(replacement_, at + 1), span.end);
        pieces.scratch.push_back({at, end});
        at = end;
      }
    }
    pieces.spans.swap(pieces.scratch);
  }

  std::string replacement_, scheme_;
  bool split_;
};

Behavior read_behavior(const Json& section, const Where& where, std::string_view fallback) {
  const std::string name = string_field(section, "behavior", where, fallback);
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  unknown_kind(name, "behavior", where);
}

std::unique_ptr<PreTokenizer> read_split(const Json& section, const Where& where) {
  Pattern pattern = Pattern::read(section, where);
  string_field(section, "behavior", where);
  const Behavior behavior = read_behavior(section, where, "");
  const bool invert = bool_field(section, "invert", where);
  // Every match is a piece if the rest is removed, or if there is no rest.
  const KnownPattern known = known_pattern(pattern.regex_text());
  if (known.scan && ((behavior == Behavior::kRemoved && invert) ||
                     (behavior == Behavior::kIsolated && !known.leaves_gaps)))
    return std::make_unique<ScannedSplit>(known.scan);
  return std::make_unique<Split>(std::move(pattern), behavior, invert);
}

std::unique_ptr<PreTokenizer> read_metaspace(const Json& section, const Where& where) {
  std::string replacement;
  unicode::append_utf8(replacement, char_field(section, "replacement", where));
  return std::make_unique<Metaspace>(std::move(replacement), prepend_scheme(section, where),
                                     bool_field(section, "split", where, true));
}

void read_into(const Json& section, const Where& where, bool last, bool& bytes_at_end,
               std::vector<std::unique_ptr<PreTokenizer>>& out) {
  const std::string kind = type_of(section, where);
  if (kind == "Sequence") {
    const Json& list = array_field(section, "pretokenizers", where);
    for (size_t i = 0; i < list.size(); ++i)
      read_into(list[i], (where / "pretokenizers")[i], last && i + 1 == list.size(), bytes_at_end,
                out);
  } else if (kind == "ByteLevel") {
    const bool raw = last && bytes_at_end;
    out.push_back(make_byte_level(bool_field(section, "add_prefix_space", where),
                                  bool_field(section, "use_regex", where, true), !raw));
  } else if (kind == "Split") {
    out.push_back(read_split(section, where));
  } else if (kind == "Metaspace") {
    out.push_back(read_metaspace(section, where));
  } else if (kind == "Digits") {
    out.push_back(cut_at([](char32_t c) { return (unicode::class_of(c) & unicode::kNumber) != 0; },
                         bool_field(section, "individual_digits", where) ? Behavior::kIsolated
                                                                         : Behavior::kContiguous));
  } else if (kind == "Punctuation") {
    out.push_back(cut_at(unicode::is_bert_punctuation, read_behavior(section, where, "Isolated")));
  } else if (kind == "WhitespaceSplit") {
    out.push_back(cut_at(unicode::is_space, Behavior::kRemoved));
  } else if (kind == "CharDelimiterSplit") {
    out.push_back(cut_at([delimiter = char_field(section, "delimiter", where)](
                             char32_t c) { return c == delimiter; },
                         Behavior::kRemoved));
  } else if (kind == "Whitespace") {
    out.push_back(std::make_unique<WordCutter>());
  } else if (kind == "BertPreTokenizer") {
    out.push_back(std::make_unique<BertCutter>());
  } else if (kind == "FixedLength") {
    out.push_back(std::make_unique<FixedLength>(
        optional_field(section, "length", where)
            ? static_cast<size_t>(int_field(section, "length", where, 1, INT64_MAX))
            : 5));
  } else {
    unknown_kind(kind, "pre_tokenizer", where);
  }
}

/// Whether the last step of a section, sequences unfolded, is ByteLevel.
bool ends_in_byte_level(const Json& section, const Where& where) {
  const std::string kind = type_of(section, where);
  if (kind != "Sequence") return kind == "ByteLevel";
  const Json& list = array_field(section, "pretokenizers", where);
  return !list.empty() && ends_in_byte_level(list.back(), where);
}

}  // namespace

std::string prepend_scheme(const Json& section, const Where& where) {
  const bool add = bool_field(section, "add_prefix_space", where, true);
  const std::string scheme =
      string_field(section, "prepend_scheme", where, add ? "always" : "never");
  check<FormatError>(scheme == "always" || scheme == "first" || scheme == "never",
                     "{}: \"{}\" is not always, first or never", (where / "prepend_scheme").text(),
                     scheme);
  check<FormatError>(add || scheme == "never",
                     "{}: prepend_scheme \"{}\" contradicts add_prefix_space false", where.text(),
                     scheme);
  return scheme;
}

std::vector<std::unique_ptr<PreTokenizer>> read_pre_tokenizers(const Json& section,
                                                               const Where& where,
                                                               bool& bytes_at_end) {
  bytes_at_end = bytes_at_end && ends_in_byte_level(section, where);
  std::vector<std::unique_ptr<PreTokenizer>> out;
  read_into(section, where, true, bytes_at_end, out);
  return out;
}

}  // namespace ocellus::tokenizer
