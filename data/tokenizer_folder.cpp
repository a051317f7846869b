// A folder without tokenizer.json: vocab.json and merges.txt as GPT-2, RoBERTa and CLIP have them.
// From these and tokenizer_config.json it makes the tokenizer.json that transformers would make.
#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "data/pretokenizer.h"
#include "data/tokenizer_fields.h"
#include "data/tokenizer_folder.h"
#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus::tokenizer {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxBytes = uint64_t{1} << 28;

/// The JSON object in `folder`/`name`, or an empty one if there is no such file.
Json optional_file(const std::string& folder, const char* name) {
  const std::string path = (fs::path(folder) / name).string();
  if (!fs::exists(path)) return Json::object();
  Json file = load_json(path, kMaxBytes);
  check<FormatError>(file.is_object(), "{}: an object is needed", path);
  return file;
}

Json read_merges(const std::string& path) {
  const std::string text = read_file(path, kMaxBytes);
  Json merges = Json::array();
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line.starts_with("#version")) continue;
    check<FormatError>(std::count(line.begin(), line.end(), ' ') == 1,
                       "{}: line {} is not two tokens with one blank between", path, line_number);
    merges.push_back(std::move(line));
  }
  return merges;
}

/// A token as it stands in tokenizer_config.json: a string, or an object with "content".
std::optional<Json> config_token(const Json& value, const Where& where) {
  if (value.is_null()) return std::nullopt;
  Json token{{"single_word", false},
             {"lstrip", false},
             {"rstrip", false},
             {"normalized", false},
             {"special", true}};
  if (value.is_string()) {
    token["content"] = value;
    return token;
  }
  token["content"] = string_field(value, "content", where);
  for (const char* key : {"single_word", "lstrip", "rstrip", "normalized", "special"})
    token[key] = bool_field(value, key, where, token[key].get<bool>());
  return token;
}

constexpr const char* kRoles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

/// All special and added tokens of the folder, by content, in order of their ids.
Json added_tokens(const std::string& folder, const Json& config, const Json& vocab, bool roberta) {
  std::map<std::string, Json> tokens;
  std::map<std::string, int64_t> ids;
  const auto add = [&](const Json& value, const Where& where) {
    if (auto token = config_token(value, where)) {
      const auto content = (*token)["content"].get<std::string>();
      if (!content.empty()) tokens.emplace(content, std::move(*token));
    }
  };
  const Where where{(fs::path(folder) / "tokenizer_config.json").string(), ""};
  if (optional_field(config, "added_tokens_decoder", where))
    for (const auto& [id, value] : object_field(config, "added_tokens_decoder", where).items()) {
      const Where here = where / "added_tokens_decoder" / id;
      add(value, here);
      ids[string_field(value, "content", here)] = std::atoll(id.c_str());
    }
  const Json map = optional_file(folder, "special_tokens_map.json");
  for (const Json* source : {&config, &map}) {
    for (const char* role : kRoles)
      if (source->contains(role) && ((*source)[role].is_string() || (*source)[role].is_object()))
        add((*source)[role], where / role);
    if (optional_field(*source, "additional_special_tokens", where))
      for (const Json& value : array_field(*source, "additional_special_tokens", where))
        add(value, where / "additional_special_tokens");
  }
  const Json extra = optional_file(folder, "added_tokens.json");
  for (const auto& [content, id] : extra.items()) {
    add(content, where);
    ids[content] = id_of(id, Where{(fs::path(folder) / "added_tokens.json").string(), content});
  }
  if (tokens.empty()) {
    for (const char* content : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
      if (roberta && vocab.contains(content)) add(content, where);
    for (const char* content : {"<|startoftext|>", "<|endoftext|>"})
      if (!roberta && vocab.contains(content)) add(content, where);
  }
  for (const auto& [content, token] : tokens)
    if (const auto known = vocab.find(content); known != vocab.end() && known->is_number_integer())
      ids[content] = known->get<int64_t>();
  Json list = Json::array();
  for (auto& [content, token] : tokens) {
    token["id"] = ids.contains(content) ? ids[content] : INT64_MAX;
    list.push_back(token);
  }
  std::stable_sort(list.begin(), list.end(), [](const Json& a, const Json& b) {
    return a["id"].get<int64_t>() < b["id"].get<int64_t>();
  });
  return list;
}

Json pair_of(const std::string& content, const Json& vocab, const std::string& folder) {
  check<FormatError>(vocab.contains(content), "{}: vocab.json has no \"{}\"", folder, content);
  return Json::array({content, vocab[content]});
}

std::string role(const Json& config, const char* key, const char* fallback) {
  const auto it = config.find(key);
  if (it == config.end()) return fallback;
  if (it->is_string()) return it->get<std::string>();
  if (it->is_object() && it->contains("content") && (*it)["content"].is_string())
    return (*it)["content"].get<std::string>();
  return fallback;
}

bool flag(const Json& config, const char* key) {
  const auto it = config.find(key);
  return it != config.end() && it->is_boolean() && it->get<bool>();
}

enum class Style { kGpt2, kRoberta, kClip };

Style style_of(const std::string& folder, const Json& config, const Json& vocab) {
  std::string name = role(config, "tokenizer_class", "");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  if (name.empty() || name == "PreTrainedTokenizer")
    return vocab.contains("<s>") && vocab.contains("</s>") && vocab.contains("<mask>")
               ? Style::kRoberta
           : vocab.contains("<|startoftext|>") && vocab.contains("!</w>") ? Style::kClip
                                                                          : Style::kGpt2;
  if (name == "GPT2Tokenizer" || name == "CodeGenTokenizer") return Style::kGpt2;
  if (name == "RobertaTokenizer" || name == "BartTokenizer" || name == "LongformerTokenizer" ||
      name == "LEDTokenizer")
    return Style::kRoberta;
  if (name == "CLIPTokenizer") return Style::kClip;
  fail<FormatError>(
      "{}: vocab.json and merges.txt of the class {} are not supported (GPT2Tokenizer, "
      "RobertaTokenizer, BartTokenizer and CLIPTokenizer are); a tokenizer.json would be",
      folder, name);
}

}  // namespace

std::string json_of_vocab_and_merges(const std::string& folder) {
  const std::string vocab_path = (fs::path(folder) / "vocab.json").string();
  const Json vocab = load_json(vocab_path, kMaxBytes);
  check<FormatError>(vocab.is_object(), "{}: an object of tokens and ids is needed", vocab_path);
  const Json config = optional_file(folder, "tokenizer_config.json");
  const Style style = style_of(folder, config, vocab);
  const bool prefix = flag(config, "add_prefix_space");

  Json file{{"version", "1.0"},
            {"truncation", nullptr},
            {"padding", nullptr},
            {"normalizer", nullptr},
            {"post_processor", nullptr}};
  file["added_tokens"] = added_tokens(folder, config, vocab, style == Style::kRoberta);
  const Json byte_level{{"type", "ByteLevel"},
                        {"add_prefix_space", prefix},
                        {"trim_offsets", true},
                        {"use_regex", true}};
  file["pre_tokenizer"] = byte_level;
  file["decoder"] = byte_level;
  Json model{{"type", "BPE"},
             {"dropout", nullptr},
             {"unk_token", nullptr},
             {"continuing_subword_prefix", ""},
             {"end_of_word_suffix", ""},
             {"fuse_unk", false},
             {"byte_fallback", false},
             {"ignore_merges", false},
             {"vocab", vocab}};
  model["merges"] = read_merges((fs::path(folder) / "merges.txt").string());

  if (style == Style::kRoberta) {
    file["post_processor"] = {{"type", "RobertaProcessing"},
                              {"sep", pair_of(role(config, "sep_token", "</s>"), vocab, folder)},
                              {"cls", pair_of(role(config, "cls_token", "<s>"), vocab, folder)},
                              {"trim_offsets", true},
                              {"add_prefix_space", prefix}};
  } else if (style == Style::kClip) {
    file["normalizer"] = {
        {"type", "Sequence"},
        {"normalizers",
         Json::array({{{"type", "NFC"}},
                      {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
                      {{"type", "Lowercase"}}})}};
    file["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers", Json::array({{{"type", "Split"},
                                                             {"pattern", {{"Regex", kClipPattern}}},
                                                             {"behavior", "Removed"},
                                                             {"invert", true}},
                                                            {{"type", "ByteLevel"},
                                                             {"add_prefix_space", false},
                                                             {"trim_offsets", true},
                                                             {"use_regex", true}}})}};
    file["post_processor"] = {
        {"type", "RobertaProcessing"},
        {"sep", pair_of(role(config, "eos_token", "<|endoftext|>"), vocab, folder)},
        {"cls", pair_of(role(config, "bos_token", "<|startoftext|>"), vocab, folder)},
        {"trim_offsets", false},
        {"add_prefix_space", false}};
    model["end_of_word_suffix"] = "</w>";
    model["unk_token"] = role(config, "unk_token", "<|endoftext|>");
  } else if (flag(config, "add_bos_token")) {
    const std::string bos = role(config, "bos_token", "<|endoftext|>");
    file["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", Json::array({{{"SpecialToken", {{"id", bos}, {"type_id", 0}}}},
                                {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}})},
        {"pair", Json::array({{{"SpecialToken", {{"id", bos}, {"type_id", 0}}}},
                              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                              {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}})},
        {"special_tokens",
         {{bos,
           {{"id", bos},
            {"ids", Json::array({pair_of(bos, vocab, folder)[1]})},
            {"tokens", Json::array({bos})}}}}}};
  }
  file["model"] = std::move(model);
  return file.dump();
}

}  // namespace ocellus::tokenizer
