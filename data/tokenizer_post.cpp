// Post-processors: special tokens around the ids of one text.
#include <nlohmann/json.hpp>

#include "data/tokenizer_fields.h"
#include "data/tokenizer_sections.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

/// BertProcessing and RobertaProcessing: cls text sep.
class Surround final : public PostProcessor {
 public:
  Surround(int32_t cls, int32_t sep) : cls_(cls), sep_(sep) {}
  void apply(std::vector<int32_t>& ids, bool add_special) const override {
    if (!add_special) return;
    ids.insert(ids.begin(), cls_);
    ids.push_back(sep_);
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
  void apply(std::vector<int32_t>& ids, bool add_special) const override {
    std::vector<int32_t> out;
    for (const Piece& piece : pieces_) {
      if (piece.text)
        out.insert(out.end(), ids.begin(), ids.end());
      else if (add_special)
        out.insert(out.end(), piece.special.begin(), piece.special.end());
    }
    ids = std::move(out);
  }

 private:
  std::vector<Piece> pieces_;
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

}  // namespace

std::unique_ptr<PostProcessor> read_post_processor(const Json& section, const Where& where) {
  const std::string kind = type_of(section, where);
  if (kind == "ByteLevel") return nullptr;  // changes offsets only
  if (kind == "BertProcessing" || kind == "RobertaProcessing")
    return std::make_unique<Surround>(pair_id(section, "cls", where),
                                      pair_id(section, "sep", where));
  if (kind == "TemplateProcessing") return read_template(section, where);
  if (kind != "Sequence") unknown_kind(kind, "post_processor", where);
  const Json& list = array_field(section, "processors", where);
  std::unique_ptr<PostProcessor> only;
  for (size_t i = 0; i < list.size(); ++i) {
    auto next = read_post_processor(list[i], (where / "processors")[i]);
    check<FormatError>(!next || !only,
                       "{}: more than one processor that adds tokens is not supported",
                       (where / "processors")[i].text());
    if (next) only = std::move(next);
  }
  return only;
}

}  // namespace ocellus::tokenizer
