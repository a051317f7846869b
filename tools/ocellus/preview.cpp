// ocellus preview: what the model and the loss will see. Trains nothing.
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "tools/ocellus/command.h"
#include "vlm/batches.h"
#include "vlm/model_folder.h"
#include "vlm/stage.h"

namespace ocellus {
namespace {

struct PreviewArguments {
  std::string recipe, html;
  std::vector<std::string> settings;
  int64_t count = 4;
  bool json = false;
};

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else out += c;
  }
  return out;
}

std::string base64(const std::string& bytes) {
  static const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t v = 0;
    for (size_t k = 0; k < 3; ++k) v = v << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : digits[v >> (18 - 6 * k) & 63];
  }
  return out;
}

// What a token looks like: image slots shortened, control bytes visible.
std::string token_text(const ChatTemplate& chat, int32_t id) {
  if (chat.tokenizer().is_special(id)) return chat.tokenizer().id_to_token(id);
  const int32_t one[] = {id};
  return chat.tokenizer().decode(one, false);
}

nlohmann::json describe(const PreparedSample& sample, const ChatTemplate& chat) {
  nlohmann::json tokens = nlohmann::json::array();
  for (size_t i = 0; i < sample.rendered.ids.size(); ++i)
    tokens.push_back({{"id", sample.rendered.ids[i]},
                      {"text", token_text(chat, sample.rendered.ids[i])},
                      {"target", sample.labels[i] != -100}});
  return {{"where", sample.where},       {"source", sample.source},   {"text", sample.rendered.text},
          {"tokens", tokens},            {"targets", sample.target_count},
          {"images", sample.images.size()}, {"findings", chat.findings(sample.rendered)},
          {"visual_tokens", std::count(sample.rendered.ids.begin(), sample.rendered.ids.end(), chat.image_id())}};
}

void print_sample(const PreparedSample& sample, const ChatTemplate& chat, bool colour) {
  fmt::print("{} [{}]\n  text    {}\n  tokens  ", sample.where, sample.source, sample.rendered.text);
  int64_t slots = 0;
  for (size_t i = 0; i <= sample.rendered.ids.size(); ++i) {
    const bool image = i < sample.rendered.ids.size() && sample.rendered.ids[i] == chat.image_id();
    if (image) {
      ++slots;
      continue;
    }
    if (slots) fmt::print("<image>×{} ", slots);
    slots = 0;
    if (i == sample.rendered.ids.size()) break;
    const bool target = sample.labels[i] != -100;
    const std::string text = token_text(chat, sample.rendered.ids[i]);
    if (colour)
      fmt::print("{}{}\x1b[0m·", target ? "\x1b[32m" : "\x1b[90m", text);
    else
      fmt::print("{}{}{}·", target ? "[" : "", text, target ? "]" : "");
  }
  fmt::print("\n  {} tokens, {} of them targets, {} image(s)\n", sample.rendered.ids.size(), sample.target_count,
             sample.images.size());
  for (const std::string& finding : chat.findings(sample.rendered)) fmt::print("  warning: {}\n", finding);
}

std::string render_html(const std::vector<PreparedSample>& samples, const ChatTemplate& chat) {
  std::string out =
      "<!doctype html><meta charset=utf-8><title>preview</title><style>body{font:15px/1.6 system-ui;max-width:60em;"
      "margin:2em auto;padding:0 1em;color-scheme:light dark}.t{background:#3a53;border-radius:3px}.o{opacity:.6}"
      "img{width:128px;image-rendering:pixelated;float:right}section{clear:both;border-top:1px solid #8884;"
      "padding:1em 0}code{white-space:pre-wrap}</style><h1>What the model and the loss see</h1>"
      "<p>Green tokens are targets of the loss, grey ones are not.</p>";
  for (const PreparedSample& sample : samples) {
    out += "<section>";
    for (const Image& image : sample.images)
      out += "<img alt=\"\" src=\"data:image/png;base64," + base64(encode_png(image)) + "\">";
    out += "<p>" + escaped(sample.where) + " (" + escaped(sample.source) + ")</p><code>";
    for (size_t i = 0; i < sample.rendered.ids.size(); ++i)
      out += fmt::format("<span class={} title=\"id {}\">{}</span> ", sample.labels[i] != -100 ? "t" : "o",
                         sample.rendered.ids[i], escaped(token_text(chat, sample.rendered.ids[i])));
    out += fmt::format("</code><p>{} tokens, {} targets</p></section>", sample.rendered.ids.size(), sample.target_count);
  }
  return out;
}

int run(const PreviewArguments& a) {
  check<UsageError>(a.count > 0 && a.count <= 10000, "preview: -n must be from 1 to 10000, got {}", a.count);
  const Recipe recipe = load_recipe(a.recipe, a.settings);
  std::unique_ptr<ChatTemplate> chat;
  ImageProcessor processor;
  if (!recipe.model.from.empty()) {
    LoadedVlm loaded = load_model_folder(recipe.model.from);
    chat = std::move(loaded.chat);
    processor = loaded.processor;
  } else {
    const Tokenizer tokenizer =
        recipe.tokenizer.from.empty()
            ? Tokenizer::train_byte_bpe(training_text(recipe), static_cast<int>(recipe.tokenizer.vocab), kSpecialTokens)
            : Tokenizer::load(recipe.tokenizer.from);
    const ChatTemplate ids(tokenizer, 1);
    Vlm model(vlm_config_of(recipe, tokenizer.vocab_size(), ids.image_id(), ids.pad_id(), ids.end_id()));
    processor.size = recipe.model.vision.image_size;
    chat = std::make_unique<ChatTemplate>(tokenizer, model.tokens_per_image(processor.size));
  }
  size_t stage = 0;
  while (stage < recipe.stage.size() && recipe.stage[stage].skip) ++stage;
  check<UsageError>(stage < recipe.stage.size(), "preview: the recipe has no stage to run");
  const std::vector<PreparedSample> samples =
      preview_samples(recipe, stage, *chat, processor, a.count);
  if (!a.html.empty()) write_file_atomic(a.html, render_html(samples, *chat));
  if (a.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const PreparedSample& sample : samples) list.push_back(describe(sample, *chat));
    fmt::print("{}\n", nlohmann::json({{"stage", recipe.stage[stage].name}, {"samples", list}})
                           .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return 0;
  }
  const bool colour = isatty(STDOUT_FILENO);
  fmt::print("stage {}: the first samples in training order; {} are targets of the loss\n",
             recipe.stage[stage].name, colour ? "green tokens" : "[tokens] in brackets");
  for (const PreparedSample& sample : samples) print_sample(sample, *chat, colour);
  return 0;
}

const RegisterCommand kPreview({"preview", "show what the model and the loss will see; trains nothing",
                                "ocellus preview vlm/recipes/quickstart.toml -n 4 --html preview.html",
                                [](Options& options) -> std::function<int()> {
                                  auto a = std::make_shared<PreviewArguments>();
                                  options.positional("recipe", a->recipe, "recipe in TOML");
                                  options.list("--set", a->settings, "KEY=VALUE: change a key of the recipe");
                                  options.option("-n", a->count, "samples to show");
                                  options.option("--html", a->html, "write a page with the pictures");
                                  options.json(a->json);
                                  return [a] { return run(*a); };
                                }});

}  // namespace
}  // namespace ocellus
