#include "vlm/batches.h"

#include <algorithm>
#include <exception>
#include <optional>

#include "data/order.h"
#include "engine/kernels/upload.h"

namespace ocellus {

std::unique_ptr<Source> open_data(const DataRecipe& data) {
  DataSpec spec;
  spec.name = data.name;
  spec.kind = data.kind;
  spec.path = data.path;
  spec.sources = data.sources;
  spec.annotations = data.annotations;
  spec.fields.image = data.fields.image;
  spec.fields.question = data.fields.question;
  spec.fields.answer = data.fields.answer;
  spec.fields.source = data.fields.source;
  return open_source(spec);
}

std::vector<std::string> training_text(const Recipe& recipe) {
  // Enough to count words by; reading on would only delay the first step.
  constexpr int64_t kMostSamples = 4000;
  std::vector<std::string> texts;
  for (const DataRecipe& data : recipe.data) {
    if (data.split != "train") continue;
    DataRecipe kept = data;
    if (!recipe.tokenizer.sources.empty()) kept.sources = recipe.tokenizer.sources;
    const auto source = open_data(kept);
    const int64_t n = std::min(kMostSamples, source->size());
    for (int64_t i = 0; i < n; ++i) {
      const Conversation conversation = source->conversation(i * source->size() / n);
      for (const Message& message : conversation.messages)
        for (const Part& part : message.parts)
          if (part.kind == Part::Kind::kText) texts.push_back(part.text);
    }
  }
  return texts;
}

struct Batches::Impl {
  struct Entry {
    std::shared_ptr<const Source> source;
    std::unique_ptr<Ledger> ledger;
    std::string name;
  };
  const StageRecipe& stage;
  const ChatTemplate chat;
  const ImageProcessor processor;
  std::vector<Entry> entries;
  std::unique_ptr<Mixture> mixture;
  std::unique_ptr<Loader<Batch>> loader;
  double waited = 0;  // seconds already told by take_wait_seconds
  Device device;
  // The batch after the one that is computed with: its pixels are on their way to the device.
  struct Ahead {
    Batch batch;
    Arriving pixels;
    std::exception_ptr error;  // told when it is its turn
  };
  std::optional<Ahead> ahead;

  void look_ahead() {
    ahead.emplace();
    try {
      ahead->batch = loader->next();
      if (ahead->batch.tensors.pixels.defined())
        ahead->pixels = upload(ahead->batch.tensors.pixels, device);
    } catch (...) {
      ahead->error = std::current_exception();
    }
  }

  Impl(const Recipe& recipe, size_t index, const ChatTemplate& c, const ImageProcessor& p,
       const std::string& ledger_path)
      : stage(recipe.stage[index]), chat(c), processor(p) {
    std::vector<uint64_t> sizes;
    std::vector<double> weights;
    std::vector<std::string> names;
    for (const DataRecipe& data : recipe.data) {
      if (data.split != "train") continue;
      std::shared_ptr<const Source> source = open_data(data);
      if (!stage.sources.empty()) source = keep_sources(source, stage.sources);
      entries.push_back({source,
                         std::make_unique<Ledger>(ledger_path, on_bad_from_name(data.on_bad),
                                                  static_cast<uint64_t>(data.bad_cap)),
                         data.name});
      sizes.push_back(static_cast<uint64_t>(source->size()));
      weights.push_back(data.weight);
      names.push_back(data.name);
    }
    check<UsageError>(!entries.empty(), "data: the recipe has no data with split = \"train\"");
    const uint64_t seed = static_cast<uint64_t>(recipe.seed) * 0x9E3779B97F4A7C15ull + index;
    mixture = std::make_unique<Mixture>(seed, sizes, weights, names);
  }

  PreparedSample prepare(const Source& source, int64_t index) const {
    const DataSample sample = source.sample(index);
    std::vector<Image> images;
    for (const EncodedImage& image : sample.images)
      images.push_back(decode_image(image.bytes, image.name));
    return prepare_sample(sample.conversation, images, chat, processor, stage.train_on);
  }

  // The sample at a position; a bad one is refused by the policy of its source: the run fails, the
  // sample is left out, or another one, drawn for this position, takes its place.
  void add_sample(uint64_t position, std::vector<PreparedSample>& samples) const {
    constexpr uint64_t kMostTries = 100;
    Place place = mixture->at(position);
    for (uint64_t attempt = 1; attempt <= kMostTries; ++attempt) {
      const Entry& entry = entries[place.source];
      const auto index = static_cast<int64_t>(place.index);
      try {
        samples.push_back(prepare(*entry.source, index));
        return;
      } catch (const FormatError& error) {
        entry.ledger->refuse({entry.name, std::to_string(index), entry.source->where(index), error.what()});
        if (entry.ledger->policy() == OnBad::kQuarantine) return;
      }
      place = mixture->substitute(position, attempt);
    }
  }

  Batch make(int64_t position) const {
    std::vector<PreparedSample> samples;
    for (int64_t i = 0; i < stage.batch; ++i)
      add_sample(static_cast<uint64_t>(position * stage.batch + i), samples);
    check<FormatError>(!samples.empty(), "batch {} of stage {}: every sample was refused", position, stage.name);
    return collate(samples, chat, processor);
  }
};

std::vector<PreparedSample> preview_samples(const Recipe& recipe, size_t stage, const ChatTemplate& chat,
                                            const ImageProcessor& processor, int64_t count) {
  const Batches::Impl stream(recipe, stage, chat, processor, "");
  std::vector<PreparedSample> samples;
  for (int64_t i = 0; i < count; ++i) stream.add_sample(static_cast<uint64_t>(i), samples);
  return samples;
}

Batches::Batches(const Recipe& recipe, size_t stage, const ChatTemplate& chat,
                 const ImageProcessor& processor, const std::string& ledger_path, int64_t first,
                 Device device)
    : impl_(std::make_unique<Impl>(recipe, stage, chat, processor, ledger_path)) {
  impl_->device = device;
  LoaderOptions options;
  options.threads = static_cast<int>(recipe.loader.threads);
  options.start = static_cast<uint64_t>(first);
  options.max_items = static_cast<uint64_t>(recipe.loader.prefetch);
  options.max_bytes = static_cast<uint64_t>(recipe.loader.max_mb) << 20;
  impl_->loader = std::make_unique<Loader<Batch>>(
      [impl = impl_.get()](uint64_t position) { return impl->make(static_cast<int64_t>(position)); },
      [](const Batch& batch) { return static_cast<uint64_t>(batch.tensors.pixels.bytes()); }, options);
}

Batches::~Batches() = default;
Batch Batches::next() {
  if (impl_->device == kCpu) return impl_->loader->next();
  if (!impl_->ahead) impl_->look_ahead();
  if (impl_->ahead->error) std::rethrow_exception(impl_->ahead->error);
  Batch batch = std::move(impl_->ahead->batch);
  if (batch.tensors.pixels.defined())
    batch.tensors.pixels = arrived(std::move(impl_->ahead->pixels));
  impl_->look_ahead();
  return batch;
}
double Batches::take_wait_seconds() {
  const double total = impl_->loader->stats().wait_seconds;
  return total - std::exchange(impl_->waited, total);
}
uint64_t Batches::peak_bytes() const { return impl_->loader->stats().peak_bytes; }
uint64_t Batches::refused() const {
  uint64_t total = 0;
  for (const Impl::Entry& entry : impl_->entries) total += entry.ledger->refused();
  return total;
}

}  // namespace ocellus
