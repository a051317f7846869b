// From a conversation to what the model sees and the loss counts: one function for training, preview,
// evaluation and chat. Spans by role are known while the ids are built, never found again in the text.
#pragma once
#include <string>
#include <vector>

#include "data/image.h"
#include "data/messages.h"
#include "data/tokenizer.h"
#include "vlm/vlm.h"

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
};

/// ChatTemplate — messages → text and spans by role. The template is
///   <|ROLE|> content <|end|>   for each message, then <|assistant|> if an answer is asked for;
/// an image part becomes `image_tokens` image ids. Text is encoded without special tokens: a literal
/// "<image>" or "<|end|>" that a user typed stays text.
class ChatTemplate {
 public:
  ChatTemplate(const Tokenizer& tokenizer, int64_t image_tokens);
  /// Throws FormatError for an unknown role or part, naming the conversation's place.
  Rendered render(const Conversation& conversation, bool add_generation_prompt) const;
  /// The id that ends a turn, and that of an image slot and of padding.
  int32_t end_id() const { return end_; }
  int32_t image_id() const { return image_; }
  int32_t pad_id() const { return pad_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }

  /// The same template in Jinja, stored as chat_template.jinja of a model folder.
  static const char* jinja();

 private:
  int32_t special(const char* token) const;
  Tokenizer tokenizer_;
  int64_t image_tokens_;
  int32_t pad_, end_, image_;
};

/// Labels of a rendered conversation: the id itself where it is text or stop of a role in `train_on`,
/// else -100.
std::vector<int64_t> labels_of(const Rendered& rendered, const std::vector<std::string>& train_on);

/// ImageProcessor — RGB on white, resized to size × size (bicubic, Pillow-exact; untouched if it has that
/// size), then (x/255 - mean)/std per channel.
struct ImageProcessor {
  int64_t size = 64;
  float mean[3] = {0.5f, 0.5f, 0.5f}, deviation[3] = {0.5f, 0.5f, 0.5f};
  /// The picture as the model sees it, as bytes.
  Image resized(const Image& image) const;
  /// Writes [3, size, size] f32 to `out`.
  void normalize(const Image& resized_image, float* out) const;
  /// preprocessor_config.json.
  std::string config_json() const;
  static ImageProcessor load(const std::string& folder);
};

/// One sample, ready to be put into a batch.
struct PreparedSample {
  Rendered rendered;
  std::vector<int64_t> labels;
  std::vector<Image> images;  // resized
  std::string id, source, where;
  int64_t target_count = 0;   // labels that the shift keeps
  size_t bytes() const;
};

/// prepare_sample — parses nothing anew: conversation and decoded pictures to ids, labels, pixels.
/// FormatError where slots and images differ in number, or no label is a target.
PreparedSample prepare_sample(const Conversation& conversation, const std::vector<Image>& images,
                              const ChatTemplate& chat, const ImageProcessor& processor,
                              const std::vector<std::string>& train_on);

/// Batch — VlmBatch with what the trainer counts.
struct Batch {
  VlmBatch tensors;
  int64_t targets = 0, tokens = 0, samples = 0, images = 0;
  std::vector<std::string> sample_ids;
};

/// collate — right-padded to the longest; image rows by sample.
Batch collate(const std::vector<PreparedSample>& samples, const ChatTemplate& chat,
              const ImageProcessor& processor);

}  // namespace ocellus
