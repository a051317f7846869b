#pragma once
#include <string>

namespace ocellus::tokenizer {

/// The tokenizer.json for `folder`/vocab.json and merges.txt, in the style of GPT-2, RoBERTa or
/// CLIP (by tokenizer_config.json, else by the vocabulary). Throws FormatError.
std::string json_of_vocab_and_merges(const std::string& folder);

}  // namespace ocellus::tokenizer
