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
  std::string text;
  bool start_lost = false;  // the first character of the original text is no longer in it
  size_t limit = 1 << 24;   // bytes it may grow to: steps that double a text are no normalization
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalText& text) const = 0;
};

/// A stretch of text between two cuts.
struct Span {
  size_t begin, end;
  bool at_start;  // begins with the first character of the original text
};

/// One text cut into pieces. Pre-tokenizers that only cut change `spans`; those that also change
/// the text write a new one into `owned` and point `text` there.
struct Pieces {
  std::string_view text;
  std::vector<Span> spans;
  std::string owned;
  std::vector<Span> scratch;

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
  virtual std::optional<int32_t> find(std::string_view token) const = 0;
  virtual std::optional<std::string_view> token(int32_t id) const = 0;
  /// Number of tokens, and the largest id + 1.
  virtual size_t size() const = 0;
  virtual int32_t id_limit() const = 0;
};

/// Adds special tokens around the ids of one text, or with `add_special` = false only places them.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual void apply(std::vector<int32_t>& ids, bool add_special) const = 0;
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
