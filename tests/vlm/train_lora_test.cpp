// Stages that train adapters: what moves, what is written, and that resuming changes no bit.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "nn/lora.h"
#include "tests/data/support.h"
#include "vlm/model_folder.h"
#include "vlm/open_model.h"
#include "vlm/stage.h"
#include "vlm/train.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;
namespace fs = std::filesystem;

#define CHECK_CONTAINS(text, part)           \
  do {                                       \
    const std::string got = text;            \
    CHECK_MESSAGE(contains(got, part), got); \
  } while (false)

namespace {

Recipe recipe(const std::string& stages, const std::vector<std::string>& settings = {}) {
  return parse_recipe(
      "seed = 3\nthreads = 2\n"
      "[model]\n"
      "vision = { kind = \"siglip\", preset = \"tiny\", image_size = 64, patch_size = 16, "
      "hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 24 }\n"
      "connector = { kind = \"pixel_shuffle\", factor = 2 }\n"
      "language = { kind = \"llama\", preset = \"tiny\", hidden_size = 16, num_hidden_layers = 2, "
      "num_attention_heads = 2, num_key_value_heads = 1, intermediate_size = 24, "
      "max_position_embeddings = 64, tie_word_embeddings = false }\n"
      "[tokenizer]\nvocab = 262\n"
      "[[data]]\nname = \"easy_vqa\"\npath = \"" +
          (source_root() / "data/samples/easy_vqa/train-000.tar").string() +
          "\"\n[log]\ntensorboard = false\n[checkpoint]\nevery = 2\nkeep = 9\n[eval]\nat_end = "
          "false\n" +
          stages,
      "test recipe", settings);
}

const char* const kLora =
    "[[stage]]\nname = \"warm\"\nsteps = 2\nbatch = 2\n"
    "[[stage]]\nname = \"tune\"\nsteps = 3\nbatch = 2\nlr = 1e-2\n"
    "lora = { targets = [\"language.*.{q,v}_proj\"], rank = 2, alpha = 4, dropout = 0.1, dora = "
    "true }\n";

TrainResult train_in(const std::string& out, const Recipe& r, bool resume = false,
                     std::function<void(int64_t)> after_step = {}) {
  TrainOptions options;
  options.out = out;
  options.resume = resume;
  options.quiet = true;
  options.after_step = std::move(after_step);
  return train(r, options);
}

std::vector<float> values(const std::string& file, const std::string& name) {
  return CheckpointReader(file).read(name).to_vector<float>();
}

struct Stop {};

}  // namespace

TEST_CASE(
    "lora stage: only adapters move; they are written in PEFT's layout and folded into the model") {
  TemporaryFolder folder;
  const std::string run = folder.path / "run";
  train_in(run, recipe(kLora));
  const CheckpointReader adapter(run + "/adapter/adapter_model.safetensors");
  CHECK(adapter.names().size() == 2 * 2 * 3);
  CHECK(adapter.contains(
      "base_model.model.model.text_model.layers.1.self_attn.v_proj.lora_magnitude_vector"));
  const json config = json::parse(slurp(run + "/adapter/adapter_config.json"));
  CHECK(config["r"] == 2);
  CHECK(config["use_dora"] == true);
  CHECK(config["modules_to_save"].is_null());
  CHECK(config["base_model_name_or_path"] ==
        fs::absolute(run + "/base").lexically_normal().string());
  const CheckpointReader base(run + "/base"), model(run + "/model");
  for (const std::string& name : base.names()) {
    const bool adapted = name.starts_with("model.text_model") &&
                         (name.ends_with("q_proj.weight") || name.ends_with("v_proj.weight"));
    CHECK_MESSAGE((values(run + "/base", name) == values(run + "/model", name)) == !adapted, name);
  }
  // Base and adapter together are the model.
  auto together = open_model(run + "/base");
  together->load_adapters(run + "/adapter");
  CHECK(compare_outputs(together->sample_outputs(DType::kF32),
                        open_model(run + "/model")->sample_outputs(DType::kF32))
            .relative < 1e-5);
}

TEST_CASE("lora stage: a run broken off at any step and resumed ends with the same bits") {
  TemporaryFolder folder;
  const Recipe r = recipe(kLora);
  const std::string straight = folder.path / "straight";
  train_in(straight, r);
  for (int64_t k = 1; k <= 5; ++k) {
    const std::string run = folder.path / ("broken" + std::to_string(k));
    CHECK_THROWS_AS(train_in(run, r, false,
                             [k](int64_t step) {
                               if (step == k) throw Stop();
                             }),
                    Stop);
    train_in(run, r, true);
    for (const char* file : {"/model/model.safetensors", "/base/model.safetensors",
                             "/adapter/adapter_model.safetensors"})
      CHECK_MESSAGE(slurp(run + file) == slurp(straight + file), file << " broken at step " << k);
  }
}

TEST_CASE("lora stage: parts without adapters follow `train`, as modules trained in full") {
  TemporaryFolder folder;
  const std::string run = folder.path / "run";
  train_in(run,
           recipe("[[stage]]\nname = \"tune\"\nsteps = 2\nbatch = 2\nlr = 1e-2\ntrain = [\"*\"]\n"
                  "lora = { targets = [\"language.*.q_proj\"], rank = 2, modules_to_save = "
                  "[\"language.model.norm\"] }\n"));
  const json config = json::parse(slurp(run + "/adapter/adapter_config.json"));
  CHECK(config["modules_to_save"] ==
        json({"model.connector", "model.text_model.norm", "model.vision_model"}));
  int same = 0, moved = 0;
  for (const std::string& name : CheckpointReader(run + "/base").names()) {
    const bool full = !name.starts_with("model.text_model") && !name.starts_with("lm_head");
    const bool trained =
        full || name.ends_with("self_attn.q_proj.weight") || name == "model.text_model.norm.weight";
    const bool equal = values(run + "/base", name) == values(run + "/model", name);
    // Gradients of biases of keys are zero, so not everything that may move does.
    if (!trained) CHECK_MESSAGE(equal, name);
    if (full && !equal) ++moved;
    same += equal;
  }
  CHECK(moved > 10);
  CHECK(same > 5);
  auto together = open_model(run + "/base");
  together->load_adapters(run + "/adapter");
  CHECK(compare_outputs(together->sample_outputs(DType::kF32),
                        open_model(run + "/model")->sample_outputs(DType::kF32))
            .relative < 1e-5);
}

TEST_CASE("lora stage: recipes say what they mean, and what does not fit is refused by key") {
  const Recipe r = recipe(kLora);
  CHECK(r.stage[1].train.empty());
  CHECK(r.stage[0].train == std::vector<std::string>{"*"});
  CHECK(parse_recipe(to_toml(r), "again") == r);
  CHECK(to_toml(recipe("[[stage]]\nname = \"a\"\nsteps = 1\n")).find("lora") == std::string::npos);
  auto refused = [](const std::string& stage, const std::vector<std::string>& settings = {}) {
    return error_of<UsageError>(
        [&] { recipe("[[stage]]\nname = \"a\"\nsteps = 1\n" + stage, settings); });
  };
  CHECK_CONTAINS(refused("lora = { rank = 4 }\n"), "rank");
  CHECK_CONTAINS(refused("lora = { targets = [\"*\"], rang = 4 }\n"), "rang");
  CHECK_CONTAINS(refused("lora = { targets = [\"*\"], rank = 0 }\n"), "rank");
  CHECK_CONTAINS(refused("lora = { targets = [\"*\"] }\n", {"ema.decay=0.9"}),
                 "exclude each other");
  TemporaryFolder folder;
  CHECK_CONTAINS(error_of<UsageError>([&] {
                   train_in(folder.path / "run",
                            recipe("[[stage]]\nname = \"a\"\nsteps = 1\n"
                                   "lora = { targets = [\"language.*.q_prj\"] }\n"));
                 }),
                 "stage a: lora: pattern \"language.*.q_prj\" matches no layer; the nearest name "
                 "is language.");
}
