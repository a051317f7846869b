// From a conversation to ids: the one function messages → text and spans by role that training,
// preview, evaluation and chat share. The text is made by the model's own Jinja template; which of
// it came from which message is known from the rendering, never found again in the text.
#pragma once
#include <string>
#include <vector>

#include "data/jinja/chat.h"
#include "data/messages.h"
#include "data/tokenizer.h"

namespace ocellus {

/// The special tokens of our own template, in order of their ids.
extern const std::vector<std::string> kSpecialTokens;

/// A run of ids [begin, end) that belongs to one role.
struct Span {
  enum class Kind : uint8_t { kMarkup, kText, kImage, kStop };
  int64_t begin, end;
  std::string role;
  Kind kind;
};

/// Rendered — a conversation as text and as ids, with spans that cover the ids without a gap.
struct Rendered {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<Span> spans;
  std::vector<int64_t> image_slots;  // first id of each image
  std::vector<int32_t> turn_stops;   // of each assistant's turn the id that ends it; -1: none
  int64_t unmarked_calls = 0;        // turns that call tools, by a template without {% generation %}
};

/// ChatTemplate — messages → text and spans by role. Our own template is
///   <|ROLE|> content <|end|>   for each message, then <|assistant|> if an answer is asked for;
/// a model folder has its own. Each image place of the text becomes `image_tokens` image ids. What
/// a message says is never markup: a literal "<image>" or "<|end|>" that a user typed stays text.
///
/// A token belongs to a message's text if it shares a byte with it. A special token that ends the
/// text (blanks may come before it) is the turn's stop. A template with {% generation %} says
/// itself what is generated: every token that shares a byte with such a block, as `transformers`
/// has it.
class ChatTemplate {
 public:
  /// Our own template.
  ChatTemplate(const Tokenizer& tokenizer, int64_t image_tokens);
  /// The template of a model folder; FormatError naming file and key for what is missing in it.
  ChatTemplate(const std::string& folder, const Tokenizer& tokenizer, int64_t image_tokens);

  /// Throws FormatError for an unknown role or part, or what the template refuses, naming the
  /// conversation's place.
  Rendered render(const Conversation& conversation, bool add_generation_prompt) const;

  /// Sentences about what is suspicious: a doubled begin-of-text token, turns of the assistant that
  /// no stop token ends (a model trained on them never stops).
  std::vector<std::string> findings(const Rendered& rendered) const;

  /// The id that ends a turn, those of an image place (-1: none) and of padding; all ids that stop
  /// generation.
  int32_t end_id() const { return end_; }
  int32_t image_id() const { return image_; }
  int32_t pad_id() const { return pad_; }
  const std::vector<int64_t>& stop_ids() const { return stops_; }
  bool is_stop(int64_t id) const;
  /// Ids that no answer may contain: image places and padding (unless that is the stop).
  std::vector<int64_t> banned_ids() const;
  /// The same template with another number of ids for an image.
  ChatTemplate with_image_tokens(int64_t count) const;
  const Tokenizer& tokenizer() const { return tokenizer_; }
  /// The template in Jinja, stored as chat_template.jinja of a model folder.
  const std::string& jinja() const { return file_.body.source(); }
  /// tokenizer_config.json of the folder that it was read from; empty for our own template.
  const std::string& tokenizer_config() const { return tokenizer_config_; }
  /// generation_config.json of that folder; empty if it has none.
  const std::string& generation_config() const { return generation_config_; }

 private:
  int32_t special(const std::string& token) const;
  void find_stops(const std::string& folder);
  void choose_content_form();
  jinja::String render_text(const Conversation& conversation, bool add_generation_prompt) const;

  Tokenizer tokenizer_;
  int64_t image_tokens_;
  jinja::ChatTemplateFile file_;
  std::string tokenizer_config_, generation_config_;
  int32_t pad_ = -1, end_ = -1, image_ = -1, begin_ = -1;
  std::vector<int64_t> stops_;
  bool content_as_parts_ = false;  // the template wants [{"type": "text", …}] where a text is alone
};

/// Labels of a rendered conversation: the id itself where it is text or stop of a role in
/// `train_on`, else -100.
std::vector<int64_t> labels_of(const Rendered& rendered, const std::vector<std::string>& train_on);

}  // namespace ocellus
