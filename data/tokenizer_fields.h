// Reading single fields of a tokenizer.json, with messages that name file and place.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "data/tokenizer_parts.h"

namespace ocellus::tokenizer {

using Json = nlohmann::json;

/// The field, or nullptr if it is missing or null. FormatError if `object` is not an object.
const Json* optional_field(const Json& object, const char* key, const Where& where);
const Json& object_field(const Json& object, const char* key, const Where& where);
const Json& array_field(const Json& object, const char* key, const Where& where);
std::string string_field(const Json& object, const char* key, const Where& where);
std::string string_field(const Json& object, const char* key, const Where& where,
                         std::string_view fallback);
/// A string of exactly one character.
char32_t char_field(const Json& object, const char* key, const Where& where);
bool bool_field(const Json& object, const char* key, const Where& where);
bool bool_field(const Json& object, const char* key, const Where& where, bool fallback);
int64_t int_field(const Json& object, const char* key, const Where& where, int64_t low,
                  int64_t high);
int32_t id_of(const Json& value, const Where& where);
/// The "type" of a section, which must be an object.
std::string type_of(const Json& section, const Where& where);
/// Throws the FormatError for a kind that is not known.
[[noreturn]] void unknown_kind(const std::string& kind, const char* section, const Where& where);

}  // namespace ocellus::tokenizer
