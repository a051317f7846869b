// Normalizers: what happens to a text before it is cut.
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/tokenizer_charsmap.h"
#include "data/tokenizer_fields.h"
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

/// Rewrites every character by `map(code, out)`, which appends what replaces it (or nothing).
template <class Map>
void rewrite(NormalText& text, Map&& map) {
  std::string out;
  out.reserve(text.text.size());
  for (size_t at = 0; at < text.text.size();) {
    const Char c = decode_at(text.text, at);
    const bool nothing_yet = out.empty();
    map(c.code, out);
    // A first character that vanishes moves the start of the text.
    if (nothing_yet && out.empty()) text.start_lost = true;
    at += c.size;
  }
  text.text = std::move(out);
}

/// The four Unicode normalization forms (UAX 15).
class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(int options) : options_(options) {}
  void apply(NormalText& text) const override {
    if (!is_ascii(text.text)) text.text = unicode_form(text.text, options_);
  }

  /// Characters that have no form stand for themselves between parts that are normalized.
  static std::string unicode_form(std::string_view text, int options) {
    std::string out;
    size_t covered = 0;
    for (size_t at = 0; at < text.size();) {
      const Char c = decode_at(text, at);
      if (c.code >= 0x80 && unicode::has_no_form(c.code)) {
        append_form(text.substr(covered, at - covered), options, out);
        out += text.substr(at, c.size);
        covered = at + c.size;
      }
      at += c.size;
    }
    append_form(text.substr(covered), options, out);
    return out;
  }

 private:
  static void append_form(std::string_view text, int options, std::string& out) {
    if (text.empty()) return;
    utf8proc_uint8_t* result = nullptr;
    const utf8proc_ssize_t size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                     static_cast<utf8proc_ssize_t>(text.size()), &result,
                     static_cast<utf8proc_option_t>(options));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, std::free);
    check<FormatError>(size >= 0, "tokenizer: a text of {} bytes cannot be normalized: {}",
                       text.size(), utf8proc_errmsg(size));
    out.append(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
  }
  int options_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    if (is_ascii(text.text)) {
      for (char& c : text.text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
      return;
    }
    rewrite(text, [](char32_t code, std::string& out) {
      unicode::append_utf8(out, unicode::to_lower(code));
      if (code == 0x130) unicode::append_utf8(out, 0x307);  // the only one that becomes two
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
    text.start_lost |= begin > 0;
    s = s.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

class StripAccents final : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    if (is_ascii(text.text)) return;
    rewrite(text, [](char32_t code, std::string& out) {
      if (!unicode::is_combining_mark(code)) unicode::append_utf8(out, code);
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
    if (found[0].match) {
      // What replaces several characters stands where the last of them was.
      const size_t first = found[0].end == 0 ? 0 : decode_at(text.text, 0).size;
      text.start_lost |= found[0].end > (content_.empty() ? 0 : first);
    }
    std::string out;
    out.reserve(text.text.size() + text.text.size() / 4);
    for (const Regex::Found& part : found) {
      if (part.match)
        out += content_;
      else
        out.append(text.text, part.begin, part.end - part.begin);
      check<FormatError>(out.size() <= text.limit,
                         "tokenizer: normalization makes the text longer than {} bytes",
                         text.limit);
    }
    text.text = std::move(out);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalText& text) const override {
    if (!text.text.empty()) text.text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

/// The cleaning of neural machine translation: controls vanish, odd blanks become blanks.
class Nmt final : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    rewrite(text, [](char32_t code, std::string& out) {
      const bool control = (code >= 0x01 && code <= 0x08) || code == 0x0B ||
                           (code >= 0x0E && code <= 0x1F) || code == 0x7F || code == 0x8F ||
                           code == 0x9F;
      if (control) return;
      const bool blank = code == 0x09 || code == 0x0A || code == 0x0C || code == 0x0D ||
                         code == 0x1680 || (code >= 0x200B && code <= 0x200F) || code == 0x2028 ||
                         code == 0x2029 || code == 0x2581 || code == 0xFEFF || code == 0xFFFD;
      unicode::append_utf8(out, blank ? U' ' : code);
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
      rewrite(text, [](char32_t code, std::string& out) {
        if (unicode::class_of(code) & unicode::kSpace && code != 0x0B && code != 0x0C &&
            code != 0x85)
          out += ' ';
        else if (code != 0 && code != 0xFFFD && !unicode::is_bert_control(code))
          unicode::append_utf8(out, code);
      });
    if (chinese_ && !is_ascii(text.text))
      rewrite(text, [](char32_t code, std::string& out) {
        const bool chinese = is_chinese(code);
        if (chinese) out += ' ';
        unicode::append_utf8(out, code);
        if (chinese) out += ' ';
      });
    if (accents_ && !is_ascii(text.text)) {
      text.text = UnicodeForm::unicode_form(text.text, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
      rewrite(text, [](char32_t code, std::string& out) {
        if (!unicode::is_bert_accent(code)) unicode::append_utf8(out, code);
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
  void apply(NormalText& text) const override { text.text = symbols_of_bytes(text.text); }
};

class PrecompiledNormalizer final : public Normalizer {
 public:
  explicit PrecompiledNormalizer(CharsMap map) : map_(std::move(map)) {}
  void apply(NormalText& text) const override {
    text.text = map_.normalize(text.text, text.start_lost);
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
  if (kind == "NFC") return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  if (kind == "NFD") return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  if (kind == "NFKC")
    return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  if (kind == "NFKD")
    return std::make_unique<UnicodeForm>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
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
