// Decoders: token strings back to text.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/tokenizer_fields.h"
#include "data/tokenizer_regex.h"
#include "data/tokenizer_sections.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty() || text.find(from) == std::string::npos) return;
  std::string out;
  size_t covered = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, covered)) {
    out.append(text, covered, at - covered).append(to);
    covered = at + from.size();
  }
  out.append(text, covered);
  text = std::move(out);
}

/// What English tokenizers put a blank before is joined again.
void clean_up(std::string& text) {
  constexpr std::pair<std::string_view, std::string_view> kJoined[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kJoined) replace_all(text, from, to);
}

/// All tokens to bytes, and those to one text; a token that is not made of byte symbols stands for
/// its own UTF-8.
class ByteLevelDecoder final : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) bytes += bytes_of_symbols(token).value_or(token);
    tokens.assign(1, unicode::replace_invalid_utf8(bytes));
  }
};

/// The sign for a blank becomes a blank, in the first token nothing.
class MetaspaceDecoder final : public TokenDecoder {
 public:
  MetaspaceDecoder(std::string replacement, bool prepended)
      : replacement_(std::move(replacement)), prepended_(prepended) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], replacement_, i == 0 && prepended_ ? "" : " ");
  }

 private:
  std::string replacement_;
  bool prepended_;
};

class WordPieceDecoder final : public TokenDecoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0 && tokens[i].starts_with(prefix_))
        tokens[i].erase(0, prefix_.size());
      else if (i > 0)
        tokens[i].insert(0, 1, ' ');
      if (cleanup_) clean_up(tokens[i]);
    }
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

/// The end-of-word suffix becomes a blank, in the last token nothing.
class BpeDecoder final : public TokenDecoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

/// A run of tokens <0x00> to <0xFF> becomes its text if it is UTF-8, else one U+FFFD a byte.
class ByteFallbackDecoder final : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (unicode::is_valid_utf8(run))
        out.push_back(run);
      else
        out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const int byte = byte_of(token); byte >= 0) {
        run += static_cast<char>(byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }

 private:
  static int digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  }
  static int byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    if (token[3] == '+') return digit(token[4]);  // a sign is read as well
    const int high = digit(token[3]), low = digit(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
  }
};

class FuseDecoder final : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string text;
    for (const std::string& token : tokens) text += token;
    tokens.assign(1, std::move(text));
  }
};

/// Takes at most `start` copies of a character from the front of each token, `stop` from its end.
class StripDecoder final : public TokenDecoder {
 public:
  StripDecoder(std::string content, size_t start, size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      for (size_t n = 0; n < start_ && token.compare(begin, content_.size(), content_) == 0; ++n)
        begin += content_.size();
      for (size_t n = 0; n < stop_ && end >= begin + content_.size() &&
                         token.compare(end - content_.size(), content_.size(), content_) == 0;
           ++n)
        end -= content_.size();
      token = token.substr(begin, end - begin);
    }
  }

 private:
  std::string content_;
  size_t start_, stop_;
};

class ReplaceDecoder final : public TokenDecoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<Regex::Found> found;
    for (std::string& token : tokens) {
      pattern_.find_all(token, found);
      std::string out;
      for (const Regex::Found& part : found) {
        if (part.match)
          out += content_;
        else
          out.append(token, part.begin, part.end - part.begin);
        check<FormatError>(out.size() <= kLongest,
                           "tokenizer: decoding makes a text longer than {} bytes", kLongest);
      }
      token = std::move(out);
    }
  }

 private:
  static constexpr size_t kLongest = size_t{1} << 26;  // steps that double a text must end
  Pattern pattern_;
  std::string content_;
};

/// Connectionist temporal classification: repeated tokens count once, padding vanishes.
class CtcDecoder final : public TokenDecoder {
 public:
  CtcDecoder(std::string pad, std::string delimiter, bool cleanup)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  void apply(std::vector<std::string>& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      replace_all(token, pad_, "");
      if (!cleanup_) continue;
      clean_up(token);
      replace_all(token, delimiter_, " ");
    }
    std::erase(tokens, "");
  }

 private:
  std::string pad_, delimiter_;
  bool cleanup_;
};

class DecoderSequence final : public TokenDecoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<TokenDecoder>> steps)
      : steps_(std::move(steps)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps_) step->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<TokenDecoder>> steps_;
};

std::string one_char(const Json& section, const char* key, const Where& where) {
  std::string out;
  unicode::append_utf8(out, char_field(section, key, where));
  return out;
}

std::unique_ptr<TokenDecoder> read_decoder_sequence(const Json& section, const Where& where) {
  const Json& list = array_field(section, "decoders", where);
  std::vector<std::unique_ptr<TokenDecoder>> steps;
  for (size_t i = 0; i < list.size(); ++i)
    steps.push_back(read_decoder(list[i], (where / "decoders")[i]));
  return std::make_unique<DecoderSequence>(std::move(steps));
}

}  // namespace

std::unique_ptr<TokenDecoder> read_decoder(const Json& section, const Where& where) {
  const std::string kind = type_of(section, where);
  if (kind == "Sequence") return read_decoder_sequence(section, where);
  if (kind == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (kind == "Metaspace")
    return std::make_unique<MetaspaceDecoder>(one_char(section, "replacement", where),
                                              prepend_scheme(section, where) != "never");
  if (kind == "WordPiece")
    return std::make_unique<WordPieceDecoder>(string_field(section, "prefix", where),
                                              bool_field(section, "cleanup", where));
  if (kind == "BPEDecoder")
    return std::make_unique<BpeDecoder>(string_field(section, "suffix", where));
  if (kind == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (kind == "Fuse") return std::make_unique<FuseDecoder>();
  if (kind == "Strip")
    return std::make_unique<StripDecoder>(
        one_char(section, "content", where),
        static_cast<size_t>(int_field(section, "start", where, 0, INT64_MAX)),
        static_cast<size_t>(int_field(section, "stop", where, 0, INT64_MAX)));
  if (kind == "Replace")
    return std::make_unique<ReplaceDecoder>(Pattern::read(section, where),
                                            string_field(section, "content", where));
  if (kind == "CTC")
    return std::make_unique<CtcDecoder>(string_field(section, "pad_token", where),
                                        string_field(section, "word_delimiter_token", where),
                                        bool_field(section, "cleanup", where));
  unknown_kind(kind, "decoder", where);
}

}  // namespace ocellus::tokenizer
