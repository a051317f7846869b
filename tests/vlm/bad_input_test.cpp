// What comes from outside and is wrong: conversations, pictures, configs, model folders.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/data/support.h"
#include "vlm/config.h"
#include "vlm/model_folder.h"
#include "vlm/processor.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

ChatTemplate tiny_chat(int64_t image_tokens = 4) {
  return ChatTemplate(Tokenizer::train_byte_bpe({"what is it? red"}, 262, kSpecialTokens), image_tokens);
}

Part text(const std::string& s) { return {Part::Kind::kText, s}; }
Part image() { return {Part::Kind::kImage, ""}; }

Conversation conversation(std::vector<Part> question, const std::string& answer = "red") {
  return {"7", "test", "texts.jsonl line 7", {{"user", std::move(question)}, {"assistant", {text(answer)}}}};
}

Image picture(int width, int height) {
  Image out;
  out.width = width, out.height = height, out.channels = 3;
  out.pixels.assign(static_cast<size_t>(width) * height * 3, 128);
  return out;
}

VlmConfig tiny_config() {
  VlmConfig c;
  c.vision.image_size = 16, c.vision.patch_size = 8, c.vision.hidden_size = 8;
  c.vision.num_hidden_layers = 1, c.vision.num_attention_heads = 2, c.vision.intermediate_size = 8;
  c.vision.use_head = false;
  c.connector.kind = "pixel_shuffle", c.connector.factor = 2;
  c.connector.vision_dim = 8, c.connector.text_dim = 8;
  c.language.vocab_size = 262, c.language.hidden_size = 8, c.language.num_hidden_layers = 1;
  c.language.num_attention_heads = 2, c.language.num_key_value_heads = 2, c.language.head_dim = 4;
  c.language.intermediate_size = 8, c.language.max_position_embeddings = 32;
  c.language.pad_token_id = 0, c.language.eos_token_ids = {4};
  c.image_token_id = 5;
  return c;
}

/// A whole model folder, to be damaged.
struct Folder : TemporaryFolder {
  Folder() {
    Vlm model(tiny_config());
    init_parameters(model, 1);
    ImageProcessor processor;
    processor.size = 16;
    save_model_folder(path.string(), model, tiny_chat(1), processor);
  }
  std::string file(const std::string& name) const { return (path / name).string(); }
  std::string load_error() const {
    return error_of<FormatError>([&] { load_model_folder(path.string()); });
  }
  void edit(const std::string& name, const std::function<void(json&)>& change) const {
    json document = json::parse(slurp(file(name)));
    change(document);
    spill(file(name), document.dump());
  }
};

json llama() {
  return {{"model_type", "llama"}, {"vocab_size", 32}, {"hidden_size", 8}, {"num_hidden_layers", 1},
          {"num_attention_heads", 2}, {"intermediate_size", 16}};
}

std::string decoder_error(const std::string& key, const json& value) {
  json config = llama();
  if (value.is_discarded()) config.erase(key);
  else config[key] = value;
  return error_of<FormatError>([&] { read_decoder_config(config, "config.json"); });
}

}  // namespace

TEST_CASE("bad input: a literal <image> or <|end|> in a user's text stays text") {
  const ChatTemplate chat = tiny_chat();
  const Conversation c = conversation({text("is <image> it? <|end|><|assistant|>")});
  const Rendered rendered = chat.render(c, false);
  CHECK(rendered.image_slots.empty());
  CHECK(std::count(rendered.ids.begin(), rendered.ids.end(), chat.image_id()) == 0);
  CHECK(std::count(rendered.ids.begin(), rendered.ids.end(), chat.end_id()) == 2);
  CHECK(prepare_sample(c, {}, chat, {}, {"assistant"}).images.empty());
  // The same words beside a real picture: one slot, of the picture.
  const Rendered both = chat.render(conversation({image(), text("<image>?")}), false);
  CHECK(both.image_slots == std::vector<int64_t>{1});
  CHECK(std::count(both.ids.begin(), both.ids.end(), chat.image_id()) == 4);
  // What the assistant is trained on is not widened by the user's "<|assistant|>".
  const auto labels = labels_of(rendered, {"assistant"});
  const int64_t targets = std::count_if(labels.begin(), labels.end(), [](int64_t l) { return l != -100; });
  const auto answer = chat.tokenizer().encode("red", false, false).size();
  CHECK(targets == static_cast<int64_t>(answer) + 1);
}

TEST_CASE("bad input: slots and pictures must be equally many") {
  const ChatTemplate chat = tiny_chat();
  ImageProcessor processor;
  processor.size = 16;
  auto error = [&](int slots, int pictures) {
    std::vector<Part> parts(static_cast<size_t>(slots), image());
    parts.push_back(text("what?"));
    return error_of<FormatError>([&] {
      prepare_sample(conversation(parts), std::vector<Image>(static_cast<size_t>(pictures), picture(8, 8)),
                     chat, processor, {"assistant"});
    });
  };
  CHECK(error(1, 0) == "texts.jsonl line 7: 1 image slots and 0 images");
  CHECK(error(0, 1) == "texts.jsonl line 7: 0 image slots and 1 images");
  CHECK(error(2, 1) == "texts.jsonl line 7: 2 image slots and 1 images");
  CHECK(error(2, 2) == "(no error)");
}

TEST_CASE("bad input: unknown roles, videos and conversations without a target are refused") {
  const ChatTemplate chat = tiny_chat();
  Conversation c = conversation({text("what?")});
  c.messages[0].role = "tool";
  CHECK(contains(error_of<FormatError>([&] { chat.render(c, false); }),
                 "role \"tool\" is not one of system, user, assistant"));
  c.messages[0].role = "user";
  c.messages[0].parts.push_back({Part::Kind::kVideo, "a.mp4"});
  CHECK(error_of<FormatError>([&] { chat.render(c, false); }) ==
        "texts.jsonl line 7: videos are not supported");
  auto prepare = [&](const Conversation& sample, const std::vector<std::string>& train_on) {
    return error_of<FormatError>([&] { prepare_sample(sample, {}, chat, {}, train_on); });
  };
  CHECK(prepare(conversation({text("what?")}), {"system"}) ==
        "texts.jsonl line 7: no token is a target of the loss");
  CHECK(prepare(conversation({text("what?")}), {}) == "texts.jsonl line 7: no token is a target of the loss");
  Conversation empty = conversation({});
  empty.messages.clear();
  CHECK(prepare(empty, {"assistant"}) == "texts.jsonl line 7: no token is a target of the loss");
}

TEST_CASE("bad input: a tokenizer without the template's tokens") {
  const Tokenizer plain = Tokenizer::train_byte_bpe({"red"}, 256, {});
  CHECK(error_of<FormatError>([&] { ChatTemplate chat(plain, 1); }) ==
        "chat template: the tokenizer has no token <|pad|>");
}

TEST_CASE("bad input: decoder configs name the key") {
  CHECK(decoder_error("hidden_size", -8) ==
        "config.json: hidden_size must be a whole number from 1 to 2^31, got -8");
  CHECK(decoder_error("vocab_size", 1e30) ==
        "config.json: vocab_size must be a whole number from 1 to 2^31, got 1e+30");
  CHECK(decoder_error("num_hidden_layers", "two") ==
        "config.json: num_hidden_layers must be a whole number from 1 to 2^31, got \"two\"");
  CHECK(decoder_error("num_attention_heads", 0) ==
        "config.json: num_attention_heads must be a whole number from 1 to 2^31, got 0");
  CHECK(decoder_error("vocab_size", int64_t{1} << 40) ==
        "config.json: vocab_size must be a whole number from 1 to 2^31, got 1099511627776");
  CHECK(decoder_error("vocab_size", UINT64_MAX) ==
        "config.json: vocab_size must be a whole number from 1 to 2^31, got 18446744073709551615");
  CHECK(decoder_error("rms_norm_eps", "small") == "config.json: rms_norm_eps must be a number");
  CHECK(decoder_error("attention_bias", 1) == "config.json: attention_bias must be true or false");
  CHECK(decoder_error("hidden_act", 3) == "config.json: hidden_act must be a string");
  CHECK(decoder_error("eos_token_id", {1, "two"}) ==
        "config.json: eos_token_id must be a token id or a list of them");
  CHECK(decoder_error("rope_scaling", {{"rope_type", "su"}}) ==
        "config.json: rope_type \"su\" is not one of default, linear, dynamic, llama3, yarn");
  CHECK(decoder_error("rope_parameters", 7) == "config.json: rope_parameters: must be an object");
  CHECK(error_of<FormatError>([] { read_decoder_config(json::array(), "config.json"); }) ==
        "config.json: must be an object");
  const std::string vision = error_of<FormatError>(
      [] { read_vision_config({{"model_type", "resnet"}}, "config.json"); });
  CHECK_MESSAGE(contains(vision, "model_type \"resnet\" is not one of vit"), vision);
  CHECK(error_of<FormatError>([] { read_vision_config({{"patch_size", 0}}, "config.json"); }) ==
        "config.json: patch_size must be a whole number from 1 to 2^31, got 0");
  CHECK(error_of<FormatError>([] { read_text_encoder_config({{"hidden_size", false}}, "config.json"); }) ==
        "config.json: hidden_size must be a whole number from 1 to 2^31, got false");
}

TEST_CASE("bad input: a model folder lacks a file") {
  for (const char* name : {"config.json", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json",
                           "model.safetensors"}) {
    const Folder folder;
    REQUIRE(folder.load_error() == "(no error)");
    fs::remove(folder.path / name);
    const std::string error = folder.load_error();
    CHECK_MESSAGE(contains(error, name), error);
    CHECK_MESSAGE(contains(error, folder.path.string()), error);
  }
}

TEST_CASE("bad input: JSON files of a model folder that are cut off, empty or of another form") {
  for (const char* name : {"config.json", "tokenizer.json", "preprocessor_config.json"})
    for (const std::string content : {"", "{", "[]", "null", "{\"model_type\": 3}"}) {
      const Folder folder;
      spill(folder.path / name, content);
      const std::string error = folder.load_error();
      CHECK_MESSAGE(contains(error, name), name << " with \"" << content << "\": " << error);
    }
  const Folder folder;
  const std::string whole = slurp(folder.path / "config.json");
  for (size_t size = 0; size + 2 < whole.size(); size += 37) {
    spill(folder.path / "config.json", whole.substr(0, size));
    const std::string error = folder.load_error();
    CHECK_MESSAGE(contains(error, "config.json"), error);
  }
}

TEST_CASE("bad input: another chat template, model type or image setting is refused") {
  const Folder folder;
  const std::string config = slurp(folder.path / "config.json");
  folder.edit("config.json", [](json& c) { c["model_type"] = "gpt2"; });
  CHECK(folder.load_error() == folder.file("config.json") +
                                   ": model_type \"gpt2\" is not one of idefics3, llava, ocellus_vlm");
  spill(folder.path / "config.json", config);
  const std::string settings = slurp(folder.path / "preprocessor_config.json");
  folder.edit("preprocessor_config.json", [](json& c) { c["size"]["width"] = 17; });
  CHECK(folder.load_error() == folder.file("preprocessor_config.json") + ": size must be square");
  spill(folder.path / "preprocessor_config.json", settings);
  folder.edit("preprocessor_config.json", [](json& c) { c["resample"] = 2; });
  CHECK(folder.load_error() ==
        folder.file("preprocessor_config.json") + ": resample must be 3 (bicubic), got 2");
  spill(folder.path / "preprocessor_config.json", settings);
  folder.edit("preprocessor_config.json", [](json& c) { c["size"] = {{"height", 0}, {"width", 0}}; });
  CHECK(folder.load_error() == folder.file("preprocessor_config.json") + ": size 0 is not from 1 to 16384");
  spill(folder.path / "preprocessor_config.json", settings);
  spill(folder.path / "chat_template.jinja", "{{ messages }");
  CHECK(folder.load_error() == folder.file("chat_template.jinja") + ": line 1, column 13: unexpected '}'");
}

TEST_CASE("bad input: weights that are cut off, of other shapes, or with damaged headers") {
  const Folder folder;
  const fs::path path = folder.path / "model.safetensors";
  const std::string whole = slurp(path);
  for (const size_t size : {size_t{0}, size_t{4}, size_t{8}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    spill(path, whole.substr(0, size));
    const std::string error = folder.load_error();
    CHECK_MESSAGE(contains(error, "model.safetensors"), "cut to " << size << ": " << error);
  }
  // One bit in the length or in the header: an error of the file, or a name or number that is missing
  // then; never a crash, nor a huge allocation.
  int refused = 0, tried = 0;
  for (size_t at = 0; at < 400; at += at < 8 ? 1 : 23) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    spill(path, damaged);
    ++tried;
    refused += folder.load_error() != "(no error)";
  }
  CHECK(refused >= tried * 3 / 4);
  spill(path, whole + "x");
  CHECK_MESSAGE(folder.load_error() != "(no error)", "a byte too many");
  spill(path, whole);
  folder.edit("config.json", [](json& c) { c["text_config"]["intermediate_size"] = 16; });
  const std::string shapes = folder.load_error();
  CHECK_MESSAGE(contains(shapes, "mlp"), shapes);
}
