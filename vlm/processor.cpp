#include "vlm/processor.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/resize.h"
#include "engine/json.h"

namespace ocellus {

Image ImageProcessor::resized(const Image& image) const {
  Image rgb = image.channels == 3 ? image : to_rgb(image);
  const int side = static_cast<int>(size);
  return rgb.width == side && rgb.height == side ? rgb : resize(rgb, side, side, Filter::kBicubic);
}

void ImageProcessor::normalize(const Image& image, float* out) const {
  const int64_t plane = size * size;
  for (int c = 0; c < 3; ++c) {
    const float scale = 1.0f / (255.0f * deviation[c]), shift = -mean[c] / deviation[c];
    const uint8_t* from = image.pixels.data() + c;
    for (int64_t i = 0; i < plane; ++i) out[c * plane + i] = static_cast<float>(from[3 * i]) * scale + shift;
  }
}

std::string ImageProcessor::config_json() const {
  const nlohmann::json config = {{"image_processor_type", "SiglipImageProcessor"},
                                 {"do_convert_rgb", true},
                                 {"do_resize", true},
                                 {"size", {{"height", size}, {"width", size}}},
                                 {"resample", 3},
                                 {"do_rescale", true},
                                 {"rescale_factor", 1.0 / 255.0},
                                 {"do_normalize", true},
                                 {"image_mean", {mean[0], mean[1], mean[2]}},
                                 {"image_std", {deviation[0], deviation[1], deviation[2]}}};
  return config.dump(2) + "\n";
}

ImageProcessor ImageProcessor::load(const std::string& folder) {
  const std::string path = folder + "/preprocessor_config.json";
  const nlohmann::json config = load_json(path);
  ImageProcessor processor;
  try {
    check<FormatError>(config.at("size").at("height") == config.at("size").at("width"),
                       "{}: size must be square", path);
    check<FormatError>(config.value("resample", 3) == 3, "{}: resample must be 3 (bicubic), got {}", path,
                       config.value("resample", 3));
    processor.size = config.at("size").at("height").get<int64_t>();
    check<FormatError>(processor.size > 0 && processor.size <= 16384, "{}: size {} is not from 1 to 16384",
                       path, processor.size);
    for (int c = 0; c < 3; ++c) {
      processor.mean[c] = config.at("image_mean").at(c).get<float>();
      processor.deviation[c] = config.at("image_std").at(c).get<float>();
    }
  } catch (const nlohmann::json::exception& error) {
    fail<FormatError>("{}: {}", path, error.what());
  }
  return processor;
}

size_t PreparedSample::bytes() const {
  size_t total = rendered.ids.size() * 16;
  for (const Image& image : images) total += image.pixels.size();
  return total;
}

PreparedSample prepare_sample(const Conversation& conversation, const std::vector<Image>& images,
                              const ChatTemplate& chat, const ImageProcessor& processor,
                              const std::vector<std::string>& train_on) {
  PreparedSample sample;
  sample.rendered = chat.render(conversation, false);
  check<FormatError>(sample.rendered.image_slots.size() == images.size(),
                     "{}: {} image slots and {} images", conversation.where,
                     sample.rendered.image_slots.size(), images.size());
  sample.labels = labels_of(sample.rendered, train_on);
  if (!sample.labels.empty()) sample.labels[0] = -100;  // the first id is predicted by nothing
  sample.target_count =
      std::count_if(sample.labels.begin(), sample.labels.end(), [](int64_t l) { return l != -100; });
  check<FormatError>(sample.target_count > 0, "{}: no token is a target of the loss", conversation.where);
  for (const Image& image : images) sample.images.push_back(processor.resized(image));
  sample.id = conversation.id;
  sample.source = conversation.source;
  sample.where = conversation.where;
  return sample;
}

Batch collate(const std::vector<PreparedSample>& samples, const ChatTemplate& chat,
              const ImageProcessor& processor) {
  Batch batch;
  batch.samples = static_cast<int64_t>(samples.size());
  size_t longest = 0;
  int64_t image_tokens = 0;
  for (const PreparedSample& s : samples) {
    longest = std::max(longest, s.rendered.ids.size());
    batch.images += static_cast<int64_t>(s.images.size());
    for (const Span& span : s.rendered.spans)
      if (span.kind == Span::Kind::kImage) image_tokens += span.end - span.begin;
  }
  const auto width = static_cast<int64_t>(longest);
  std::vector<int64_t> ids(samples.size() * longest, chat.pad_id()), labels(ids.size(), -100), rows;
  rows.reserve(static_cast<size_t>(image_tokens));
  Tensor pixels;
  float* to = nullptr;
  if (batch.images) {
    pixels = Tensor::empty({batch.images, 3, processor.size, processor.size}, DType::kF32, kCpu, "pixels");
    to = pixels.mutable_data<float>("collate");
  }
  for (size_t b = 0; b < samples.size(); ++b) {
    const PreparedSample& s = samples[b];
    const int64_t base = static_cast<int64_t>(b) * width;
    std::copy(s.rendered.ids.begin(), s.rendered.ids.end(), ids.begin() + base);
    std::copy(s.labels.begin(), s.labels.end(), labels.begin() + base);
    for (const Span& span : s.rendered.spans)
      if (span.kind == Span::Kind::kImage)
        for (int64_t i = span.begin; i < span.end; ++i) rows.push_back(base + i);
    for (const Image& image : s.images) {
      processor.normalize(image, to);
      to += 3 * processor.size * processor.size;
    }
    batch.targets += s.target_count;
    batch.tokens += static_cast<int64_t>(s.rendered.ids.size());
    batch.sample_ids.push_back(s.source + "/" + s.id);
  }
  const Shape shape{batch.samples, width};
  batch.tensors.ids = Tensor::from(ids, shape);
  batch.tensors.labels = Tensor::from(labels, shape);
  batch.tensors.pixels = pixels;
  batch.tensors.image_rows = Tensor::from(rows, {static_cast<int64_t>(rows.size())});
  return batch;
}

}  // namespace ocellus
