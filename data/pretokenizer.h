// Pre-tokenizers: they cut a text into the pieces that the model encodes one by one.
#pragma once
#include <algorithm>
#include <span>

#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

/// Writes the pieces anew for a pre-tokenizer that changes their text.
class PieceRewriter {
 public:
  PieceRewriter(Pieces& pieces, size_t more) : pieces_(pieces) {
    text_.reserve(pieces.text.size() + more);
  }
  void begin(const Span&) { begin_ = text_.size(); }
  /// Bytes that stand for byte `source` of the old text.
  void put(std::string_view part, size_t source) {
    text_ += part;
    if (source < pieces_.start) start_ = text_.size();
    if (pieces_.traced && source < pieces_.origins.size())
      origins_.insert(origins_.end(), part.size(), pieces_.origins[source]);
  }
  void keep(size_t begin, size_t end) {
    if (begin < pieces_.start) start_ = text_.size() + std::min(end, pieces_.start) - begin;
    text_ += pieces_.text.substr(begin, end - begin);
    if (pieces_.traced)
      origins_.insert(origins_.end(), pieces_.origins.begin() + static_cast<ptrdiff_t>(begin),
                      pieces_.origins.begin() + static_cast<ptrdiff_t>(end));
  }
  void end(Span& span) { span = {begin_, text_.size()}; }
  void finish() {
    pieces_.owned = std::move(text_);
    pieces_.text = pieces_.owned;
    pieces_.start = start_;
    if (pieces_.traced) pieces_.origins = std::move(origins_);
  }

 private:
  Pieces& pieces_;
  std::string text_;
  std::vector<TextRange> origins_;
  size_t begin_ = 0, start_ = 0;
};

/// What happens to a delimiter that a splitting pre-tokenizer finds.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// One part of a text: a match of the pattern or what lies between two.
struct Part {
  size_t begin, end;
  bool match;
};

/// Appends to `out` the spans that `behavior` makes of `parts`, which cover a text without gaps.
void apply_behavior(std::span<const Part> parts, Behavior behavior, std::vector<Span>& out);

/// The end of the match that starts at `begin` (< text.size()), or `begin` if none does.
using Scanner = size_t (*)(std::string_view text, size_t begin);

/// A well-known pattern: a scanner that finds what a regular expression engine would (tested
/// against PCRE2), several times faster, and whether the pattern leaves some characters unmatched.
struct KnownPattern {
  Scanner scan = nullptr;  // nullptr: not one of them
  bool leaves_gaps = false;
};
KnownPattern known_pattern(std::string_view pattern);

// The patterns of GPT-2, CLIP, cl100k (Llama 3), Qwen 2 and o200k.
extern const char* const kGpt2Pattern;
extern const char* const kClipPattern;
extern const char* const kCl100kPattern;
extern const char* const kQwen2Pattern;
extern const char* const kO200kPattern;

/// ByteLevel of the file format. `visible` = false leaves the bytes as they are (for a model that
/// takes raw bytes) instead of writing their visible symbols.
std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex, bool visible);

}  // namespace ocellus::tokenizer
