#include "data/tokenizer_fields.h"

#include <nlohmann/json.hpp>

#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

const Json* optional_field(const Json& object, const char* key, const Where& where) {
  check<FormatError>(object.is_object(), "{}: an object is needed, got {}", where.text(),
                     object.type_name());
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

const Json& object_field(const Json& object, const char* key, const Where& where) {
  const Json* value = optional_field(object, key, where);
  check<FormatError>(value && value->is_object(), "{}: an object is needed", (where / key).text());
  return *value;
}

const Json& array_field(const Json& object, const char* key, const Where& where) {
  const Json* value = optional_field(object, key, where);
  check<FormatError>(value && value->is_array(), "{}: a list is needed", (where / key).text());
  return *value;
}

std::string string_field(const Json& object, const char* key, const Where& where) {
  const Json* value = optional_field(object, key, where);
  check<FormatError>(value && value->is_string(), "{}: a string is needed", (where / key).text());
  return value->get<std::string>();
}

std::string string_field(const Json& object, const char* key, const Where& where,
                         std::string_view fallback) {
  return optional_field(object, key, where) ? string_field(object, key, where)
                                            : std::string(fallback);
}

char32_t char_field(const Json& object, const char* key, const Where& where) {
  const std::string text = string_field(object, key, where);
  check<FormatError>(!text.empty() && unicode::decode_at(text, 0).size == text.size(),
                     "{}: exactly one character is needed, got \"{}\"", (where / key).text(), text);
  return unicode::decode_at(text, 0).code;
}

bool bool_field(const Json& object, const char* key, const Where& where) {
  const Json* value = optional_field(object, key, where);
  check<FormatError>(value && value->is_boolean(), "{}: true or false is needed",
                     (where / key).text());
  return value->get<bool>();
}

bool bool_field(const Json& object, const char* key, const Where& where, bool fallback) {
  return optional_field(object, key, where) ? bool_field(object, key, where) : fallback;
}

int64_t int_field(const Json& object, const char* key, const Where& where, int64_t low,
                  int64_t high) {
  const Json* value = optional_field(object, key, where);
  check<FormatError>(value && value->is_number_integer() &&
                         value->get<double>() >= static_cast<double>(low) &&
                         value->get<double>() <= static_cast<double>(high),
                     "{}: a whole number from {} to {} is needed", (where / key).text(), low, high);
  return value->get<int64_t>();
}

int32_t id_of(const Json& value, const Where& where) {
  check<FormatError>(
      value.is_number_integer() && value.get<double>() >= 0 && value.get<double>() <= kLargestId,
      "{}: an id from 0 to {} is needed, got {}", where.text(), kLargestId,
      value.is_structured() ? value.type_name() : value.dump());
  return value.get<int32_t>();
}

std::string type_of(const Json& section, const Where& where) {
  return string_field(section, "type", where);
}

void unknown_kind(const std::string& kind, const char* section, const Where& where) {
  fail<FormatError>("{}: {} \"{}\" is not supported", where.text(), section, kind);
}

}  // namespace ocellus::tokenizer
