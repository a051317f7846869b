// The four Unicode normalization forms (UAX 15), told as changes of a text.
#pragma once
#include <string_view>
#include <vector>

#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

/// unicode_form — NFD; with `compose` NFC; with `compatible` NFKD and NFKC. What characters of a
/// cluster come from follows Hugging Face `tokenizers`: one that a decomposition adds is inserted,
/// one that a composition takes is swallowed. Characters newer than its tables keep their place.
std::vector<Change> unicode_form(std::string_view text, bool compose, bool compatible);

}  // namespace ocellus::tokenizer
