// Post-processors: special tokens around the ids of one text.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/tokenizer_fields.h"
#include "data/tokenizer_sections.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

/// ByteLevel, and a part of RobertaProcessing: blanks at the ends of a token do not belong to its
/// place; with `prefix` the first token keeps those in front, since one was put there.
class Trim final : public PostProcessor {
 public:
  explicit Trim(bool prefix) : prefix_(prefix) {}
  void apply(std::vector<int32_t>&, std::vector<TokenPlace>* places, bool) const override {
    if (!places) return;
    for (size_t i = 0; i < places->size(); ++i) {
      TokenPlace& p = (*places)[i];
      // More blanks than one were not put there.
      const bool kept = prefix_ && (i == 0 || p.range.begin == 0) && p.blanks_before == 1;
      if (!kept) p.range.begin = std::min(p.range.begin + p.blanks_before, p.range.end);
      if (p.range.end >= p.blanks_after)
        p.range.end = std::max(p.range.end - p.blanks_after, p.range.begin);
    }
  }

 private:
  bool prefix_;
};

/// BertProcessing and RobertaProcessing: cls text sep.
class Surround final : public PostProcessor {
 public:
  Surround(int32_t cls, int32_t sep) : cls_(cls), sep_(sep) {}
  void apply(std::vector<int32_t>& ids, std::vector<TokenPlace>* places,
             bool add_special) const override {
    if (!add_special) return;
    ids.insert(ids.begin(), cls_);
    ids.push_back(sep_);
    if (!places) return;
    places->insert(places->begin(), TokenPlace{});
    places->push_back({});
  }

 private:
  int32_t cls_, sep_;
};

/// TemplateProcessing: a list of special ids and places for the text.
class Template final : public PostProcessor {
 public:
  struct Piece {
    bool text;
    std::vector<int32_t> special;
  };
  explicit Template(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {}
  void apply(std::vector<int32_t>& ids, std::vector<TokenPlace>* places,
             bool add_special) const override {
    std::vector<int32_t> out;
    std::vector<TokenPlace> out_places;
    for (const Piece& piece : pieces_) {
      if (piece.text) {
        out.insert(out.end(), ids.begin(), ids.end());
        if (places) out_places.insert(out_places.end(), places->begin(), places->end());
      } else if (add_special) {
        out.insert(out.end(), piece.special.begin(), piece.special.end());
        out_places.resize(out.size());
      }
    }
    ids = std::move(out);
    if (places) *places = std::move(out_places);
  }

 private:
  std::vector<Piece> pieces_;
};

/// One after the other.
class PostSequence final : public PostProcessor {
 public:
  explicit PostSequence(std::vector<std::unique_ptr<PostProcessor>> steps)
      : steps_(std::move(steps)) {}
  void apply(std::vector<int32_t>& ids, std::vector<TokenPlace>* places,
             bool add_special) const override {
    for (const auto& step : steps_) step->apply(ids, places, add_special);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> steps_;
};

std::unique_ptr<PostProcessor> read_template(const Json& section, const Where& where) {
  const Json& single = array_field(section, "single", where);
  const Json empty = Json::object();
  const Json& specials = optional_field(section, "special_tokens", where)
                             ? object_field(section, "special_tokens", where)
                             : empty;
  std::vector<Template::Piece> pieces;
  for (size_t i = 0; i < single.size(); ++i) {
    const Where here = (where / "single")[i];
    if (const Json* sequence = optional_field(single[i], "Sequence", here)) {
      check<FormatError>(string_field(*sequence, "id", here / "Sequence") == "A",
                         "{}: a single text has no sequence B", here.text());
      pieces.push_back({true, {}});
      continue;
    }
    const Json& special = object_field(single[i], "SpecialToken", here);
    const std::string name = string_field(special, "id", here / "SpecialToken");
    const Where there = where / "special_tokens" / name;
    const auto entry = specials.find(name);
    check<FormatError>(entry != specials.end(), "{}: \"{}\" is not among special_tokens",
                       here.text(), name);
    const Json& ids = array_field(*entry, "ids", there);
    Template::Piece piece{false, {}};
    for (size_t k = 0; k < ids.size(); ++k)
      piece.special.push_back(id_of(ids[k], (there / "ids")[k]));
    pieces.push_back(std::move(piece));
  }
  return std::make_unique<Template>(std::move(pieces));
}

int32_t pair_id(const Json& section, const char* key, const Where& where) {
  const Json& pair = array_field(section, key, where);
  check<FormatError>(pair.size() == 2 && pair[0].is_string(), "{}: a token and its id are needed",
                     (where / key).text());
  return id_of(pair[1], (where / key)[1]);
}

/// Appends the steps of a section; `adds` says whether one of them adds tokens.
void read_steps(const Json& section, const Where& where, bool& adds,
                std::vector<std::unique_ptr<PostProcessor>>& steps) {
  const std::string kind = type_of(section, where);
  if (kind == "Sequence") {
    const Json& list = array_field(section, "processors", where);
    for (size_t i = 0; i < list.size(); ++i)
      read_steps(list[i], (where / "processors")[i], adds, steps);
    return;
  }
  if (kind == "ByteLevel" || kind == "RobertaProcessing")
    if (bool_field(section, "trim_offsets", where, true))
      steps.push_back(std::make_unique<Trim>(bool_field(section, "add_prefix_space", where, true)));
  if (kind == "ByteLevel") return;
  check<FormatError>(!adds, "{}: more than one processor that adds tokens is not supported",
                     where.text());
  adds = true;
  if (kind == "BertProcessing" || kind == "RobertaProcessing")
    steps.push_back(
        std::make_unique<Surround>(pair_id(section, "cls", where), pair_id(section, "sep", where)));
  else if (kind == "TemplateProcessing")
    steps.push_back(read_template(section, where));
  else
    unknown_kind(kind, "post_processor", where);
}

}  // namespace

std::unique_ptr<PostProcessor> read_post_processor(const Json& section, const Where& where) {
  bool adds = false;
  std::vector<std::unique_ptr<PostProcessor>> steps;
  read_steps(section, where, adds, steps);
  return std::make_unique<PostSequence>(std::move(steps));
}

}  // namespace ocellus::tokenizer
