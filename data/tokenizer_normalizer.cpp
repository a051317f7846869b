// Normalizers: what happens to a text before it is cut.
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/tokenizer_charsmap.h"
#include "data/tokenizer_fields.h"
#include "data/tokenizer_forms.h"
#include "data/tokenizer_regex.h"
#include "data/tokenizer_sections.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

using unicode::Char;
using unicode::decode_at;

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

/// Rewrites every character by `map(code, put)`; put(code) writes what replaces it.
template <class Map>
void rewrite(NormalText& text, Map&& map) {
  Rewriter out(text);
  for (size_t at = 0; at < text.text.size();) {
    const Char c = decode_at(text.text, at);
    map(c.code, [&](char32_t code) { out.put(code, at); });
    at += c.size;
  }
  out.finish();
}

/// The four Unicode normalization forms (UAX 15).
class UnicodeForm final : public Normalizer {
 public:
  UnicodeForm(bool compose, bool compatible) : compose_(compose), compatible_(compatible) {}
  void apply(NormalText& text) const override {
    // Nothing below U+0300 is changed by NFC.
    const auto own_form = [&](char c) {
      return static_cast<unsigned char>(c) < (compose_ && !compatible_ ? 0xCC : 0x80);
    };
    if (!std::all_of(text.text.begin(), text.text.end(), own_form))
      apply_changes(text, unicode_form(text.text, compose_, compatible_));
  }

 private:
  bool compose_, compatible_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    if (is_ascii(text.text)) {
      for (char& c : text.text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
      return;
    }
    rewrite(text, [](char32_t code, const auto& put) {
      put(unicode::to_lower(code));
      if (code == 0x130) put(0x307);  // the only one that becomes two
    });
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalText& text) const override {
    std::string& s = text.text;
    const auto blank = [&](size_t at) {
      return unicode::class_of(decode_at(s, at).code) & unicode::kSpace;
    };
    size_t begin = 0, end = s.size();
    while (left_ && begin < end && blank(begin)) begin += decode_at(s, begin).size;
    while (right_ && end > begin && blank(unicode::previous_start(s, end)))
      end = unicode::previous_start(s, end);
    if (begin == 0 && end == s.size()) return;
    Rewriter out(text);
    out.keep(begin, end);
    out.finish();
  }

 private:
  bool left_, right_;
};

class StripAccents final : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    if (is_ascii(text.text)) return;
    rewrite(text, [](char32_t code, const auto& put) {
      if (!unicode::is_combining_mark(code)) put(code);
    });
  }
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(NormalText& text) const override {
    thread_local std::vector<Regex::Found> found;
    pattern_.find_all(text.text, found);
    if (found.empty() || (found.size() == 1 && !found[0].match)) return;
    Rewriter out(text);
    for (const Regex::Found& part : found) {
      // What replaces several characters stands where the last of them was.
      if (part.match)
        out.put(content_, part.end == 0 ? Rewriter::kFront : part.end - 1);
      else
        out.keep(part.begin, part.end);
      check<FormatError>(out.size() <= text.limit,
                         "tokenizer: normalization makes the text longer than {} bytes",
                         text.limit);
    }
    out.finish();
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalText& text) const override {
    if (text.text.empty()) return;
    Rewriter out(text);
    out.put(prefix_, 0);
    out.keep(0, text.text.size());
    out.finish();
  }

 private:
  std::string prefix_;
};

/// The cleaning of neural machine translation: controls vanish, odd blanks become blanks.
class Nmt final : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    rewrite(text, [](char32_t code, const auto& put) {
      const bool control = (code >= 0x01 && code <= 0x08) || code == 0x0B ||
                           (code >= 0x0E && code <= 0x1F) || code == 0x7F || code == 0x8F ||
                           code == 0x9F;
      if (control) return;
      const bool blank = code == 0x09 || code == 0x0A || code == 0x0C || code == 0x0D ||
                         code == 0x1680 || (code >= 0x200B && code <= 0x200F) || code == 0x2028 ||
                         code == 0x2029 || code == 0x2581 || code == 0xFEFF || code == 0xFFFD;
      put(blank ? U' ' : code);
    });
  }
};

/// BERT's basic tokenizer (Devlin et al. 2018, arXiv:1810.04805).
class BertNormalizer final : public Normalizer {
 public:
  BertNormalizer(bool clean, bool chinese, bool accents, bool lowercase)
      : clean_(clean), chinese_(chinese), accents_(accents), lowercase_(lowercase) {}
  void apply(NormalText& text) const override {
    if (clean_)
      rewrite(text, [](char32_t code, const auto& put) {
        if (unicode::class_of(code) & unicode::kSpace && code != 0x0B && code != 0x0C &&
            code != 0x85)
          put(U' ');
        else if (code != 0 && code != 0xFFFD && !unicode::is_bert_control(code))
          put(code);
      });
    if (chinese_ && !is_ascii(text.text))
      rewrite(text, [](char32_t code, const auto& put) {
        const bool chinese = is_chinese(code);
        if (chinese) put(U' ');
        put(code);
        if (chinese) put(U' ');
      });
    if (accents_ && !is_ascii(text.text)) {
      UnicodeForm(false, false).apply(text);
      rewrite(text, [](char32_t code, const auto& put) {
        if (!unicode::is_bert_accent(code)) put(code);
      });
    }
    if (lowercase_) Lowercase().apply(text);
  }

 private:
  static bool is_chinese(char32_t code) {
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B81F) ||
           (code >= 0x2B920 && code <= 0x2CEAF) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0x2F800 && code <= 0x2FA1F);
  }
  bool clean_, chinese_, accents_, lowercase_;
};

/// Bytes in their visible form.
class ByteLevelNormalizer final : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    Rewriter out(text);
    for (size_t at = 0; at < text.text.size(); ++at)
      out.put(byte_symbol(static_cast<uint8_t>(text.text[at])), at);
    out.finish();
  }
};

class PrecompiledNormalizer final : public Normalizer {
 public:
  explicit PrecompiledNormalizer(CharsMap map) : map_(std::move(map)) {}
  void apply(NormalText& text) const override {
    thread_local std::vector<Change> changes;
    if (map_.normalize(text.text, changes)) apply_changes(text, changes);
  }

 private:
  CharsMap map_;
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps)
      : steps_(std::move(steps)) {}
  void apply(NormalText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

std::unique_ptr<Normalizer> read_normalizer_sequence(const Json& section, const Where& where) {
  const Json& list = array_field(section, "normalizers", where);
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (size_t i = 0; i < list.size(); ++i)
    steps.push_back(read_normalizer(list[i], (where / "normalizers")[i]));
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const Json& section, const Where& where) {
  const std::string kind = type_of(section, where);
  if (kind == "Sequence") return read_normalizer_sequence(section, where);
  if (kind == "NFC") return std::make_unique<UnicodeForm>(true, false);
  if (kind == "NFD") return std::make_unique<UnicodeForm>(false, false);
  if (kind == "NFKC") return std::make_unique<UnicodeForm>(true, true);
  if (kind == "NFKD") return std::make_unique<UnicodeForm>(false, true);
  if (kind == "Lowercase") return std::make_unique<Lowercase>();
  if (kind == "Strip")
    return std::make_unique<Strip>(bool_field(section, "strip_left", where),
                                   bool_field(section, "strip_right", where));
  if (kind == "StripAccents") return std::make_unique<StripAccents>();
  if (kind == "Replace")
    return std::make_unique<Replace>(Pattern::read(section, where),
                                     string_field(section, "content", where));
  if (kind == "Prepend") return std::make_unique<Prepend>(string_field(section, "prepend", where));
  if (kind == "Nmt") return std::make_unique<Nmt>();
  if (kind == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (kind == "Precompiled")
    return std::make_unique<PrecompiledNormalizer>(CharsMap(
        string_field(section, "precompiled_charsmap", where), where / "precompiled_charsmap"));
  if (kind == "BertNormalizer") {
    const bool lowercase = bool_field(section, "lowercase", where);
    return std::make_unique<BertNormalizer>(bool_field(section, "clean_text", where),
                                            bool_field(section, "handle_chinese_chars", where),
                                            bool_field(section, "strip_accents", where, lowercase),
                                            lowercase);
  }
  unknown_kind(kind, "normalizer", where);
}

}  // namespace ocellus::tokenizer
