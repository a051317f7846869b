// generation_config.json.
#include "vlm/config_reader.h"
#include "vlm/generate.h"

namespace ocellus {
namespace {

using nlohmann::json;

int64_t count(const json& config, const char* key, int64_t fallback, const std::string& who) {
  if (!config.contains(key) || config[key].is_null()) return fallback;
  check<FormatError>(config[key].is_number_integer(), "{}: {} must be a whole number, got {}", who,
                     key, config[key].dump());
  return config[key].get<int64_t>();
}

std::vector<Tokens> words(const json& list, const char* key, const std::string& who) {
  std::vector<Tokens> all;
  check<FormatError>(list.is_array(), "{}: {} must be a list of lists of token ids", who, key);
  for (const json& word : list) {
    Tokens ids;
    check<FormatError>(word.is_array(), "{}: {} must be a list of lists of token ids", who, key);
    for (const json& id : word) {
      check<FormatError>(id.is_number_integer(), "{}: {} must be a list of lists of token ids", who,
                         key);
      ids.push_back(id.get<int64_t>());
    }
    all.push_back(std::move(ids));
  }
  return all;
}

}  // namespace

void read_generate_options(const json& config, const std::string& who, GenerateOptions& o) {
  const ConfigReader read(config, who);
  o.max_new_tokens = count(config, "max_new_tokens", o.max_new_tokens, who);
  o.min_new_tokens = count(config, "min_new_tokens", o.min_new_tokens, who);
  o.top_k = count(config, "top_k", o.top_k, who);
  o.top_p = read.number("top_p", o.top_p);
  o.min_p = read.number("min_p", o.min_p);
  o.typical_p = read.number("typical_p", o.typical_p);
  o.repetition_penalty = read.number("repetition_penalty", o.repetition_penalty);
  o.no_repeat_ngram_size = count(config, "no_repeat_ngram_size", o.no_repeat_ngram_size, who);
  if (read.has("do_sample"))
    o.temperature = read.flag("do_sample", false) ? read.number("temperature", 1) : 0;
  if (read.has("bad_words_ids"))
    o.bad_words = words(read.at("bad_words_ids"), "bad_words_ids", who);
  if (read.has("eos_token_id")) o.stop_tokens = read.ids("eos_token_id");
  if (read.has("suppress_tokens")) o.banned_tokens = read.ids("suppress_tokens");
  if (read.has("pad_token_id")) o.pad_token = count(config, "pad_token_id", 0, who);
  o.beams = count(config, "num_beams", o.beams, who);
  o.return_sequences = count(config, "num_return_sequences", o.return_sequences, who);
  o.length_penalty = read.number("length_penalty", o.length_penalty);
  if (!read.has("early_stopping")) return;
  const json& early = read.at("early_stopping");
  check<FormatError>(early.is_boolean() || early == "never",
                     "{}: early_stopping must be true, false or \"never\", got {}", who,
                     early.dump());
  o.early_stopping = early == "never"    ? EarlyStopping::kNever
                     : early.get<bool>() ? EarlyStopping::kAllEnded
                                         : EarlyStopping::kNoBetter;
}

}  // namespace ocellus
