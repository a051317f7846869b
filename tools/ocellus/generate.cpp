// ocellus generate and ocellus chat: one answer, or a conversation in the terminal.
#include "vlm/generate.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "autograd/tape.h"
#include "engine/file.h"
#include "tools/ocellus/command.h"
#include "vlm/model_folder.h"

namespace ocellus {
namespace {

struct Arguments {
  std::string model, prompt, device = "auto", dtype = "f32";
  std::vector<std::string> images;
  int64_t threads = 0, seed = 0, max_new_tokens = 64, top_k = 0, beams = 1;
  double temperature = 0, top_p = 1, repetition_penalty = 1;
  bool json = false;
};

std::vector<Image> read_images(const std::vector<std::string>& files) {
  std::vector<Image> images;
  for (const std::string& file : files) images.push_back(decode_image(read_file(file, 1 << 30), file));
  return images;
}

// Answers the conversation so far; text is handed to `show` as it becomes complete.
std::string answer(LoadedVlm& loaded, const Conversation& conversation, const std::vector<Image>& images,
                   const Arguments& a, const std::function<void(const std::string&)>& show) {
  StopRecording stop;
  PreparedSample sample;
  sample.rendered = loaded.chat->render(conversation, true);
  sample.labels.assign(sample.rendered.ids.size(), -100);
  for (const Image& image : images) sample.images.push_back(loaded.processor.resized(image));
  const Batch batch = collate({sample}, *loaded.chat, loaded.processor);
  GenerateOptions options;
  options.max_new_tokens = a.max_new_tokens;
  options.temperature = a.temperature;
  options.top_k = a.top_k;
  options.top_p = a.top_p;
  options.repetition_penalty = a.repetition_penalty;
  options.seed = static_cast<uint64_t>(a.seed);
  options.stop_tokens = loaded.chat->stop_ids();
  options.banned_tokens = loaded.chat->banned_ids();
  StreamDecoder stream(loaded.chat->tokenizer());
  std::string text;
  auto emit = [&](const std::string& piece) {
    text += piece;
    if (show && !piece.empty()) show(piece);
  };
  options.on_tokens = [&](const std::vector<int64_t>& ids) {
    if (!loaded.chat->is_stop(ids[0])) emit(stream.push(static_cast<int32_t>(ids[0])));
    return true;
  };
  generate(loaded.model->language(), {loaded.model->embed(batch.tensors), batch.tensors.ids, Tensor()},
           options);
  emit(stream.finish());
  return text;
}

Message user_message(const std::string& text, size_t images) {
  Message message{"user", {}};
  for (size_t i = 0; i < images; ++i) message.parts.push_back({Part::Kind::kImage, ""});
  message.parts.push_back({Part::Kind::kText, text});
  return message;
}

LoadedVlm load(const Arguments& a) {
  choose_device(a.device);
  use_threads(a.threads);
  check<UsageError>(a.beams == 1, "generate: beam search is not built yet, --beams must be 1, got {}", a.beams);
  return load_model_folder(a.model, choose_dtype(a.dtype, {DType::kF32, DType::kF64}));
}

int run_generate(const Arguments& a) {
  LoadedVlm loaded = load(a);
  const std::vector<Image> images = read_images(a.images);
  Conversation conversation;
  conversation.where = "--prompt";
  conversation.messages.push_back(user_message(a.prompt, images.size()));
  const std::string text = answer(loaded, conversation, images, a, nullptr);
  if (a.json)
    fmt::print("{}\n", nlohmann::json({{"text", text}}).dump());
  else
    fmt::print("{}\n", text);
  return 0;
}

int run_chat(const Arguments& a) {
  LoadedVlm loaded = load(a);
  const std::vector<Image> images = read_images(a.images);
  Conversation conversation;
  conversation.where = "chat";
  fmt::print(stderr, "Type a question; an empty line or Ctrl-D ends.\n");
  std::string line;
  while (true) {
    fmt::print(stderr, "> ");
    if (!std::getline(std::cin, line) || line.empty()) break;
    conversation.messages.push_back(user_message(line, conversation.messages.empty() ? images.size() : 0));
    const std::string text = answer(loaded, conversation, images, a, [](const std::string& piece) {
      fmt::print("{}", piece);
      std::fflush(stdout);
    });
    fmt::print("\n");
    conversation.messages.push_back({"assistant", {{Part::Kind::kText, text}}});
  }
  return 0;
}

void shared_options(Options& options, const std::shared_ptr<Arguments>& a) {
  options.option("--model", a->model, "model folder", true);
  options.list("--image", a->images, "PNG or JPEG file, once per image");
  options.option("--max-new-tokens", a->max_new_tokens, "longest answer");
  options.option("--temperature", a->temperature, "0: greedy");
  options.option("--top-k", a->top_k, "draw from the k most likely tokens; 0: all");
  options.option("--top-p", a->top_p, "draw from the most likely tokens of total probability p");
  options.option("--repetition-penalty", a->repetition_penalty, "divide scores of tokens seen before");
  options.seed(a->seed);
  options.device(a->device);
  options.dtype(a->dtype, "f32, f64");
  options.threads(a->threads);
}

const RegisterCommand kGenerate({"generate", "one answer about images",
                                 "ocellus generate --model runs/quickstart/model --image a.png "
                                 "--prompt 'what shape is in the image?'",
                                 [](Options& options) -> std::function<int()> {
                                   auto a = std::make_shared<Arguments>();
                                   shared_options(options, a);
                                   options.option("--prompt", a->prompt, "what to ask", true);
                                   options.option("--beams", a->beams, "beams of beam search");
                                   options.json(a->json);
                                   return [a] { return run_generate(*a); };
                                 }});
const RegisterCommand kChat({"chat", "a conversation about images in the terminal",
                             "ocellus chat --model runs/quickstart/model --image a.png",
                             [](Options& options) -> std::function<int()> {
                               auto a = std::make_shared<Arguments>();
                               shared_options(options, a);
                               return [a] { return run_chat(*a); };
                             }});

}  // namespace
}  // namespace ocellus
