// Decoders: token strings back to text.
#include <nlohmann/json.hpp>

#include "data/tokenizer_fields.h"
#include "data/tokenizer_sections.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

/// All tokens to bytes, and those to one text; a token that is not made of byte symbols stands for
/// its own UTF-8.
class ByteLevelDecoder final : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) bytes += bytes_of_symbols(token).value_or(token);
    tokens.assign(1, unicode::replace_invalid_utf8(bytes));
  }
};

}  // namespace

std::unique_ptr<TokenDecoder> read_decoder(const Json& section, const Where& where) {
  const std::string kind = type_of(section, where);
  if (kind == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  unknown_kind(kind, "decoder", where);
}

}  // namespace ocellus::tokenizer
