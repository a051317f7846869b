// Pre-tokenizers: they cut a text into the pieces that the model encodes one by one.
#pragma once
#include <span>

#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

/// What happens to a delimiter that a splitting pre-tokenizer finds.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// One part of a text: a match of the pattern or what lies between two.
struct Part {
  size_t begin, end;
  bool match;
};

/// Appends to `out` the spans that `behavior` makes of `parts`, which cover `span` without gaps.
void apply_behavior(const Span& span, std::span<const Part> parts, Behavior behavior,
                    std::vector<Span>& out);

/// The end of the match that starts at `begin` (< text.size()), or `begin` if none does.
using Scanner = size_t (*)(std::string_view text, size_t begin);

/// A well-known pattern: a scanner that finds what a regular expression engine would (tested against
/// PCRE2), several times faster, and whether the pattern leaves some characters unmatched.
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
