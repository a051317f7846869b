// From a conversation and its pictures to what the model sees and the loss counts.
#pragma once
#include <string>
#include <vector>

#include "data/image.h"
#include "vlm/chat_template.h"
#include "vlm/vlm.h"

namespace ocellus {

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
