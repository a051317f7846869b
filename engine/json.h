// Strict JSON: what every reader of a foreign file goes through.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace ocellus {

/// parse_json — parses `text` (UTF-8). Refuses duplicate keys, nesting deeper than 128, trailing
/// bytes and invalid UTF-8 with a FormatError "WHO: …" that names the byte offset or the key.
nlohmann::json parse_json(std::string_view text, const std::string& who);

/// load_json — parse_json of a whole file, at most `max_bytes` long.
nlohmann::json load_json(const std::string& path, size_t max_bytes = size_t{1} << 30);

}  // namespace ocellus
