// ocellus generate and ocellus chat: one answer, or a conversation in the terminal.
#include "vlm/generate.h"

#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "autograd/tape.h"
#include "engine/file.h"
#include "engine/json.h"
#include "tools/ocellus/command.h"
#include "vlm/hf_model.h"
#include "vlm/model_folder.h"

namespace ocellus {
namespace {

struct Arguments {
  std::string model, prompt, device = "auto", dtype = "f32", early_stopping = "false";
  std::vector<std::string> images, bad_words;
  int64_t threads = 0, seed = 0;
  GenerateOptions options = [] {
    GenerateOptions o;
    o.max_new_tokens = 64;
    return o;
  }();
  bool json = false;
};

// The options of the command line, with the words that they forbid in the tokens of `tokenizer`, at
// the start of a text and behind a blank.
GenerateOptions generate_options(const Arguments& a, const Tokenizer& tokenizer) {
  GenerateOptions o = a.options;
  o.seed = static_cast<uint64_t>(a.seed);
  for (const std::string& word : a.bad_words)
    for (const std::string& text : {word, " " + word}) {
      const auto ids = tokenizer.encode(text, false);
      o.bad_words.emplace_back(ids.begin(), ids.end());
    }
  const std::map<std::string, EarlyStopping> early = {{"true", EarlyStopping::kAllEnded},
                                                      {"false", EarlyStopping::kNoBetter},
                                                      {"never", EarlyStopping::kNever}};
  const auto found = early.find(a.early_stopping);
  check<UsageError>(found != early.end(),
                    "generate: --early-stopping must be true, false or never, got {}",
                    a.early_stopping);
  o.early_stopping = found->second;
  return o;
}

std::vector<Image> read_images(const std::vector<std::string>& files) {
  std::vector<Image> images;
  for (const std::string& file : files)
    images.push_back(decode_image(read_file(file, 1 << 30), file));
  return images;
}

using Show = std::function<void(const std::string&)>;

// Runs `generate` with what the chat stops at and bans; text is handed to `show` as it becomes
// complete.
std::string streamed(const ChatTemplate& chat, const Arguments& a, const Show& show,
                     const std::function<Tokens(const GenerateOptions&)>& generate) {
  GenerateOptions options = generate_options(a, chat.tokenizer());
  options.stop_tokens = chat.stop_ids();
  options.banned_tokens = chat.banned_ids();
  StreamDecoder stream(chat.tokenizer());
  std::string text;
  auto emit = [&](const std::string& piece) {
    text += piece;
    if (show && !piece.empty()) show(piece);
  };
  auto tell = [&](const Tokens& ids) {
    if (!chat.is_stop(ids[0])) emit(stream.push(static_cast<int32_t>(ids[0])));
    return true;
  };
  if (options.beams == 1) options.on_tokens = tell;
  const Tokens row = generate(options);
  if (options.beams > 1)
    for (int64_t id : row) tell({id});
  emit(stream.finish());
  return text;
}

// Answers the conversation so far.
std::string answer(LoadedVlm& loaded, const Conversation& conversation,
                   const std::vector<Image>& images, const Arguments& a, const Show& show) {
  StopRecording stop;
  PreparedSample sample;
  sample.rendered = loaded.chat->render(conversation, true);
  sample.labels.assign(sample.rendered.ids.size(), -100);
  for (const Image& image : images) sample.images.push_back(loaded.processor.resized(image));
  const Batch batch = collate({sample}, *loaded.chat, loaded.processor);
  return streamed(*loaded.chat, a, show, [&](const GenerateOptions& options) {
    return generate(loaded.model->language(),
                    {loaded.model->embed(batch.tensors), batch.tensors.ids, Tensor()}, options)[0];
  });
}

// The same by a language model without images.
std::string answer(HfModel& model, const ChatTemplate& chat, const Conversation& conversation,
                   const Arguments& a, const Show& show) {
  const std::vector<int32_t> ids = chat.render(conversation, true).ids;
  const auto length = static_cast<int64_t>(ids.size());
  HfInputs in;
  in.tensors["input_ids"] = Tensor::from(Tokens(ids.begin(), ids.end()), {1, length});
  return streamed(chat, a, show, [&](const GenerateOptions& options) {
    const Tokens all = model.generate(in, options).to_vector<int64_t>();
    return Tokens(all.begin() + length, all.end());
  });
}

Message user_message(const std::string& text, size_t images) {
  Message message{"user", {}};
  for (size_t i = 0; i < images; ++i) message.parts.push_back({Part::Kind::kImage, ""});
  message.parts.push_back({Part::Kind::kText, text});
  return message;
}

// The class of a language model without images, by config.json; empty for the models of chat.
std::string text_architecture(const std::string& folder) {
  const nlohmann::json config = load_json(folder + "/config.json");
  if (!config.is_object() || config.contains("text_config") || !config.contains("architectures"))
    return "";
  const nlohmann::json& list = config["architectures"];
  return list.is_array() && !list.empty() && list[0].is_string() ? list[0].get<std::string>() : "";
}

// Continues --prompt as it stands.
std::string continue_text(const Arguments& a, const std::string& architecture) {
  check<UsageError>(a.images.empty(), "generate: {} takes no images", architecture);
  const auto model =
      load_hf_model(a.model, architecture, choose_dtype(a.dtype, {DType::kF32, DType::kF64}));
  const Tokenizer tokenizer = Tokenizer::load(a.model);
  const auto encoded = tokenizer.encode(a.prompt);
  check<UsageError>(!encoded.empty(), "generate: --prompt has no tokens");
  const auto length = static_cast<int64_t>(encoded.size());
  HfInputs in;
  in.tensors["input_ids"] = Tensor::from(Tokens(encoded.begin(), encoded.end()), {1, length});
  GenerateOptions defaults, options = generate_options(a, tokenizer);
  for (const char* file : {"/generation_config.json", "/config.json"}) {
    if (!std::filesystem::exists(a.model + file)) continue;
    read_generate_options(load_json(a.model + file), a.model + file, defaults);
    if (!defaults.stop_tokens.empty()) break;
  }
  options.stop_tokens = defaults.stop_tokens;
  options.banned_tokens = defaults.banned_tokens;
  options.bad_words.insert(options.bad_words.end(), defaults.bad_words.begin(),
                           defaults.bad_words.end());
  const auto all = model->generate(in, options).to_vector<int64_t>();
  const int64_t before =
      model->decoder() ? length : 1;  // an encoder-decoder answers behind its start
  return tokenizer.decode(std::vector<int32_t>(all.begin() + before, all.end()));
}

LoadedVlm load(const Arguments& a) {
  return load_model_folder(a.model, choose_dtype(a.dtype, {DType::kF32, DType::kF64}));
}

std::string answer_prompt(const Arguments& a) {
  LoadedVlm loaded = load(a);
  const std::vector<Image> images = read_images(a.images);
  Conversation conversation;
  conversation.where = "--prompt";
  conversation.messages.push_back(user_message(a.prompt, images.size()));
  return answer(loaded, conversation, images, a, nullptr);
}

int run_generate(const Arguments& a) {
  const ParameterDevice placed(choose_device(a.device));
  use_threads(a.threads);
  check_options(a.options);
  const std::string architecture = text_architecture(a.model);
  const std::string text = architecture.empty() ? answer_prompt(a) : continue_text(a, architecture);
  if (a.json)
    fmt::print("{}\n", nlohmann::json({{"text", text}}).dump());
  else
    fmt::print("{}\n", text);
  return 0;
}

// Lines of the terminal and answers in turn.
int converse(size_t images,
             const std::function<std::string(const Conversation&, const Show&)>& answer_to) {
  Conversation conversation;
  conversation.where = "chat";
  fmt::print(stderr, "Type a question; an empty line or Ctrl-D ends.\n");
  std::string line;
  while (true) {
    fmt::print(stderr, "> ");
    if (!std::getline(std::cin, line) || line.empty()) break;
    conversation.messages.push_back(user_message(line, conversation.messages.empty() ? images : 0));
    const std::string text = answer_to(conversation, [](const std::string& piece) {
      fmt::print("{}", piece);
      std::fflush(stdout);
    });
    fmt::print("\n");
    conversation.messages.push_back({"assistant", {{Part::Kind::kText, text}}});
  }
  return 0;
}

int run_chat(const Arguments& a) {
  const ParameterDevice placed(choose_device(a.device));
  use_threads(a.threads);
  check_options(a.options);
  const std::string architecture = text_architecture(a.model);
  if (architecture.empty()) {
    LoadedVlm loaded = load(a);
    const std::vector<Image> images = read_images(a.images);
    return converse(images.size(), [&](const Conversation& conversation, const Show& show) {
      return answer(loaded, conversation, images, a, show);
    });
  }
  check<UsageError>(a.images.empty(), "chat: {} takes no images", architecture);
  const auto model =
      load_hf_model(a.model, architecture, choose_dtype(a.dtype, {DType::kF32, DType::kF64}));
  check<UsageError>(model->decoder(), "chat: {} is no causal language model", architecture);
  const ChatTemplate chat(a.model, Tokenizer::load(a.model), 1);
  return converse(0, [&](const Conversation& conversation, const Show& show) {
    return answer(*model, chat, conversation, a, show);
  });
}

void shared_options(Options& options, const std::shared_ptr<Arguments>& a) {
  options.option("--model", a->model, "model folder", true);
  options.list("--image", a->images, "PNG or JPEG file, once per image");
  GenerateOptions& o = a->options;
  options.option("--max-new-tokens", o.max_new_tokens, "longest answer");
  options.option("--min-new-tokens", o.min_new_tokens, "shortest answer");
  options.option("--temperature", o.temperature, "0: greedy");
  options.option("--top-k", o.top_k, "draw from the k most likely tokens; 0: all");
  options.option("--top-p", o.top_p, "draw from the most likely tokens of total probability p");
  options.option("--min-p", o.min_p,
                 "draw from tokens of at least this share of the highest probability");
  options.option(
      "--typical-p", o.typical_p,
      "draw from the tokens nearest to the expected information, of total probability p");
  options.option("--repetition-penalty", o.repetition_penalty,
                 "divide scores of tokens seen before");
  options.option("--no-repeat-ngram-size", o.no_repeat_ngram_size,
                 "never repeat so many tokens in a row; 0: off");
  options.list("--bad-word", a->bad_words, "text that is never produced, once per word");
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
                                   options.option("--beams", a->options.beams,
                                                  "beams of beam search");
                                   options.option("--length-penalty", a->options.length_penalty,
                                                  "beam scores are divided by length^penalty");
                                   options.option(
                                       "--early-stopping", a->early_stopping,
                                       "end of a beam search: true, false or never, as in "
                                       "generation_config.json");
                                   options.json(a->json);
                                   return [a] { return run_generate(*a); };
                                 }});
const RegisterCommand kChat({"chat", "a conversation in the terminal, about images or without",
                             "ocellus chat --model runs/quickstart/model --image a.png",
                             [](Options& options) -> std::function<int()> {
                               auto a = std::make_shared<Arguments>();
                               shared_options(options, a);
                               return [a] { return run_chat(*a); };
                             }});

}  // namespace
}  // namespace ocellus
