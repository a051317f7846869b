// The BPE section of a tokenizer.json.
#include <nlohmann/json.hpp>

#include "data/bpe.h"
#include "data/tokenizer_fields.h"
#include "data/tokenizer_sections.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

Vocabulary read_vocabulary(const Json& vocab, const Where& where) {
  check<FormatError>(vocab.is_object(), "{}: an object of tokens and ids is needed", where.text());
  Vocabulary out;
  out.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    check<FormatError>(id.is_number_unsigned() && id.get<uint64_t>() <= kLargestId,
                       "{}: the id of \"{}\" must be a number from 0 to {}", where.text(), token,
                       kLargestId);
    out.add(token, id.get<int32_t>());
  }
  out.finish(where);
  return out;
}

namespace {

/// Both parts of a merge, written as "a b" or as ["a", "b"].
std::pair<std::string, std::string> parts_of(const Json& merge, const Where& where) {
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t blank = text.find(' ');
    check<FormatError>(blank != std::string::npos && text.find(' ', blank + 1) == std::string::npos,
                       "{}: \"{}\" is not two tokens with one blank between", where.text(), text);
    return {text.substr(0, blank), text.substr(blank + 1)};
  }
  check<FormatError>(
      merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
      "{}: two tokens are needed", where.text());
  return {merge[0].get<std::string>(), merge[1].get<std::string>()};
}

std::vector<BpeMerge> read_merges(const Json& merges, const Vocabulary& vocabulary,
                                  size_t prefix_size, const Where& where) {
  std::vector<BpeMerge> out;
  out.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    if (merges[i].is_string() && merges[i].get_ref<const std::string&>().starts_with("#version"))
      continue;
    const auto [left, right] = parts_of(merges[i], where[i]);
    check<FormatError>(right.size() >= prefix_size,
                       "{}: \"{}\" is shorter than continuing_subword_prefix", where[i].text(),
                       right);
    const auto id = [&](const std::string& token) {
      const int32_t found = vocabulary.find(token);
      check<FormatError>(found >= 0, "{}: \"{}\" is not in the vocabulary", where[i].text(), token);
      return found;
    };
    out.push_back({id(left), id(right), id(left + right.substr(prefix_size)),
                   static_cast<int32_t>(out.size())});
  }
  return out;
}

}  // namespace

std::unique_ptr<Model> read_bpe(const Json& model, bool bytes, const Where& where) {
  if (const Json* dropout = optional_field(model, "dropout", where))
    check<FormatError>(dropout->is_number() && dropout->get<double>() == 0,
                       "{}: dropout of merges is not supported", (where / "dropout").text());
  BpeSettings settings;
  if (optional_field(model, "unk_token", where))
    settings.unk_token = string_field(model, "unk_token", where);
  settings.continuing_prefix = string_field(model, "continuing_subword_prefix", where, "");
  settings.word_suffix = string_field(model, "end_of_word_suffix", where, "");
  settings.fuse_unk = bool_field(model, "fuse_unk", where, false);
  settings.byte_fallback = bool_field(model, "byte_fallback", where, false);
  settings.ignore_merges = bool_field(model, "ignore_merges", where, false);
  settings.bytes = bytes;
  Vocabulary vocabulary = read_vocabulary(object_field(model, "vocab", where), where / "vocab");
  const auto merges = read_merges(array_field(model, "merges", where), vocabulary,
                                  settings.continuing_prefix.size(), where / "merges");
  return make_bpe(std::move(vocabulary), merges, std::move(settings), where);
}

}  // namespace ocellus::tokenizer
