#include "vlm/batches.h"

#include <algorithm>

#include "data/order.h"

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
    const DataRecipe* data;
  };
  const StageRecipe& stage;
  const ChatTemplate chat;
  const ImageProcessor processor;
  Ledger& ledger;
  std::vector<Entry> entries;
  std::unique_ptr<Mixture> mixture;
  std::unique_ptr<Loader<Batch>> loader;

  Impl(const Recipe& recipe, size_t index, const ChatTemplate& c, const ImageProcessor& p, Ledger& l)
      : stage(recipe.stage[index]), chat(c), processor(p), ledger(l) {
    std::vector<uint64_t> sizes;
    std::vector<double> weights;
    std::vector<std::string> names;
    for (const DataRecipe& data : recipe.data) {
      if (data.split != "train") continue;
      std::shared_ptr<const Source> source = open_data(data);
      if (!stage.sources.empty()) source = keep_sources(source, stage.sources);
      entries.push_back({source, &data});
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
        if (entry.data->on_bad == "fail") throw;
        ledger.refuse(entry.data->name, std::to_string(index), entry.source->where(index), error.what(),
                      entry.data->bad_cap);
        if (entry.data->on_bad == "quarantine") return;
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

Batches::Batches(const Recipe& recipe, size_t stage, const ChatTemplate& chat,
                 const ImageProcessor& processor, Ledger& ledger, int64_t first)
    : impl_(std::make_unique<Impl>(recipe, stage, chat, processor, ledger)) {
  LoaderOptions options;
  options.threads = static_cast<int>(recipe.loader.threads);
  options.first = first;
  options.max_items = recipe.loader.prefetch;
  options.max_bytes = static_cast<size_t>(recipe.loader.max_mb) << 20;
  impl_->loader = std::make_unique<Loader<Batch>>(
      [impl = impl_.get()](int64_t position) { return impl->make(position); },
      [](const Batch& batch) { return static_cast<size_t>(batch.tensors.pixels.bytes()); }, options);
}

Batches::~Batches() = default;
Batch Batches::next() { return impl_->loader->next(); }
double Batches::take_wait_seconds() { return impl_->loader->take_wait_seconds(); }
size_t Batches::buffered_bytes() const { return impl_->loader->buffered_bytes(); }

}  // namespace ocellus
