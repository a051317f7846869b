// Reading config.json: typed keys of one object.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/check.h"

namespace ocellus {

/// ConfigReader — typed keys of one object; every complaint names file and key.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& object, std::string who)
      : object_(object), who_(std::move(who)) {
    check<FormatError>(object_.is_object(), "{}: must be an object", who_);
  }
  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  /// The key is there and says null.
  bool is_null(const char* key) const { return object_.contains(key) && object_[key].is_null(); }
  const nlohmann::json& at(const char* key) const { return object_[key]; }
  int64_t size(const char* key) const { return size(key, -1, true); }
  int64_t size(const char* key, int64_t fallback) const { return size(key, fallback, false); }
  /// The side of a square: a number, or a list of two equal ones.
  int64_t side(const char* key, int64_t fallback) const {
    if (!has(key) || !object_[key].is_array()) return size(key, fallback);
    const nlohmann::json& list = object_[key];
    check<FormatError>(list.size() == 2 && list[0] == list[1],
                       "{}: {} must be a number or two equal ones, got {}", who_, key, list.dump());
    const nlohmann::json single = {{key, list[0]}};
    return ConfigReader(single, who_).size(key);
  }
  double number(const char* key, double fallback) const {
    if (!has(key)) return fallback;
    check<FormatError>(object_[key].is_number(), "{}: {} must be a number", who_, key);
    return object_[key].get<double>();
  }
  /// A probability below 1; 0 if absent.
  double rate(const char* key) const {
    const double p = number(key, 0);
    check<FormatError>(p >= 0 && p < 1, "{}: {} must be from 0 to below 1, got {}", who_, key, p);
    return p;
  }
  bool flag(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    check<FormatError>(object_[key].is_boolean(), "{}: {} must be true or false", who_, key);
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    check<FormatError>(object_[key].is_string(), "{}: {} must be a string", who_, key);
    return object_[key].get<std::string>();
  }
  /// A token id or a list of them.
  std::vector<int64_t> ids(const char* key) const {
    std::vector<int64_t> list;
    if (!has(key)) return list;
    const nlohmann::json& value = object_[key];
    for (const nlohmann::json& id : value.is_array() ? value : nlohmann::json::array({value})) {
      check<FormatError>(id.is_number_integer(), "{}: {} must be a token id or a list of them",
                         who_, key);
      list.push_back(id.get<int64_t>());
    }
    return list;
  }

 private:
  int64_t size(const char* key, int64_t fallback, bool needed) const {
    if (!has(key)) {
      check<FormatError>(!needed, "{}: the key {} is missing", who_, key);
      return fallback;
    }
    const nlohmann::json& value = object_[key];
    check<FormatError>(value.is_number_integer() && value.get<int64_t>() > 0 &&
                           value.get<int64_t>() <= (int64_t{1} << 31),
                       "{}: {} must be a whole number from 1 to 2^31, got {}", who_, key,
                       value.dump());
    return value.get<int64_t>();
  }
  const nlohmann::json& object_;
  std::string who_;
};

}  // namespace ocellus
