// The trainer as a whole, on models of a few thousand parameters and written-out texts.
#include "vlm/train.h"

#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>

#include "autograd/tape.h"
#include "engine/file.h"
#include "nn/checkpoint_file.h"
#include "tests/data/support.h"
#include "vlm/checkpoint_protocol.h"
#include "vlm/model_folder.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

namespace {

// Text of eight short conversations; exactly one of them has a "z".
std::string conversations() {
  const char* questions[] = {"one", "two", "three", "four", "five", "six", "seven", "zero"};
  const char* answers[] = {"red", "blue", "red", "green", "blue", "red", "green", "blue"};
  std::string text;
  for (int i = 0; i < 8; ++i)
    text += json{{"messages",
                  {{{"role", "user"}, {"content", questions[i]}},
                   {{"role", "assistant"}, {"content", answers[i]}}}}}
                .dump() +
            "\n";
  return text;
}

std::string recipe_text(const std::string& data) {
  return "seed = 3\nthreads = 2\n"
         "[model]\n"
         "vision = { kind = \"siglip\", preset = \"tiny\", image_size = 64, patch_size = 16, "
         "hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 24 }\n"
         "connector = { kind = \"pixel_shuffle\", factor = 2 }\n"
         "language = { kind = \"llama\", preset = \"tiny\", hidden_size = 16, num_hidden_layers = 1, "
         "num_attention_heads = 2, num_key_value_heads = 1, intermediate_size = 24, "
         "max_position_embeddings = 64, tie_word_embeddings = false, dropout = 0.1 }\n"
         "[tokenizer]\nvocab = 262\n" +
         data +
         "[log]\ntensorboard = false\n"
         "[checkpoint]\nevery = 2\nkeep = 9\n"
         "[eval]\nat_end = false\n"
         "[[stage]]\nname = \"first\"\nsteps = 4\nbatch = 2\n"
         "[[stage]]\nname = \"second\"\nsteps = 3\nbatch = 2\naccumulate = 2\n";
}

/// A folder with texts, and recipes that read them.
struct Texts : TemporaryFolder {
  Texts() { spill(path / "texts.jsonl", conversations()); }
  Recipe recipe(const std::vector<std::string>& settings = {}) const {
    return parse_recipe(recipe_text("[[data]]\nname = \"texts\"\nkind = \"messages\"\npath = \"" +
                                    (path / "texts.jsonl").string() + "\"\n"),
                        "test recipe", settings);
  }
  std::string run(const std::string& name) const { return (path / name).string(); }
};

// Pictures: those shipped with the program.
Recipe picture_recipe(const std::vector<std::string>& settings = {}) {
  return parse_recipe(recipe_text("[[data]]\nname = \"easy_vqa\"\npath = \"" +
                                  (source_root() / "data/samples/easy_vqa/train-000.tar").string() + "\"\n"),
                      "test recipe", settings);
}

TrainResult train_in(const std::string& out, const Recipe& recipe, bool resume = false,
                     std::function<void(int64_t)> after_step = {}) {
  TrainOptions options;
  options.out = out;
  options.resume = resume;
  options.quiet = true;
  options.after_step = std::move(after_step);
  return train(recipe, options);
}

std::string weights(const std::string& run) { return slurp(run + "/model/model.safetensors"); }

// Losses as they are written, so that equal means equal in every bit.
std::vector<std::string> losses(const std::string& run) {
  std::vector<std::string> list;
  std::istringstream lines(slurp(run + "/log.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line);
    if (record.contains("loss")) list.push_back(record["step"].dump() + ": " + record["loss"].dump());
  }
  return list;
}

std::string checkpoint_of(const std::string& run, int64_t step) {
  for (const auto& entry : std::filesystem::directory_iterator(run + "/checkpoints")) {
    const auto state = entry.path() / "state.json";
    if (std::filesystem::exists(state) && json::parse(slurp(state)).at("global_step") == step)
      return entry.path().string();
  }
  FAIL("no checkpoint of step " << step << " in " << run);
  return "";
}

std::vector<float> values_of(const CheckpointReader& reader, const std::string& name) {
  return reader.read(name).to_vector<float>();
}

struct Stop {};

}  // namespace

TEST_CASE("train: a run broken off at any step and resumed ends with the same bits") {
  const Texts texts;
  const Recipe recipe = texts.recipe({"ema.decay=0.9"});
  train_in(texts.run("straight"), recipe);
  REQUIRE(losses(texts.run("straight")).size() == 7);
  for (int64_t k = 1; k <= 7; ++k) {
    const std::string run = texts.run("broken" + std::to_string(k));
    CHECK_THROWS_AS(train_in(run, recipe, false, [k](int64_t step) { if (step == k) throw Stop(); }), Stop);
    const TrainResult result = train_in(run, recipe, true);
    CHECK(result.steps == 7);
    CHECK(result.signal == 0);
    CHECK_MESSAGE(weights(run) == weights(texts.run("straight")), "broken at step " << k);
    CHECK(losses(run) == losses(texts.run("straight")));
  }
  CHECK(Tape::live_nodes() == 0);
}

TEST_CASE("train: with pictures, a resumed run and another number of threads give the same bits") {
  const TemporaryFolder folder;
  const std::string straight = (folder.path / "straight").string(), broken = (folder.path / "broken").string();
  train_in(straight, picture_recipe());
  CHECK_THROWS_AS(train_in(broken, picture_recipe(), false, [](int64_t s) { if (s == 5) throw Stop(); }), Stop);
  train_in(broken, picture_recipe({"threads=3", "loader.threads=2"}), true);
  CHECK(weights(broken) == weights(straight));
  CHECK(losses(broken) == losses(straight));
}

TEST_CASE("train: SIGINT and SIGTERM save, say so, and the resumed run ends with the same bits") {
  const Texts texts;
  train_in(texts.run("straight"), texts.recipe());
  for (const int signal : {SIGINT, SIGTERM})
    for (const int64_t at : {2, 3, 4}) {  // 2 and 4 have a checkpoint of their own; 4 ends a stage
      const std::string run = texts.run("signal" + std::to_string(signal) + "at" + std::to_string(at));
      const TrainResult first =
          train_in(run, texts.recipe(), false, [=](int64_t s) { if (s == at) std::raise(signal); });
      CHECK(first.signal == signal);
      CHECK(first.steps == at);
      CHECK(std::filesystem::exists(checkpoint_of(run, at) + "/parameters.safetensors"));
      CHECK(train_in(run, texts.recipe(), true).signal == 0);
      CHECK(weights(run) == weights(texts.run("straight")));
      CHECK(losses(run) == losses(texts.run("straight")));
    }
}

TEST_CASE("train: a resumed run with another recipe is refused, naming the key") {
  const Texts texts;
  train_in(texts.run("run"), texts.recipe());
  CHECK(error_of<UsageError>([&] { train_in(texts.run("run"), texts.recipe({"seed=4"}), true); }) ==
        "resume: seed is 3 in the checkpoint, 4 in the recipe; a resumed run must use the same recipe");
  const std::string lr =
      error_of<UsageError>([&] { train_in(texts.run("run"), texts.recipe({"stage.second.clip=2"}), true); });
  CHECK_MESSAGE(contains(lr, "clip is 1"), lr);
}

TEST_CASE("train: frozen parameters keep their bits, get no gradient and no optimizer state") {
  const TemporaryFolder folder;
  const std::string run = (folder.path / "run").string();
  train_in(run, picture_recipe({"stage.second.train=[\"connector\"]", "stage.second.weight_decay=0.1"}));
  const CheckpointReader before(checkpoint_of(run, 4) + "/parameters.safetensors");
  const CheckpointReader after(checkpoint_of(run, 7) + "/parameters.safetensors");
  int moved = 0;
  for (const std::string& name : before.names()) {
    const bool trained = name.starts_with("connector");
    const bool same = values_of(before, name) == values_of(after, name);
    CHECK_MESSAGE(same == !trained, name);
    moved += !same;
  }
  CHECK(moved > 0);
  const CheckpointReader state(checkpoint_of(run, 7) + "/optimizer.safetensors");
  CHECK(!state.names().empty());
  for (const std::string& name : state.names()) CHECK_MESSAGE(contains(name, ".connector."), name);
  std::istringstream lines(slurp(run + "/log.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line);
    if (!record.contains("loss") || record["stage"] != "second") continue;
    CHECK(record["grad_norms"].size() == 1);
    CHECK(record["grad_norms"].contains("connector"));
  }
}

TEST_CASE("train: the moving average follows its formula and is what is saved") {
  const Texts texts;
  train_in(texts.run("run"), texts.recipe({"ema.decay=0.75", "checkpoint.every=1"}));
  for (int64_t step = 1; step < 7; ++step) {
    const CheckpointReader last(checkpoint_of(texts.run("run"), step) + "/ema.safetensors");
    const CheckpointReader next(checkpoint_of(texts.run("run"), step + 1) + "/ema.safetensors");
    const CheckpointReader parameters(checkpoint_of(texts.run("run"), step + 1) + "/parameters.safetensors");
    for (const std::string& name : parameters.names()) {
      const std::string own = last.names() == parameters.names() ? name : "ema." + name;
      const auto a = values_of(last, own), b = values_of(next, own), p = values_of(parameters, name);
      for (size_t i = 0; i < p.size(); ++i)
        if (std::abs(0.75 * a[i] + 0.25 * p[i] - b[i]) > 1e-6)
          FAIL(name << "[" << i << "] after step " << step + 1);
    }
  }
  train_in(texts.run("plain"), texts.recipe());
  CHECK(weights(texts.run("run")) != weights(texts.run("plain")));
  CHECK(losses(texts.run("run")) == losses(texts.run("plain")));
}

TEST_CASE("train: samples without a target token are an error that names the place") {
  const Texts texts;
  const std::string error = error_of<FormatError>([&] {
    train_in(texts.run("run"), texts.recipe({"stage.first.train_on=[\"system\"]"}));
  });
  CHECK_MESSAGE(contains(error, "no token is a target of the loss"), error);
  CHECK_MESSAGE(contains(error, "texts.jsonl"), error);
}
