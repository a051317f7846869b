#include "vlm/evaluate.h"

#include <algorithm>

#include "data/image.h"
#include "vlm/generate.h"

namespace ocellus {
namespace {

std::string trimmed(const std::string& text) {
  const char* blanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(blanks);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::string text_of(const Message& message) {
  std::string text;
  for (const Part& part : message.parts)
    if (part.kind == Part::Kind::kText) text += part.text;
  return text;
}

// Everything before the last assistant message.
Conversation prompt_of(const Conversation& conversation) {
  Conversation prompt = conversation;
  while (!prompt.messages.empty() && prompt.messages.back().role != "assistant")
    prompt.messages.pop_back();
  check<FormatError>(!prompt.messages.empty(), "{}: has no assistant message to compare with",
                     conversation.where);
  prompt.messages.pop_back();
  return prompt;
}

struct Question {
  int64_t index, ordinal;  // in the source, among the questions asked
  Rendered prompt;
};

}  // namespace

std::pair<std::string, std::string> question_and_answer(const Conversation& conversation) {
  std::pair<std::string, std::string> both;
  for (size_t i = conversation.messages.size(); i-- > 0;) {
    if (conversation.messages[i].role != "assistant") continue;
    both.second = text_of(conversation.messages[i]);
    if (i > 0) both.first = text_of(conversation.messages[i - 1]);
    break;
  }
  return both;
}

EvaluationResult evaluate(Vlm& model, const ChatTemplate& chat, const ImageProcessor& processor,
                          const Source& source, const EvaluateOptions& options) {
  StopRecording stop;
  TrainingMode mode(false);
  check<UsageError>(options.batch > 0, "evaluate: batch must be positive, got {}", options.batch);
  check<UsageError>(options.limit >= 0, "evaluate: limit must not be negative, got {}", options.limit);
  const int64_t total = options.limit > 0 ? std::min(options.limit, source.size()) : source.size();
  std::vector<Question> questions;
  for (int64_t i = 0; i < total; ++i) {
    const int64_t index = i * source.size() / total;
    questions.push_back({index, i, chat.render(prompt_of(source.conversation(index)), true)});
  }
  std::stable_sort(questions.begin(), questions.end(), [](const Question& a, const Question& b) {
    return std::pair(a.prompt.ids.size(), a.prompt.image_slots.size()) <
           std::pair(b.prompt.ids.size(), b.prompt.image_slots.size());
  });
  GenerateOptions generation;
  generation.max_new_tokens = options.max_new_tokens;
  generation.stop_tokens = chat.stop_ids();
  generation.banned_tokens = chat.banned_ids();
  generation.pad_token = chat.pad_id();

  EvaluationResult result;
  int64_t stopped = 0, done = 0;
  for (size_t begin = 0; begin < questions.size();) {
    if (options.interrupted && options.interrupted()) {
      result.complete = false;
      break;
    }
    size_t end = begin;
    while (end < questions.size() && end - begin < static_cast<size_t>(options.batch) &&
           questions[end].prompt.ids.size() == questions[begin].prompt.ids.size())
      ++end;
    std::vector<PreparedSample> samples;
    std::vector<DataSample> raw;
    for (size_t i = begin; i < end; ++i) {
      raw.push_back(source.sample(questions[i].index));
      PreparedSample sample;
      sample.rendered = questions[i].prompt;
      sample.labels.assign(sample.rendered.ids.size(), -100);
      for (const EncodedImage& image : raw.back().images)
        sample.images.push_back(processor.resized(decode_image(image.bytes, image.name)));
      check<FormatError>(sample.images.size() == sample.rendered.image_slots.size(),
                         "{}: {} image slots and {} images", raw.back().conversation.where,
                         sample.rendered.image_slots.size(), sample.images.size());
      samples.push_back(std::move(sample));
    }
    const Batch batch = collate(samples, chat, processor);
    const auto rows = generate(
        model.language(), {model.embed(batch.tensors), batch.tensors.ids, Tensor()}, generation);
    for (size_t i = begin; i < end; ++i) {
      const auto& row = rows[i - begin];
      const bool ended = !row.empty() && chat.is_stop(row.back());
      stopped += ended;
      std::vector<int32_t> ids(row.begin(), row.end() - (ended ? 1 : 0));
      const DataSample& sample = raw[i - begin];
      Answered answered;
      answered.source = sample.conversation.source;
      std::tie(answered.question, answered.expected) = question_and_answer(sample.conversation);
      answered.answer = trimmed(chat.tokenizer().decode(ids));
      answered.right = answered.answer == trimmed(answered.expected);
      for (Tally* tally : {&result.all, &result.by_source[answered.source]}) {
        ++tally->n;
        tally->right += answered.right;
      }
      // Examples for a report: spread over the questions, whatever their length.
      const int64_t at = questions[i].ordinal;
      if (options.keep > 0 && (at == 0 || at * options.keep / total != (at - 1) * options.keep / total)) {
        answered.images = samples[i - begin].images;
        result.answered.push_back(std::move(answered));
      }
    }
    done += static_cast<int64_t>(end - begin);
    if (options.progress) options.progress(done, total);
    begin = end;
  }
  result.stopped_share = done ? static_cast<double>(stopped) / static_cast<double>(done) : 0;
  return result;
}

}  // namespace ocellus
