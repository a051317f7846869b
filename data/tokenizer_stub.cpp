#include <nlohmann/json.hpp>

#include "data/pretokenizer.h"
#include "data/tokenizer_fields.h"
#include "data/tokenizer_sections.h"

namespace ocellus::tokenizer {
std::unique_ptr<Normalizer> read_normalizer(const Json& section, const Where& where) {
  unknown_kind(type_of(section, where), "normalizer", where);
}
std::vector<std::unique_ptr<PreTokenizer>> read_pre_tokenizers(const Json& section,
                                                               const Where& where,
                                                               bool& bytes_at_end) {
  const std::string kind = type_of(section, where);
  if (kind != "ByteLevel") unknown_kind(kind, "pre_tokenizer", where);
  std::vector<std::unique_ptr<PreTokenizer>> out;
  out.push_back(make_byte_level(bool_field(section, "add_prefix_space", where),
                                bool_field(section, "use_regex", where, true), !bytes_at_end));
  return out;
}
std::unique_ptr<Model> read_model(const Json& section, bool bytes, const Where& where) {
  return read_bpe(section, bytes, where);
}
std::string model_kind(const Json&, const Where&) { return "BPE"; }
std::vector<std::unique_ptr<PostProcessor>> read_post_processors(const Json& section,
                                                                 const Where& where) {
  const std::string kind = type_of(section, where);
  if (kind != "ByteLevel") unknown_kind(kind, "post_processor", where);
  return {};
}
}  // namespace ocellus::tokenizer
