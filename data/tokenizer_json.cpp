// Reads a whole tokenizer.json, or makes one of vocab.json and merges.txt.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/tokenizer_fields.h"
#include "data/tokenizer_folder.h"
#include "data/tokenizer_impl.h"
#include "data/tokenizer_sections.h"
#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {
namespace tokenizer {
namespace {

void read_added_tokens(const Json& list, const Where& where, Tokenizer::Impl& impl) {
  for (size_t i = 0; i < list.size(); ++i) {
    AddedToken token;
    token.content = string_field(list[i], "content", where[i]);
    token.special = bool_field(list[i], "special", where[i]);
    token.single_word = bool_field(list[i], "single_word", where[i]);
    token.lstrip = bool_field(list[i], "lstrip", where[i]);
    token.rstrip = bool_field(list[i], "rstrip", where[i]);
    token.normalized = bool_field(list[i], "normalized", where[i]);
    impl.added.add(std::move(token), *impl.model, impl.normalizer.get());
  }
}

std::shared_ptr<Tokenizer::Impl> read_tokenizer(const Json& file, const Where& where) {
  auto impl = std::make_shared<Tokenizer::Impl>();
  if (optional_field(file, "version", where)) {
    const std::string version = string_field(file, "version", where);
    check<FormatError>(version == "1.0", "{}: version \"{}\" is not supported, only \"1.0\"",
                       where.text(), version);
  }
  if (const Json* section = optional_field(file, "normalizer", where))
    impl->normalizer = read_normalizer(*section, where / "normalizer");
  const Json& model = object_field(file, "model", where);
  bool bytes = model_kind(model, where / "model") == "BPE";
  if (const Json* section = optional_field(file, "pre_tokenizer", where))
    impl->pre_tokenizers = read_pre_tokenizers(*section, where / "pre_tokenizer", bytes);
  else
    bytes = false;
  impl->model = read_model(model, bytes, where / "model");
  if (const Json* section = optional_field(file, "post_processor", where))
    impl->post_processor = read_post_processor(*section, where / "post_processor");
  if (const Json* section = optional_field(file, "decoder", where))
    impl->decoder = read_decoder(*section, where / "decoder");
  if (impl->decoder && type_of(file["decoder"], where / "decoder") == "ByteLevel")
    impl->word_suffix = string_field(model, "end_of_word_suffix", where / "model", "");
  if (optional_field(file, "added_tokens", where))
    read_added_tokens(array_field(file, "added_tokens", where), where / "added_tokens", *impl);
  impl->added.finish(where / "added_tokens");
  return impl;
}

}  // namespace
}  // namespace tokenizer

Tokenizer Tokenizer::from_json(std::string_view text, const std::string& who) {
  auto impl = tokenizer::read_tokenizer(parse_json(text, who), {who, ""});
  impl->json = text;
  return Tokenizer(impl);
}

Tokenizer Tokenizer::load(const std::string& file_or_folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::path(file_or_folder).extension() == ".tiktoken") return load_tiktoken(file_or_folder);
  if (!fs::is_directory(file_or_folder, error))
    return from_json(read_file(file_or_folder, uint64_t{1} << 30), file_or_folder);
  const auto inside = [&](const char* name) { return (fs::path(file_or_folder) / name).string(); };
  if (fs::exists(inside("tokenizer.json"), error))
    return from_json(read_file(inside("tokenizer.json"), uint64_t{1} << 30),
                     inside("tokenizer.json"));
  check<FormatError>(
      fs::exists(inside("vocab.json"), error) && fs::exists(inside("merges.txt"), error),
      "{}: neither tokenizer.json nor vocab.json with merges.txt is in this folder{}",
      file_or_folder,
      fs::exists(inside("tokenizer.model"), error)
          ? " (tokenizer.model is not read: save the tokenizer with transformers as tokenizer.json)"
          : "");
  return from_json(tokenizer::json_of_vocab_and_merges(file_or_folder), file_or_folder);
}

}  // namespace ocellus
