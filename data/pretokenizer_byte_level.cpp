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
          pieces.scratch.push_back({at, end});
          at = end;
        }
      }
      pieces.spans.swap(pieces.scratch);
    }
    if (visible_) make_visible(pieces);
  }

 private:
  static void add_prefix_spaces(Pieces& pieces) {
    PieceRewriter out(pieces, pieces.spans.size());
    for (Span& span : pieces.spans) {
      out.begin(span);
      if (!pieces.piece(span).starts_with(' ')) out.put(" ", span.begin);
      out.keep(span.begin, span.end);
      out.end(span);
    }
    out.finish();
  }

  static void make_visible(Pieces& pieces) {
    PieceRewriter out(pieces, pieces.text.size());
    for (Span& span : pieces.spans) {
      out.begin(span);
      for (size_t at = span.begin; at < span.end; ++at)
        out.put(byte_symbol(static_cast<uint8_t>(pieces.text[at])), at);
      out.end(span);
    }
    out.finish();
  }

  bool add_prefix_space_, use_regex_, visible_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex, bool visible) {
  return std::make_unique<ByteLevel>(add_prefix_space, use_regex, visible);
}

}  // namespace ocellus::tokenizer
