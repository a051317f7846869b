// One reader for each section of a tokenizer.json. All throw FormatError: file, place, rule.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

using Json = nlohmann::json;

std::unique_ptr<Normalizer> read_normalizer(const Json& section, const Where& where);

/// A Sequence becomes several. `bytes_at_end`: the last one may leave bytes as they are instead of
/// writing their visible symbols; it is set to whether it does.
std::vector<std::unique_ptr<PreTokenizer>> read_pre_tokenizers(const Json& section,
                                                               const Where& where,
                                                               bool& bytes_at_end);

/// `bytes`: the pieces are raw bytes (BPE only).
std::unique_ptr<Model> read_model(const Json& section, bool bytes, const Where& where);
/// Which kind `section` is; files from before the field "type" are told by their other fields.
std::string model_kind(const Json& section, const Where& where);

/// Null if the section changes no ids.
std::unique_ptr<PostProcessor> read_post_processor(const Json& section, const Where& where);

std::unique_ptr<TokenDecoder> read_decoder(const Json& section, const Where& where);

/// When Metaspace puts its sign before a text: "always", "first" or "never".
std::string prepend_scheme(const Json& section, const Where& where);

// Parts of read_model.
Vocabulary read_vocabulary(const Json& vocab, const Where& where);
std::unique_ptr<Model> read_bpe(const Json& model, bool bytes, const Where& where);
std::unique_ptr<Model> read_unigram(const Json& model, const Where& where);
std::unique_ptr<Model> read_word_piece(const Json& model, const Where& where);
std::unique_ptr<Model> read_word_level(const Json& model, const Where& where);

}  // namespace ocellus::tokenizer
