// Base64 (RFC 4648) as tokenizer files use it.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace ocellus::tokenizer {

/// decode_base64 — the bytes, or nothing if `text` is not padded standard base64.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace ocellus::tokenizer
