// The models besides BPE: Unigram, WordPiece, WordLevel; and which of them a section is.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/tokenizer_cache.h"
#include "data/tokenizer_fields.h"
#include "data/tokenizer_sections.h"
#include "data/tokenizer_trie.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

/// What the three share: a vocabulary and a cache of words.
class VocabularyModel : public Model {
 public:
  explicit VocabularyModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  void encode(const Pieces& pieces, std::vector<int32_t>& ids) const override {
    WordCache& cache = WordCache::of(owner_);
    for (const Span& span : pieces.spans)
      if (const std::string_view word = pieces.piece(span); !word.empty())
        cache.encode(word, ids, [this](auto w, auto& out) { encode_word(w, out, nullptr); });
  }
  void encode_piece(std::string_view piece, std::vector<int32_t>& ids,
                    std::vector<TextRange>& places) const override {
    encode_word(piece, ids, &places);
  }
  std::optional<int32_t> find(std::string_view token) const override {
    const int32_t id = vocabulary_.find(token);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::optional<std::string_view> token(int32_t id) const override { return vocabulary_.token(id); }
  size_t size() const override { return vocabulary_.size(); }
  int32_t id_limit() const override { return vocabulary_.id_limit(); }

 protected:
  /// `places`, unless null, gets the bytes of each id.
  virtual void encode_word(std::string_view word, std::vector<int32_t>& ids,
                           std::vector<TextRange>* places) const = 0;
  std::vector<std::pair<std::string_view, int32_t>> all_tokens() const {
    std::vector<std::pair<std::string_view, int32_t>> out;
    out.reserve(vocabulary_.size());
    for (size_t i = 0; i < vocabulary_.size(); ++i) out.push_back(vocabulary_[i]);
    return out;
  }
  Vocabulary vocabulary_;

 private:
  uint64_t owner_ = WordCache::new_owner();
};

/// Unigram language model (Kudo 2018, arXiv:1804.10959): the segmentation with the largest sum of
/// log-probabilities, by Viterbi. A character no token covers scores 10 below the worst token;
/// neighbouring ones are one unknown token. Of equal sums the one found first stays.
class Unigram final : public VocabularyModel {
 public:
  Unigram(Vocabulary vocabulary, std::vector<double> scores, std::optional<int32_t> unk,
          bool byte_fallback, const Where& where)
      : VocabularyModel(std::move(vocabulary)),
        scores_(std::move(scores)),
        unk_(unk),
        trie_(all_tokens()),
        where_(where.text()) {
    double worst = std::numeric_limits<double>::infinity();
    for (double score : scores_) worst = std::min(worst, score);
    unk_score_ = worst - 10.0;
    bytes_.fill(-1);
    for (int b = 0; byte_fallback && b < 256; ++b)
      bytes_[b] = vocabulary_.find(fmt::format("<0x{:02X}>", b));
  }

  bool is_text(int32_t id) const override { return unk_ && id == *unk_; }

 private:
  struct Best {
    double score;
    size_t begin;  // of the token that ends here; kNone if nothing does yet
    int32_t id;
  };
  static constexpr size_t kNone = SIZE_MAX;

  void encode_word(std::string_view word, std::vector<int32_t>& ids,
                   std::vector<TextRange>* places) const override {
    thread_local std::vector<Best> best;
    best.assign(word.size() + 1, {0.0, kNone, -1});
    const auto offer = [&](size_t begin, size_t end, double score, int32_t id) {
      if (best[end].begin == kNone || score > best[end].score) best[end] = {score, begin, id};
    };
    for (size_t at = 0; at < word.size();) {
      const double here = best[at].score;
      const size_t next = at + unicode::decode_at(word, at).size;
      bool covered = false;
      uint32_t node = Trie::kRoot;
      for (size_t end = at; end < word.size();) {
        node = trie_.child(node, static_cast<uint8_t>(word[end++]));
        if (node == Trie::kMissing) break;
        const int32_t id = trie_.value(node);
        if (id == Trie::kNone) continue;
        offer(at, end, here + scores_[static_cast<size_t>(id)], id);
        covered |= end == next;
      }
      if (!covered) {
        offer(at, next, here + unk_score_, unk_.value_or(-1));
      }
      at = next;
    }
    collect(word, best, ids, places);
  }

  void collect(std::string_view word, const std::vector<Best>& best, std::vector<int32_t>& ids,
               std::vector<TextRange>* places) const {
    thread_local std::vector<std::string_view> tokens;
    tokens.clear();
    bool in_unknown = false;
    for (size_t end = word.size(); end > 0; end = best[end].begin) {
      const size_t begin = best[end].begin;
      const bool unknown = unk_ && best[end].id == *unk_;
      if (unknown && in_unknown) {
        const size_t last = tokens.back().size();
        tokens.back() = word.substr(begin, end - begin + last);
      } else {
        tokens.push_back(word.substr(begin, end - begin));
      }
      in_unknown = unknown;
    }
    for (size_t i = tokens.size(); i-- > 0;) {
      emit(tokens[i], ids);
      if (!places) continue;
      const auto begin = static_cast<size_t>(tokens[i].data() - word.data());
      places->resize(ids.size(), {begin, begin + tokens[i].size()});
    }
  }

  void emit(std::string_view token, std::vector<int32_t>& ids) const {
    if (const int32_t id = vocabulary_.find(token); id >= 0) {
      ids.push_back(id);
      return;
    }
    const size_t before = ids.size();
    bool all = true;
    for (char c : token) {
      ids.push_back(bytes_[static_cast<uint8_t>(c)]);
      all &= ids.back() >= 0;
    }
    if (all) return;
    ids.resize(before);
    check<FormatError>(unk_.has_value(), "{}: the text needs an unknown token, unk_id is missing",
                       where_);
    ids.push_back(*unk_);
  }

  std::vector<double> scores_;
  std::optional<int32_t> unk_;
  double unk_score_ = 0;
  std::array<int32_t, 256> bytes_;
  Trie trie_;
  std::string where_;
};

/// WordPiece (Schuster, Nakajima 2012): the longest token that fits, again and again; tokens inside
/// a word begin with a prefix. A word that cannot be covered, or is too long, is one unknown token.
class WordPiece final : public VocabularyModel {
 public:
  WordPiece(Vocabulary vocabulary, std::string unk_token, std::string_view prefix, size_t max_chars,
            const Where& where)
      : VocabularyModel(std::move(vocabulary)),
        unk_token_(std::move(unk_token)),
        max_chars_(max_chars),
        trie_(all_tokens()),
        where_(where.text()) {
    for (char c : prefix)
      if (inside_ != Trie::kMissing) inside_ = trie_.child(inside_, static_cast<uint8_t>(c));
  }

 private:
  void encode_word(std::string_view word, std::vector<int32_t>& ids,
                   std::vector<TextRange>* places) const override {
    const auto chars = static_cast<size_t>(
        std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    const size_t before = ids.size();
    if (chars <= max_chars_) {
      size_t at = 0;
      while (at < word.size()) {
        uint32_t node = at == 0 ? Trie::kRoot : inside_;
        size_t end = at;
        int32_t id = Trie::kNone;
        for (size_t i = at; node != Trie::kMissing && i < word.size();) {
          node = trie_.child(node, static_cast<uint8_t>(word[i++]));
          if (node == Trie::kMissing || trie_.value(node) == Trie::kNone) continue;
          end = i;
          id = trie_.value(node);
        }
        if (id == Trie::kNone) break;
        ids.push_back(id);
        if (places) places->push_back({at, end});
        at = end;
      }
      if (at == word.size()) return;
    }
    ids.resize(before);
    if (places) places->resize(before);
    const int32_t unk = vocabulary_.find(unk_token_);
    check<FormatError>(unk >= 0,
                       "{}: the text needs unk_token \"{}\", which is not in the vocabulary",
                       where_, unk_token_);
    ids.push_back(unk);
    if (places) places->push_back({0, word.size()});
  }

  std::string unk_token_;
  size_t max_chars_;
  Trie trie_;
  uint32_t inside_ = Trie::kRoot;  // the node after the prefix
  std::string where_;
};

/// WordLevel: a piece is a token or unknown.
class WordLevel final : public VocabularyModel {
 public:
  WordLevel(Vocabulary vocabulary, std::string unk_token, const Where& where)
      : VocabularyModel(std::move(vocabulary)),
        unk_token_(std::move(unk_token)),
        where_(where.text()) {}

 private:
  void encode_word(std::string_view word, std::vector<int32_t>& ids,
                   std::vector<TextRange>* places) const override {
    int32_t id = vocabulary_.find(word);
    if (id < 0) id = vocabulary_.find(unk_token_);
    check<FormatError>(id >= 0,
                       "{}: the text needs unk_token \"{}\", which is not in the vocabulary",
                       where_, unk_token_);
    ids.push_back(id);
    if (places) places->push_back({0, word.size()});
  }

  std::string unk_token_;
  std::string where_;
};

}  // namespace

std::unique_ptr<Model> read_unigram(const Json& model, const Where& where) {
  const Json& list = array_field(model, "vocab", where);
  Vocabulary vocabulary;
  vocabulary.reserve(list.size());
  std::vector<double> scores;
  scores.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& entry = list[i];
    check<FormatError>(
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number(),
        "{}: a token and its score are needed", (where / "vocab")[i].text());
    const double score = entry[1].get<double>();
    check<FormatError>(std::isfinite(score), "{}: the score is not finite",
                       (where / "vocab")[i].text());
    vocabulary.add(entry[0].get_ref<const std::string&>(), static_cast<int32_t>(i));
    scores.push_back(score);
  }
  vocabulary.finish(where / "vocab", true);
  std::optional<int32_t> unk;
  if (optional_field(model, "unk_id", where)) {
    check<FormatError>(!list.empty(), "{}: the vocabulary is empty", (where / "vocab").text());
    unk = static_cast<int32_t>(
        int_field(model, "unk_id", where, 0, static_cast<int64_t>(list.size()) - 1));
  }
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(scores), unk,
                                   bool_field(model, "byte_fallback", where, false), where);
}

std::unique_ptr<Model> read_word_piece(const Json& model, const Where& where) {
  return std::make_unique<WordPiece>(
      read_vocabulary(object_field(model, "vocab", where), where / "vocab"),
      string_field(model, "unk_token", where),
      string_field(model, "continuing_subword_prefix", where),
      static_cast<size_t>(int_field(model, "max_input_chars_per_word", where, 0, INT64_MAX)),
      where);
}

std::unique_ptr<Model> read_word_level(const Json& model, const Where& where) {
  return std::make_unique<WordLevel>(
      read_vocabulary(object_field(model, "vocab", where), where / "vocab"),
      string_field(model, "unk_token", where), where);
}

std::string model_kind(const Json& section, const Where& where) {
  if (optional_field(section, "type", where)) return type_of(section, where);
  if (section.contains("merges")) return "BPE";
  if (section.contains("max_input_chars_per_word")) return "WordPiece";
  if (optional_field(section, "vocab", where) && section["vocab"].is_array()) return "Unigram";
  if (section.contains("unk_token")) return "WordLevel";
  fail<FormatError>("{}: neither the field type nor other fields say which model this is",
                    where.text());
}

std::unique_ptr<Model> read_model(const Json& section, bool bytes, const Where& where) {
  const std::string kind = model_kind(section, where);
  if (kind == "BPE") return read_bpe(section, bytes, where);
  if (kind == "Unigram") return read_unigram(section, where);
  if (kind == "WordPiece") return read_word_piece(section, where);
  if (kind == "WordLevel") return read_word_level(section, where);
  unknown_kind(kind, "model", where);
}

}  // namespace ocellus::tokenizer
