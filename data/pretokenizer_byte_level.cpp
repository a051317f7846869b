#include "data/pretokenizer.h"

namespace ocellus::tokenizer {
namespace {

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, bool visible)
      : add_prefix_space_(add_prefix_space), use_regex_(use_regex), visible_(visible) {}

  void apply(Pieces& pieces) const override {
    if (add_prefix_space_) add_prefix_spaces(pieces);
    if (use_regex_) {
      static const Scanner scan = known_pattern(kGpt2Pattern).scan;
      pieces.scratch.clear();
      for (const Span& span : pieces.spans) {
        const std::string_view text = pieces.text.substr(0, span.end);
        for (size_t at = span.begin; at < span.end;) {
          const size_t end = scan(text, at);
          pieces.scratch.push_back({at, end, span.at_start && at == span.begin});
          at = end;
        }
      }
      pieces.spans.swap(pieces.scratch);
    }
    if (visible_) make_visible(pieces);
  }

 private:
  static void add_prefix_spaces(Pieces& pieces) {
    std::string text;
    text.reserve(pieces.text.size() + pieces.spans.size());
    for (Span& span : pieces.spans) {
      const std::string_view piece = pieces.piece(span);
      const size_t begin = text.size();
      if (!piece.starts_with(' ')) text += ' ';
      text += piece;
      span = {begin, text.size(), span.at_start};
    }
    pieces.owned = std::move(text);
    pieces.text = pieces.owned;
  }

  static void make_visible(Pieces& pieces) {
    std::string text;
    text.reserve(pieces.text.size() * 2);
    for (Span& span : pieces.spans) {
      const size_t begin = text.size();
      for (char c : pieces.piece(span)) text += byte_symbol(static_cast<uint8_t>(c));
      span = {begin, text.size(), span.at_start};
    }
    pieces.owned = std::move(text);
    pieces.text = pieces.owned;
  }

  bool add_prefix_space_, use_regex_, visible_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex, bool visible) {
  return std::make_unique<ByteLevel>(add_prefix_space, use_regex, visible);
}

}  // namespace ocellus::tokenizer
