// The stages of a tokenizer and what travels between them. One abstract class per section of a
// tokenizer.json; `tokenizer_json.cpp` builds them, `tokenizer.cpp` runs them.
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer.h"

namespace ocellus::tokenizer {

/// Where in a file something stands, for messages: "PATH: model.merges[3]".
struct Where {
  std::string file;
  std::string place;
  Where operator/(std::string_view key) const {
    return {file, place.empty() ? std::string(key) : place + "." + std::string(key)};
  }
  Where operator[](size_t i) const { return {file, place + "[" + std::to_string(i) + "]"}; }
  std::string text() const { return place.empty() ? file : file + ": " + place; }
};

/// Text under normalization.
struct NormalText {
  explicit NormalText(std::string_view original, bool traced = false);

  std::string text;
  size_t start;            // so many bytes at the front come from the first character
  size_t limit = 1 << 24;  // bytes it may grow to: steps that double a text are no normalization
  bool traced;             // whether origins are kept
  std::vector<TextRange> origins;  // of each byte: the characters of the original it comes from
};

/// The origins of a text that nothing has changed: each byte comes from its whole character.
std::vector<TextRange> own_origins(std::string_view text);

/// Writes the text that follows another: each part says which byte of the old text it stands for.
class Rewriter {
 public:
  explicit Rewriter(NormalText& text) : old_(text) { text_.reserve(text.text.size()); }
  /// `source` = kFront: inserted before everything.
  static constexpr size_t kFront = SIZE_MAX;
  void put(char32_t code, size_t source);
  void put(std::string_view part, size_t source);
  /// Bytes [begin, end) of the old text as they are.
  void keep(size_t begin, size_t end);
  size_t size() const { return text_.size(); }
  /// Puts the new text in place of the old one.
  void finish();

 private:
  void trace(size_t before, size_t source);
  NormalText& old_;
  std::string text_;
  std::vector<TextRange> origins_;
  size_t start_ = 0;
  bool at_start_ = true;
};

/// A character and what it does to the old text: 0 stands for the next character of it, 1 is
/// inserted, -k stands for the next one and swallows k more.
struct Change {
  char32_t code;
  int change;
};
void apply_changes(NormalText& text, const std::vector<Change>& changes);

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalText& text) const = 0;
};

/// A stretch of text between two cuts.
struct Span {
  size_t begin, end;
};

/// One text cut into pieces. Pre-tokenizers that only cut change `spans`; those that also change
/// the text write a new one into `owned` and point `text` there.
struct Pieces {
  std::string_view text;
  std::vector<Span> spans;
  std::string owned;
  std::vector<Span> scratch;
  size_t start = 0;  // so many bytes at the front come from the first character of the original
  bool traced = false;
  std::vector<TextRange> origins;  // if traced: of each byte of `text`, in the original

  Pieces() = default;
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;
  std::string_view piece(const Span& span) const {
    return text.substr(span.begin, span.end - span.begin);
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

class Model {
 public:
  virtual ~Model() = default;
  /// Appends the ids of all pieces. Must be safe to call from many threads at once.
  virtual void encode(const Pieces& pieces, std::vector<int32_t>& ids) const = 0;
  /// Appends the ids of one piece (not empty) and the bytes of it that each stands for.
  virtual void encode_piece(std::string_view piece, std::vector<int32_t>& ids,
                            std::vector<TextRange>& places) const = 0;
  /// Whether the token's own text is that which it stands for, not that of the vocabulary.
  virtual bool is_text(int32_t) const { return false; }
  virtual std::optional<int32_t> find(std::string_view token) const = 0;
  virtual std::optional<std::string_view> token(int32_t id) const = 0;
  /// Number of tokens, and the largest id + 1.
  virtual size_t size() const = 0;
  virtual int32_t id_limit() const = 0;
};

/// Where a token lies: characters of the text, and how many blanks its own text begins and ends
/// with.
struct TokenPlace {
  TextRange range{0, 0};
  size_t blanks_before = 0, blanks_after = 0;
};

/// Adds special tokens around the ids of one text, or with `add_special` = false only places them.
/// `places`, unless null, is kept beside the ids.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual void apply(std::vector<int32_t>& ids, std::vector<TokenPlace>* places,
                     bool add_special) const = 0;
};

/// Turns token strings into text, step by step; what is left is joined without a separator.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

/// Token strings and their ids. find() is a hash look-up without allocation.
class Vocabulary {
 public:
  void reserve(size_t tokens) { entries_.reserve(tokens); }
  void add(std::string_view token, int32_t id);
  /// Builds the look-up tables; call once after the last add(). With `who`, throws FormatError if
  /// an id or a token comes twice or an id is out of range.
  void finish(const Where& where, bool tokens_may_repeat = false);
  int32_t find(std::string_view token) const;  // -1 if there is none
  std::optional<std::string_view> token(int32_t id) const;
  size_t size() const { return entries_.size(); }
  int32_t id_limit() const { return id_limit_; }
  /// The i-th token as it was added.
  std::pair<std::string_view, int32_t> operator[](size_t i) const {
    return {text_of(entries_[i]), entries_[i].id};
  }

 private:
  struct Entry {
    size_t offset;
    uint32_t length;
    int32_t id;
  };
  std::string_view text_of(const Entry& e) const { return {arena_.data() + e.offset, e.length}; }

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // entry + 1, open addressing
  std::vector<uint32_t> by_id_;  // entries in order of id
  int32_t id_limit_ = 0;
};

constexpr int32_t kLargestId = (1 << 24) - 1;

/// The visible character that GPT-2 writes for each byte, and back (-1: stands for no byte).
std::string_view byte_symbol(uint8_t byte);
int byte_of_symbol(char32_t code);
/// All symbols of `token` to bytes; nothing if one of them stands for no byte.
std::optional<std::string> bytes_of_symbols(std::string_view token);
std::string symbols_of_bytes(std::string_view bytes);

}  // namespace ocellus::tokenizer
