// A whole vision-language model on the emulated device: losses, gradients and answers beside those
// of the CPU, and the trainer itself.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "autograd/autocast.h"
#include "autograd/tape.h"
#include "engine/kernels/optim.h"
#include "nn/optim/optimizer.h"
#include "tests/cuda/simt/orders.h"
#include "tests/data/support.h"
#include "vlm/generate.h"
#include "vlm/language_loss.h"
#include "vlm/train.h"
#include "vlm/vlm.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

constexpr Device kGpu{DeviceType::kCuda, 0};

VlmConfig tiny_config() {
  VlmConfig c;
  c.vision.model_type = "siglip_vision_model";
  c.vision.image_size = 16;
  c.vision.patch_size = 4;
  c.vision.hidden_size = 16;
  c.vision.num_hidden_layers = 1;
  c.vision.num_attention_heads = 2;
  c.vision.intermediate_size = 24;
  c.vision.use_head = false;
  c.connector.kind = "pixel_shuffle";
  c.connector.factor = 2;
  c.connector.vision_dim = 16;
  c.connector.text_dim = 24;
  c.language.vocab_size = 61;
  c.language.hidden_size = 24;
  c.language.num_hidden_layers = 2;
  c.language.num_attention_heads = 3;
  c.language.num_key_value_heads = 1;
  c.language.head_dim = 8;
  c.language.intermediate_size = 40;
  c.language.max_position_embeddings = 64;
  c.language.tie_word_embeddings = true;
  c.language.dropout = 0.1;
  c.image_token_id = 60;
  return c;
}

// Two samples of an image (4 tokens) and text; the second is padded.
VlmBatch tiny_batch(const VlmConfig& c) {
  constexpr int64_t kTokens = 13, kImage = 4;
  std::vector<int64_t> ids, labels, rows, mask;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < kTokens; ++t) {
      const bool image = t < kImage, padding = b == 1 && t >= kTokens - 3;
      if (image) rows.push_back(b * kTokens + t);
      ids.push_back(image ? c.image_token_id : (7 * t + 11 * b) % 60);
      labels.push_back(image || padding ? -100 : ids.back());
      mask.push_back(padding ? 0 : 1);
    }
  Rng rng(5);
  VlmBatch batch;
  batch.ids = Tensor::from(ids, {2, kTokens});
  batch.labels = Tensor::from(labels, {2, kTokens});
  batch.mask = Tensor::from(mask, {2, kTokens});
  batch.pixels = rng.normal({2, 3, c.vision.image_size, c.vision.image_size}).to(DType::kF32);
  batch.image_rows = Tensor::from(rows, {2 * kImage});
  return batch;
}

struct StepResult {
  double loss = 0, norm = 0;
  std::vector<std::pair<std::string, Tensor>> gradients, updated;
};

// Forward, backward, clip and AdamW of one step.
StepResult training_step(Device device, DType dtype) {
  const VlmConfig config = tiny_config();
  const ParameterDevice placed(device);
  Vlm model(config);
  init_parameters(model, 3);
  Optimizer optimizer({}, group_parameters(model, {{"*", 1e-2}}, 0.1));
  const VlmBatch batch = tiny_batch(config);
  TrainingMode training(true);
  default_generator().set(9, 0);  // masks of dropout do not depend on the device
  StepResult result;
  {
    const Autocast precision(dtype);
    Tape tape;
    const LossSum loss = model.language().loss(model.hidden(batch), batch.labels, 0);
    CHECK(loss.sum.value().device() == device);
    result.loss = loss.sum.value().item() / static_cast<double>(loss.count);
    tape.backward(loss.sum, 1.0 / static_cast<double>(loss.count));
  }
  for (auto& [name, parameter] : model.parameters()) {
    REQUIRE(parameter->grad().defined());
    CHECK(parameter->grad().device() == device);
    result.gradients.emplace_back(name, parameter->grad().to(kCpu).clone());
  }
  result.norm = optimizer.gradient_norm();
  optimizer.step(1, clip_factor(result.norm, 1.0));
  for (auto& [name, parameter] : model.parameters())
    result.updated.emplace_back(name, parameter->value().to(kCpu).clone());
  return result;
}

// Root of Σ (a - b)² over all tensors, divided by that of Σ b².
double relative_error(const std::vector<std::pair<std::string, Tensor>>& a,
                      const std::vector<std::pair<std::string, Tensor>>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].first == b[i].first);
    const auto x = a[i].second.to_vector<double>(), y = b[i].second.to_vector<double>();
    for (size_t j = 0; j < x.size(); ++j) {
      difference += (x[j] - y[j]) * (x[j] - y[j]);
      size += y[j] * y[j];
    }
  }
  return std::sqrt(difference / size);
}

std::vector<Tokens> answers(Device device) {
  const VlmConfig config = tiny_config();
  const ParameterDevice placed(device);
  Vlm model(config);
  init_parameters(model, 4);
  VlmBatch batch = tiny_batch(config);
  batch.mask = Tensor();
  StopRecording stop;
  GenerateOptions options;
  options.max_new_tokens = 6;
  options.pad_token = 0;
  return generate(model.language(), {model.embed(batch), batch.ids, Tensor()}, options);
}

std::vector<double> losses_of(const std::filesystem::path& run) {
  std::vector<double> list;
  std::istringstream lines(slurp(run / "log.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record.contains("loss")) list.push_back(record["loss"].get<double>());
  }
  return list;
}

}  // namespace

TEST_CASE("simt: a training step of a whole model agrees with the CPU in f32") {
  const StepResult here = training_step(kCpu, DType::kF32);
  const StepResult there = training_step(kGpu, DType::kF32);
  CHECK(there.loss == doctest::Approx(here.loss).epsilon(1e-5));
  CHECK(there.norm == doctest::Approx(here.norm).epsilon(1e-4));
  for (size_t i = 0; i < here.gradients.size(); ++i) {
    CAPTURE(here.gradients[i].first);
    // The bias of keys has no gradient but rounding: a softmax does not see it.
    const double size = global_norm({here.gradients[i].second});
    CHECK(size * relative_error({there.gradients[i]}, {here.gradients[i]}) <
          1e-3 * size + 1e-6 * here.norm);
  }
  CHECK(relative_error(there.gradients, here.gradients) < 1e-5);
  CHECK(relative_error(there.updated, here.updated) < 1e-3);  // AdamW's first step is a sign
}

TEST_CASE("simt: bf16 gradients of a whole model are as near to f32 as the CPU's") {
  const StepResult truth = training_step(kCpu, DType::kF32);
  const StepResult here = training_step(kCpu, DType::kBF16);
  const StepResult there = training_step(kGpu, DType::kBF16);
  const double error_here = relative_error(here.gradients, truth.gradients);
  const double error_there = relative_error(there.gradients, truth.gradients);
  MESSAGE("error of bf16 gradients: " << error_there << ", on the CPU " << error_here);
  CHECK(error_there < 2 * error_here);
  CHECK(std::abs(there.loss - truth.loss) < 2 * std::abs(here.loss - truth.loss) + 2e-3);
}

TEST_CASE("simt: a step repeated has the same bits, whatever the order of threads and blocks") {
  const StepResult first = training_step(kGpu, DType::kBF16);
  simt::set_order(simt::Order::kRandom, 11);
  const StepResult again = training_step(kGpu, DType::kBF16);
  simt::set_order(simt::Order::kForward);
  CHECK(first.loss == again.loss);
  for (size_t i = 0; i < first.updated.size(); ++i) {
    CAPTURE(first.updated[i].first);
    CHECK(first.updated[i].second.to_vector<float>() == again.updated[i].second.to_vector<float>());
  }
}

TEST_CASE("simt: greedy answers are those of the CPU") { CHECK(answers(kGpu) == answers(kCpu)); }

TEST_CASE("simt: the trainer runs on the device, stops, resumes and evaluates there") {
  const std::string text =
      "seed = 3\nthreads = 1\nprecision = \"bf16\"\n[model]\n"
      "vision = { kind = \"siglip\", preset = \"tiny\", image_size = 32, patch_size = 8, "
      "hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 24 }\n"
      "connector = { kind = \"pixel_shuffle\", factor = 2 }\n"
      "language = { kind = \"llama\", preset = \"tiny\", hidden_size = 16, num_hidden_layers = 1, "
      "num_attention_heads = 2, num_key_value_heads = 1, intermediate_size = 24, "
      "max_position_embeddings = 64, tie_word_embeddings = false, dropout = 0.1 }\n"
      "[tokenizer]\nvocab = 262\n"
      "[[data]]\nname = \"easy_vqa\"\npath = \"" +
      (source_root() / "data/samples/easy_vqa/train-000.tar").string() +
      "\"\n[[data]]\nname = \"held\"\nsplit = \"eval\"\npath = \"" +
      (source_root() / "data/samples/easy_vqa/test-000.tar").string() +
      "\"\n[log]\ntensorboard = false\n[checkpoint]\nevery = 2\nkeep = 9\n"
      "[eval]\nat_end = false\nevery = 4\nlimit = 2\nmax_new_tokens = 3\n"
      "[ema]\ndecay = 0.9\n"
      "[[stage]]\nname = \"first\"\nsteps = 4\nbatch = 2\naccumulate = 2\n";
  const TemporaryFolder folder;
  TrainOptions options;
  options.quiet = true;
  const Recipe recipe = parse_recipe(text, "test recipe", {});
  options.out = (folder.path / "cpu").string();
  train(recipe, options);
  options.device = kGpu;
  options.out = (folder.path / "gpu").string();
  train(recipe, options);
  const auto here = losses_of(folder.path / "cpu"), there = losses_of(folder.path / "gpu");
  REQUIRE(here.size() == 4);
  REQUIRE(there.size() == 4);
  for (size_t i = 0; i < here.size(); ++i)
    CHECK(there[i] == doctest::Approx(here[i]).epsilon(2e-3));

  options.out = (folder.path / "interrupted").string();
  options.after_step = [](int64_t step) {
    if (step == 3) throw UsageError("stop here");
  };
  CHECK_THROWS_AS(train(recipe, options), UsageError);
  options.after_step = nullptr;
  options.resume = true;
  train(recipe, options);
  CHECK(losses_of(folder.path / "interrupted") == there);
  CHECK(slurp(folder.path / "interrupted/model/model.safetensors") ==
        slurp(folder.path / "gpu/model/model.safetensors"));
}

TEST_CASE("simt: norms and AdamW of many tensors at once are those of each alone") {
  Rng rng(15);
  Tensors gradients, p, m, v, p_each, m_each, v_each;
  const int64_t counts[] = {5, 0, 16384, 16385, 70001, 1};
  for (int64_t count : counts) {
    const auto draw = [&] { return rng.normal({count}).to(DType::kF32).to(kGpu); };
    gradients.push_back(draw());
    p.push_back(draw());
    m.push_back(draw());
    v.push_back(Tensor::full({count}, 0.5, DType::kF32, kGpu));
  }
  for (Tensors* list : {&p, &m, &v})
    for (const Tensor& x : *list)
      (list == &p ? p_each : list == &m ? m_each : v_each).push_back(x.to(kCpu).clone());
  std::vector<AdamWItem> items;
  for (size_t i = 0; i < p.size(); ++i)
    items.push_back(
        {&p[i], &m[i], &v[i], &gradients[i], 0.01 * static_cast<double>(i + 1), i % 2 ? 0.1 : 0.0});
  AdamWStep step;
  step.step = 3;
  step.gradient_scale = 0.5;
  adamw_steps(items, step);
  const std::vector<double> all = norms(gradients);
  for (size_t i = 0; i < p.size(); ++i) {
    CAPTURE(counts[i]);
    AdamWStep own = step;
    own.lr = items[i].lr;
    own.weight_decay = items[i].weight_decay;
    const Tensor g = gradients[i].to(kCpu);
    adamw_step(p_each[i], g, m_each[i], v_each[i], own);
    CHECK(all[i] == doctest::Approx(global_norm({g})).epsilon(1e-12));
    const auto got = p[i].to_vector<double>(), expected = p_each[i].to_vector<double>();
    double worst = 0;
    for (size_t j = 0; j < got.size(); ++j)
      worst = std::max(worst, std::fabs(got[j] - expected[j]));
    CHECK(worst < 1e-6);
  }
}
