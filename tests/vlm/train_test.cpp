// The trainer as a whole, on models of a few thousand parameters and written-out texts.
#include "vlm/train.h"

#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <fstream>
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

// The parts of a small model, or the folder of one.
std::string model_text(const std::string& from) {
  if (!from.empty()) return "from = \"" + from + "\"\n";
  return "vision = { kind = \"siglip\", preset = \"tiny\", image_size = 64, patch_size = 16, "
         "hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 24 }\n"
         "connector = { kind = \"pixel_shuffle\", factor = 2 }\n"
         "language = { kind = \"llama\", preset = \"tiny\", hidden_size = 16, num_hidden_layers = 1, "
         "num_attention_heads = 2, num_key_value_heads = 1, intermediate_size = 24, "
         "max_position_embeddings = 64, tie_word_embeddings = false, dropout = 0.1 }\n"
         "[tokenizer]\nvocab = 262\n";
}

std::string recipe_text(const std::string& data, const std::string& model_from = "") {
  return "seed = 3\nthreads = 2\n[model]\n" + model_text(model_from) + data +
         "[log]\ntensorboard = false\n"
         "[checkpoint]\nevery = 2\nkeep = 9\n"
         "[eval]\nat_end = false\n"
         "[[stage]]\nname = \"first\"\nsteps = 4\nbatch = 2\n"
         "[[stage]]\nname = \"second\"\nsteps = 3\nbatch = 2\naccumulate = 2\n";
}

/// A folder with texts, and recipes that read them.
struct Texts : TemporaryFolder {
  Texts() { spill(path / "texts.jsonl", conversations()); }
  Recipe recipe(const std::vector<std::string>& settings = {}, const std::string& model_from = "") const {
    return parse_recipe(recipe_text("[[data]]\nname = \"texts\"\nkind = \"messages\"\npath = \"" +
                                        (path / "texts.jsonl").string() + "\"\n",
                                    model_from),
                        "test recipe", settings);
  }
  std::string run(const std::string& name) const { return (path / name).string(); }
};

// Pictures: those shipped with the program.
Recipe picture_recipe(const std::vector<std::string>& settings = {}, const std::string& model_from = "") {
  return parse_recipe(recipe_text("[[data]]\nname = \"easy_vqa\"\npath = \"" +
                                      (source_root() / "data/samples/easy_vqa/train-000.tar").string() + "\"\n",
                                  model_from),
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

double largest_difference(const std::string& a, const std::string& b) {
  const CheckpointReader left(a), right(b);
  REQUIRE(left.names() == right.names());
  double most = 0;
  for (const std::string& name : left.names()) {
    const auto x = values_of(left, name), y = values_of(right, name);
    REQUIRE(x.size() == y.size());
    for (size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(double(x[i]) - double(y[i])));
  }
  return most;
}

std::vector<json> records_of(const std::string& run) {
  std::vector<json> list;
  std::istringstream lines(slurp(run + "/log.jsonl"));
  for (std::string line; std::getline(lines, line);) list.push_back(json::parse(line));
  return list;
}

struct Stop {};

// A model folder "damaged": a trained one, its parameters changed by `damage(name, first value, count)`.
std::string write_damaged_model(const Texts& texts,
                                const std::function<void(const std::string&, float*, int64_t)>& damage) {
  train_in(texts.run("base"), texts.recipe());
  LoadedVlm loaded = load_model_folder(texts.run("base") + "/model");
  for (auto& [name, parameter] : loaded.model->parameters()) {
    Tensor& value = parameter->mutable_value();
    damage(name, value.mutable_data<float>("test"), value.numel());
  }
  save_model_folder(texts.run("damaged"), *loaded.model, *loaded.chat, loaded.processor);
  return texts.run("damaged");
}

// NaN in the embedding of the letter z, which one conversation of the eight meets.
std::string write_model_with_nan(const Texts& texts) {
  return write_damaged_model(texts, [&](const std::string& name, float* values, int64_t) {
    if (name != "language.model.embed_tokens.weight") return;
    const auto id = load_model_folder(texts.run("base") + "/model").chat->tokenizer().encode("z", false, false);
    REQUIRE(id.size() == 1);
    values[id[0] * 16] = std::nanf("");
  });
}

// One stage of eight steps: 16 samples, so that each of the eight conversations is seen twice.
std::vector<std::string> two_passes(const std::string& policy) {
  return {"numerics.on_nonfinite=" + policy, "stage.first.steps=8", "stage.second.skip=true",
          "checkpoint.every=1"};
}

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

TEST_CASE("train: two micro-batches of 16 do what one batch of 32 does, also with unequal targets") {
  const TemporaryFolder folder;
  auto weights_after = [&](const std::string& name, std::vector<std::string> settings) {
    for (const char* common : {"model.language.dropout=0", "stage.second.skip=true", "stage.first.optimizer=sgd",
                               "stage.first.lr=0.05", "stage.first.clip=0"})
      settings.push_back(common);
    train_in((folder.path / name).string(), picture_recipe(settings));
    return (folder.path / name / "model/model.safetensors").string();
  };
  const std::string one = weights_after("one", {"stage.first.batch=32", "stage.first.steps=3"});
  const std::string two =
      weights_after("two", {"stage.first.batch=16", "stage.first.accumulate=2", "stage.first.steps=3"});
  const std::string half = weights_after("half", {"stage.first.batch=16", "stage.first.steps=3"});
  CHECK(largest_difference(one, two) < 1e-6);
  CHECK(largest_difference(one, half) > 1e-4);  // the bound above tells different batches apart
  CHECK(records_of((folder.path / "two").string()).front()["samples"] == 32);
}

TEST_CASE("train: dropout of a stage replaces the model's, in that stage only") {
  const Texts texts;
  auto losses_with = [&](const std::string& name, const std::vector<std::string>& settings) {
    train_in(texts.run(name), texts.recipe(settings));
    return losses(texts.run(name));
  };
  const auto model = losses_with("model", {});
  const auto none = losses_with("none", {"model.language.dropout=0"});
  const auto stage = losses_with("stage", {"stage.first.dropout=0"});
  CHECK(std::equal(none.begin(), none.begin() + 4, stage.begin()));
  CHECK(none[0] != model[0]);
  CHECK(losses_with("both", {"stage.first.dropout=0", "stage.second.dropout=0"}) == none);
  CHECK(stage[4] != none[4]);
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

TEST_CASE("train: NaN in a weight stops the run, naming step, stage and parameter; checkpoints stay") {
  const Texts texts;
  const std::string model = write_model_with_nan(texts);
  const std::string error = error_of<NumericsError>(
      [&] { train_in(texts.run("stop"), texts.recipe(two_passes("stop"), model)); });
  const std::string where = "of stage first is not finite (loss nan): the parameter "
                            "language.model.embed_tokens.weight";
  CHECK_MESSAGE((error.starts_with("train: step ") && error.ends_with(where)), error);
  CHECK(Tape::live_nodes() == 0);
  const auto good = losses(texts.run("stop"));
  CHECK(find_newest_valid(texts.run("stop")).step == static_cast<int64_t>(good.size()));
  CHECK_MESSAGE(contains(error, fmt::format("step {} of", good.size() + 1)), error);
}

TEST_CASE("train: an op that overflows is named where all parameters are finite") {
  const Texts texts;
  const std::string model = write_damaged_model(texts, [](const std::string& name, float* values, int64_t n) {
    if (contains(name, "gate_proj") || contains(name, "up_proj"))
      for (int64_t i = 0; i < n; ++i) values[i] *= 1e25f;
  });
  const std::string error = error_of<NumericsError>(
      [&] { train_in(texts.run("stop"), texts.recipe(two_passes("stop"), model)); });
  CHECK_MESSAGE(contains(error, "train: step 1 of stage first is not finite"), error);
  CHECK_MESSAGE(contains(error, "swiglu"), error);
}

TEST_CASE("train: pixels that are not finite are named with their sample") {
  const TemporaryFolder folder;
  const std::string base = (folder.path / "base").string();
  train_in(base, picture_recipe());
  json processor = json::parse(slurp(base + "/model/preprocessor_config.json"));
  processor["image_std"][1] = 1e-42;
  spill(base + "/model/preprocessor_config.json", processor.dump());
  const std::string error = error_of<NumericsError>(
      [&] { train_in((folder.path / "run").string(), picture_recipe({}, base + "/model")); });
  CHECK_MESSAGE(contains(error, "train: step 1 of stage first is not finite (loss nan): the pixels of the batch ("),
                error);
}

TEST_CASE("train: the policies skip and rewind leave out the bad updates and go on") {
  const Texts texts;
  const std::string model = write_model_with_nan(texts);
  for (const std::string policy : {"skip", "rewind"}) {
    const TrainResult result = train_in(texts.run(policy), texts.recipe(two_passes(policy), model));
    CHECK(result.steps == 8);
    int skipped = 0, finite = 0;
    for (const json& record : records_of(texts.run(policy))) {
      skipped += record.value("skipped", false);
      finite += record["loss"].is_number();
      CHECK(record.value("skipped", false) == record["loss"].is_null());
    }
    CHECK(skipped == 2);
    CHECK(finite == 6);
    const LoadedVlm loaded = load_model_folder(texts.run(policy) + "/model");
    for (auto& [name, parameter] : loaded.model->parameters())
      if (name != "language.model.embed_tokens.weight")
        for (const float x : parameter->value().to_vector<float>())
          if (!std::isfinite(x)) FAIL(name << " is not finite");
  }
  CHECK(weights(texts.run("skip")) == weights(texts.run("rewind")));
  CHECK(losses(texts.run("skip")) == losses(texts.run("rewind")));
  auto settings = two_passes("skip");
  settings.push_back("numerics.max_skips=1");
  const std::string error =
      error_of<NumericsError>([&] { train_in(texts.run("used up"), texts.recipe(settings, model)); });
  CHECK_MESSAGE(contains(error, "numerics.max_skips (1) is used up"), error);
}

TEST_CASE("train: a run with skipped updates that is broken off and resumed ends with the same bits") {
  const Texts texts;
  const std::string model = write_model_with_nan(texts);
  const Recipe recipe = texts.recipe(two_passes("rewind"), model);
  train_in(texts.run("straight"), recipe);
  for (int64_t k = 1; k < 8; ++k) {
    const std::string run = texts.run("broken" + std::to_string(k));
    CHECK_THROWS_AS(train_in(run, recipe, false, [k](int64_t step) { if (step == k) throw Stop(); }), Stop);
    train_in(run, recipe, true);
    CHECK_MESSAGE(weights(run) == weights(texts.run("straight")), "broken at step " << k);
    CHECK(losses(run) == losses(texts.run("straight")));
  }
}

TEST_CASE("train: a rewind without a checkpoint before it says so") {
  const Texts texts;
  const std::string model = write_model_with_nan(texts);
  auto settings = two_passes("rewind");
  settings.push_back("checkpoint.every=0");
  const std::string error =
      error_of<NumericsError>([&] { train_in(texts.run("run"), texts.recipe(settings, model)); });
  CHECK_MESSAGE(contains(error, "there is no checkpoint to rewind to"), error);
}

TEST_CASE("train: the log has every step with norms by root, and periodic evaluations") {
  const TemporaryFolder folder;
  const std::string run = (folder.path / "run").string();
  const std::string shards = (source_root() / "data/samples/easy_vqa").string();
  const std::string data = "[[data]]\nname = \"easy_vqa\"\npath = \"" + shards +
                           "/train-000.tar\"\n[[data]]\nname = \"held_out\"\nsplit = \"eval\"\npath = \"" +
                           shards + "/test-000.tar\"\n";
  train_in(run, parse_recipe(recipe_text(data), "test recipe",
                             {"eval.every=2", "eval.limit=6", "eval.max_new_tokens=2"}));
  int64_t step = 0;
  std::vector<int64_t> evaluated;
  for (const json& record : records_of(run)) {
    if (record.contains("eval")) {
      evaluated.push_back(record["step"]);
      CHECK(record["eval"]["n"] == 6);
      CHECK(record["eval"]["name"] == "periodic");
      continue;
    }
    CHECK(record["step"] == ++step);
    double sum = 0;
    for (const char* root : {"vision", "connector", "language"}) {
      const double norm = record["grad_norms"].at(root).get<double>();
      CHECK(norm > 0);
      sum += norm * norm;
    }
    CHECK(record["grad_norm"].get<double>() == doctest::Approx(std::sqrt(sum)));
    for (const char* key : {"stage", "loss", "lr", "tokens", "targets", "samples", "tokens_per_s", "images_per_s",
                            "step_ms", "data_wait", "peak_mb"})
      CHECK_MESSAGE(record.contains(key), key);
  }
  CHECK(step == 7);
  CHECK(evaluated == std::vector<int64_t>{2, 4, 6, 7});
  const json memory = json::parse(slurp(run + "/run.json")).at("memory");
  for (const char* category : {"weights", "gradients", "optimizer", "saved activations", "batches"})
    CHECK_MESSAGE(memory.at(category).get<int64_t>() > 0, category);
  CHECK(memory["optimizer"] == 2 * memory["weights"].get<int64_t>());
}

TEST_CASE("train: a bad sample in the middle ends the run, and the steps before it are saved") {
  const Texts texts;
  const Recipe recipe = texts.recipe({"checkpoint.every=0", "loader.prefetch=1"});
  train_in(texts.run("straight"), recipe);
  const std::string good = slurp(texts.path / "texts.jsonl");
  const std::string run = texts.run("run");
  // The file is changed under the run: what it meets from then on is no conversation.
  std::string bad = good;
  for (size_t at = bad.find("role"); at != std::string::npos; at = bad.find("role", at)) bad[at] = 'm';
  const auto overwrite = [&](const std::string& text) {  // in place: the file is mapped
    std::fstream(texts.path / "texts.jsonl", std::ios::in | std::ios::out | std::ios::binary) << text;
  };
  const std::string error = error_of<FormatError>(
      [&] { train_in(run, recipe, false, [&](int64_t step) { if (step == 5) overwrite(bad); }); });
  CHECK_MESSAGE(contains(error, "texts.jsonl line"), error);
  CHECK(find_newest_valid(run).step >= 5);
  overwrite(good);
  train_in(run, recipe, true);
  CHECK(weights(run) == weights(texts.run("straight")));
  CHECK(losses(run) == losses(texts.run("straight")));
}

TEST_CASE("train: samples without a target token are an error that names the place") {
  const Texts texts;
  const std::string error = error_of<FormatError>([&] {
    train_in(texts.run("run"), texts.recipe({"stage.first.train_on=[\"system\"]"}));
  });
  CHECK_MESSAGE(contains(error, "no token is a target of the loss"), error);
  CHECK_MESSAGE(contains(error, "texts.jsonl"), error);
}
