// A whole model: its config as a file and back, its folder, embedding, generation in other types.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "autograd/tape.h"
#include "tests/data/support.h"
#include "vlm/evaluate.h"
#include "vlm/generate.h"
#include "vlm/model_folder.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

VlmConfig tiny_config(const std::string& connector = "pixel_shuffle",
                      const std::string& tower = "siglip_vision_model") {
  VlmConfig c;
  c.vision.model_type = tower;
  c.vision.image_size = 16, c.vision.patch_size = 8, c.vision.hidden_size = 8;
  c.vision.num_hidden_layers = 1, c.vision.num_attention_heads = 2, c.vision.intermediate_size = 8;
  c.vision.use_head = false;
  c.connector.kind = connector, c.connector.factor = 2;
  c.connector.vision_dim = 8, c.connector.text_dim = 8;
  c.language.vocab_size = 262, c.language.hidden_size = 8, c.language.num_hidden_layers = 1;
  c.language.num_attention_heads = 2, c.language.num_key_value_heads = 1, c.language.head_dim = 4;
  c.language.intermediate_size = 8, c.language.max_position_embeddings = 32;
  c.language.pad_token_id = 0, c.language.eos_token_ids = {4};
  c.image_token_id = 5;
  return c;
}

VlmBatch text_batch() {
  VlmBatch batch;
  batch.ids = Tensor::from(std::vector<int64_t>{7, 5, 8, 9}, {1, 4});
  return batch;
}

}  // namespace

TEST_CASE("vlm: every connector and tower survives its model folder, with the same logits") {
  StopRecording stop;
  for (const char* kind : {"pixel_shuffle", "linear", "mlp"})
    for (const char* tower : {"siglip_vision_model", "vit"}) {
      const TemporaryFolder folder;
      const std::string where = folder.path.string();
      const ChatTemplate chat(Tokenizer::train_byte_bpe({"what is it? red"}, 262, kSpecialTokens),
                              1);
      Vlm model(tiny_config(kind, tower));
      init_parameters(model, 1);
      ImageProcessor processor;
      processor.size = 16;
      save_model_folder(where, model, chat, processor);
      const LoadedVlm loaded = load_model_folder(where);
      const int64_t tokens = model.tokens_per_image(16);
      CHECK(tokens == (std::string(kind) == "pixel_shuffle" ? 1 : 4));
      CHECK(loaded.model->tokens_per_image(16) == tokens);
      VlmBatch batch = text_batch();
      batch.ids = Tensor::from(std::vector<int64_t>{7, 5, 5, 5, 5, 8}, {1, 6});
      batch.pixels = Tensor::full({1, 3, 16, 16}, 0.25, DType::kF32);
      std::vector<int64_t> rows;
      for (int64_t i = 0; i < tokens; ++i) rows.push_back(1 + i);
      batch.image_rows = Tensor::from(rows, {tokens});
      CHECK_MESSAGE(model.hidden(batch).value().to_vector<float>() ==
                        loaded.model->hidden(batch).value().to_vector<float>(),
                    kind << " on " << tower);
    }
}

TEST_CASE("vlm: image slots without images, and images without slots, are refused") {
  Vlm model(tiny_config());
  init_parameters(model, 1);
  VlmBatch batch = text_batch();
  batch.image_rows = Tensor::from(std::vector<int64_t>{1}, {1});
  CHECK(error_of<ShapeError>([&] { model.embed(batch); }) ==
        "vlm: no images are given, the text has 1 slots for image tokens");
  batch.pixels = Tensor::zeros({2, 3, 16, 16}, DType::kF32);
  CHECK(error_of<ShapeError>([&] { model.embed(batch); }) ==
        "vlm: 2 images give 2 image tokens, the text has 1 slots for them");
  CHECK(error_of<ShapeError>([&] { model.embed(text_batch()); }) == "(no error)");
}

TEST_CASE("vlm: a model in f64 generates with a cache in f64") {
  ParameterDType f64(DType::kF64);
  auto model = std::make_unique<Vlm>(tiny_config());
  init_parameters(*model, 1);
  const auto generated = [&] {
    GenerateOptions options;
    options.max_new_tokens = 3;
    const VlmBatch batch = text_batch();
    StopRecording stop;
    return generate(model->language(), {model->embed(batch), batch.ids, Tensor()}, options);
  };
  const auto inside = generated();
  CHECK(inside[0].size() == 3);
  ParameterDType f32(DType::kF32);  // as in a program that loaded the model and went on
  CHECK(generated() == inside);
  CHECK(model->language().make_cache(1, 4).keys(0).dtype() == DType::kF64);
}

TEST_CASE("config: what a vision config says is written and read back") {
  for (const char* type : {"vit", "siglip_vision_model"}) {
    VisionConfig c = tiny_config("linear", type).vision;
    c.qkv_bias = std::string(type) != "vit";
    c.use_head = true;
    c.pooler_size = std::string(type) == "vit" ? 12 : 8;
    c.pooler_act = std::string(type) == "vit" ? "relu" : "tanh";
    c.hidden_act = "gelu";
    c.layer_norm_eps = 1e-5;
    c.initializer_range = 0.03;
    const VisionConfig back = read_vision_config(to_json(c), "test");
    CHECK(to_json(back) == to_json(c));
    CHECK(back.model_type == type);
    CHECK(back.qkv_bias == c.qkv_bias);
    CHECK(back.use_head == c.use_head);
    CHECK(back.pooler_size == c.pooler_size);
    CHECK(back.pooler_act == c.pooler_act);
    CHECK(back.num_channels == c.num_channels);
    CHECK(back.intermediate_size == c.intermediate_size);
  }
  for (const char* type : {"dinov2", "dinov2_with_registers", "clip_vision_model"}) {
    const nlohmann::json config = {{"model_type", type},           {"hidden_size", 24},
                                   {"num_attention_heads", 4},     {"num_hidden_layers", 1},
                                   {"mlp_ratio", 3},               {"use_swiglu_ffn", true},
                                   {"drop_path_rate", 0.25},       {"layerscale_value", 0.1},
                                   {"num_register_tokens", 2},     {"use_mask_token", type[6] != 0},
                                   {"projection_dim", 7},          {"image_size", 28}};
    const VisionConfig c = read_vision_config(config, "test");
    CHECK(read_vision_config(to_json(c), "test") == c);
  }
  VisionConfig headless = tiny_config().vision;
  CHECK(!read_vision_config(to_json(headless), "test").use_head);
}

TEST_CASE("evaluate: as many examples as asked for, spread over the questions, none twice") {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 20; ++i)
    text += json{{"messages",
                  {{{"role", "user"},
                    {"content", std::string(static_cast<size_t>(i % 3), 'a') + std::to_string(i)}},
                   {{"role", "assistant"}, {"content", "red"}}}}}
                .dump() +
            "\n";
  spill(folder.path / "texts.jsonl", text);
  DataSpec spec;
  spec.name = "texts", spec.kind = "messages", spec.path = (folder.path / "texts.jsonl").string();
  const auto source = open_source(spec);
  const ChatTemplate chat(Tokenizer::train_byte_bpe({"what is it? red"}, 262, kSpecialTokens), 1);
  Vlm model(tiny_config());
  init_parameters(model, 1);
  EvaluateOptions options;
  options.max_new_tokens = 1;
  auto examples = [&](int64_t limit, int64_t keep) {
    options.limit = limit, options.keep = keep;
    const EvaluationResult evaluation = evaluate(model, chat, {}, *source, options);
    std::set<std::string> questions;
    for (const Answered& answered : evaluation.answered) questions.insert(answered.question);
    CHECK(questions.size() == evaluation.answered.size());
    return static_cast<int64_t>(questions.size());
  };
  CHECK(examples(0, 8) == 8);
  CHECK(examples(0, 1) == 1);
  CHECK(examples(0, 20) == 20);
  CHECK(examples(0, 50) == 20);
  CHECK(examples(6, 4) == 4);
  CHECK(examples(6, 8) == 6);
  CHECK(examples(0, 0) == 0);
  options.batch = 0;
  CHECK(error_of<UsageError>([&] { examples(0, 8); }) == "evaluate: batch must be positive, got 0");
}
