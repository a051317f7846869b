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

/// A function that finds the end of the match starting at `begin` (< text.size()).
using Scanner = size_t (*)(std::string_view text, size_t begin);

/// The scanner for a well-known pattern, or nullptr: GPT-2, CLIP, cl100k, Llama 3, Qwen 2, o200k.
/// Equal to what PCRE2 finds for that pattern (tested), several times faster.
Scanner scanner_for(std::string_view pattern);

extern const char* const kGpt2Pattern;

/// ByteLevel of the file format. `visible` = false leaves the bytes as they are (for a model that
/// takes raw bytes) instead of writing their visible symbols.
std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex, bool visible);

}  // namespace ocellus::tokenizer
