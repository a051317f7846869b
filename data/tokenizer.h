// Text to token ids and back, as the files of Hugging Face `tokenizers` and of tiktoken describe
// it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ocellus {

/// What a tiktoken file does not say. Without a pattern the name of the file decides: cl100k_base,
/// o200k_base, r50k_base, p50k_base.
struct TiktokenOptions {
  std::string pattern;                                          // regular expression of the words
  std::vector<std::pair<std::string, int32_t>> special_tokens;  // and their ids
};

/// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin, end;
};

/// Tokenizer — an immutable pipeline: added tokens are cut out of the text, the rest is normalized,
/// split into pieces, each piece becomes ids by the model, a post-processor adds special tokens.
/// Copies share the data. All const functions may run in many threads at once.
///
/// Ids equal those of Hugging Face `tokenizers` for the same file. `truncation` and `padding`
/// sections are kept but not applied (as `transformers` calls it). Text that is not valid UTF-8 is
/// read with U+FFFD in place of each bad part.
class Tokenizer {
 public:
  /// Reads a `tokenizer.json`, a folder that has one (or `vocab.json` and `merges.txt`), or a
  /// `.tiktoken` file. Throws FormatError: file, section, rule.
  static Tokenizer load(const std::string& file_or_folder);

  /// Reads a tiktoken file (a token in base64 and its rank a line). Throws UsageError if there is
  /// neither a pattern nor a known name.
  static Tokenizer load_tiktoken(const std::string& path, const TiktokenOptions& options = {});
  static Tokenizer from_tiktoken(std::string_view text, const std::string& who,
                                 const TiktokenOptions& options);

  /// The same as load() from the text of a tokenizer.json; `who` begins the messages.
  static Tokenizer from_json(std::string_view text, const std::string& who);

  /// Trains byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; bytes as in GPT-2) until the
  /// vocabulary has `vocab_size` tokens or no pair is left. Ids: special tokens, 256 bytes, merges.
  /// The most frequent pair is merged first, of equal ones that with the smaller ids, so the result
  /// depends on the texts alone. Throws UsageError if `vocab_size` cannot hold bytes and specials.
  static Tokenizer train_byte_bpe(const std::vector<std::string>& texts, int vocab_size,
                                  const std::vector<std::string>& special_tokens);

  /// The tokenizer.json: the text it was read from, or an equivalent one.
  std::string to_json() const;

  /// Ids of `text`. `add_special`: the post-processor adds its tokens. `parse_special` = false:
  /// added and special tokens written in the text stay plain text, except added tokens that are
  /// nothing but blanks, which are no markup.
  std::vector<int32_t> encode(std::string_view text, bool add_special = true,
                              bool parse_special = true) const;

  /// Ids of `text` (valid UTF-8) without those of the post-processor, and the bytes that each comes
  /// from: whole characters, followed through normalization. Added tokens are not looked for inside
  /// the ranges `literal`.
  std::vector<int32_t> encode_with_ranges(std::string_view text, std::span<const TextRange> literal,
                                          std::vector<TextRange>& ranges) const;

  /// The same ids as encode(), and the offsets that Hugging Face `tokenizers` gives them:
  /// characters of `text` (valid UTF-8), without blanks at the ends if the post-processor trims;
  /// tokens that it adds lie at [0, 0).
  std::vector<int32_t> encode_with_offsets(std::string_view text, bool add_special,
                                           std::vector<TextRange>& offsets) const;

  /// Text of `ids`; ids without a token are passed over. `skip_special` leaves special tokens out.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

  std::optional<int32_t> token_to_id(std::string_view token) const;

  /// The token as it stands in the vocabulary (bytes in their visible form); empty if there is
  /// none.
  std::string id_to_token(int32_t id) const;

  /// Largest id + 1, added tokens included: how many rows an embedding needs.
  int vocab_size() const;

  bool is_special(int32_t id) const;

  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

/// StreamDecoder — ids one at a time to text, of which push() returns what is complete: the pieces
/// put together are decode() of all ids, and no piece ends inside a UTF-8 character. (Only a run of
/// byte-fallback tokens that turns invalid after a complete character is told differently by
/// decode(), which then replaces the whole run.)
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = true)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  /// The text that `id` completes; empty while a character is unfinished.
  std::string push(int32_t id);

  /// What is left at the end: an unfinished character becomes U+FFFD. Starts afresh.
  std::string finish();

 private:
  /// Forgets ids that are told completely.
  void shorten(std::string_view text);

  Tokenizer tokenizer_;
  bool skip_special_;
  std::vector<int32_t> ids_;  // a window: ids told before that decoding needs as context, open ones
  std::string told_;          // text of the window that was returned
};

}  // namespace ocellus
