#include "nn/lora.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/kernels/copy.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

#define CHECK_CONTAINS(text, part)           \
  do {                                       \
    const std::string got = text;            \
    CHECK_MESSAGE(contains(got, part), got); \
  } while (false)

namespace {

struct Layer : Module {
  Linear& q = child_<Linear>("attn.q_proj", 6, 4, true);
  Linear& c = child_<Linear>("c_fc", 4, 5, true, 0.02, true);
};
struct Net : Module {
  explicit Net(uint64_t seed = 1) {
    init_parameters(*this, seed);
    for (auto& [name, parameter] : parameters())
      if (name.ends_with("bias")) fill(parameter->mutable_value(), 0.1);
  }
  Embedding& embed = child_<Embedding>("embed_tokens", 7, 6, 0.5);
  Layer& first = child_<Layer>("layers.0");
  LayerNorm& norm = child_<LayerNorm>("norm", 5, 1e-5);
  Linear& head = child_<Linear>("lm_head", 5, 7, false, 0.5);
  Variable operator()() {
    const Tensor ids = Tensor::from(std::vector<int64_t>{1, 6, 0, 3}, {2, 2});
    const Variable x = norm(first.c(first.q(embed(ids))));
    return linear(x, head.adapted_weight());
  }
};

std::vector<float> output(Net& net) { return net().value().to_vector<float>(); }

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::fabs(double(a[i]) - double(b[i])));
  return most;
}

// Every trained value moved away from its start.
void disturb(Adapters& adapters) {
  int n = 0;
  for (auto& [name, parameter] : adapters.parameters())
    for (int64_t i = 0; i < parameter->value().numel(); ++i)
      parameter->mutable_value().mutable_data<float>("test")[i] +=
          0.3f * std::sin(static_cast<float>(++n));
}

LoraConfig with_targets(std::vector<std::string> targets) {
  LoraConfig config;
  config.rank = 2;
  config.alpha = 3;
  config.targets.list = std::move(targets);
  return config;
}

const std::vector<std::string> kAll = {"q_proj", "c_fc", "embed_tokens", "lm_head"};

}  // namespace

TEST_CASE("lora: the output is the same at the start, for every kind of layer and option") {
  for (const bool dora : {false, true}) {
    Net net;
    const std::vector<float> before = output(net);
    LoraConfig config = with_targets(kAll);
    config.dora = dora;
    config.rslora = true;
    Adapters adapters = add_lora(net, config, 5);
    if (dora)
      CHECK(difference(output(net), before) < 1e-6);
    else
      CHECK(output(net) == before);
    CHECK(adapters.config().fan_in_fan_out);
    adapters.remove();
    CHECK(output(net) == before);
  }
}

TEST_CASE("lora: only factors and magnitudes train; at the start A gets no gradient, B does") {
  Net net;
  LoraConfig config = with_targets({"q_proj"});
  config.dora = true;
  add_lora(net, config);
  Tape tape;
  tape.backward(sum(square(net())));
  int trained = 0;
  for (auto& [name, parameter] : net.parameters()) {
    CHECK(parameter->grad().defined() == (name.find("lora_") != std::string::npos));
    if (!parameter->grad().defined()) continue;
    ++trained;
    double most = 0;
    for (float g : parameter->grad().to_vector<float>())
      most = std::max(most, std::fabs(double(g)));
    CHECK((most > 0) == !name.ends_with("lora_A.weight"));
  }
  CHECK(trained == 3);
}

TEST_CASE("lora: merged computes what unmerged did, and the adapters are gone") {
  for (const bool dora : {false, true})
    for (const bool rslora : {false, true}) {
      Net net;
      const size_t count = net.parameters().size();
      LoraConfig config = with_targets(kAll);
      config.dora = dora;
      config.rslora = rslora;
      Adapters adapters = add_lora(net, config, 2);
      const std::vector<float> base = output(net);
      disturb(adapters);
      const std::vector<float> before = output(net);
      CHECK(difference(base, before) > 0.05);
      adapters.merge();
      CHECK(difference(output(net), before) < 2e-5);
      CHECK(net.parameters().size() == count);
      CHECK(adapters.parameters().empty());
    }
}

TEST_CASE("lora: DoRA keeps the lengths of rows that its magnitudes say") {
  Net net;
  LoraConfig config = with_targets({"q_proj"});
  config.dora = true;
  Adapters adapters = add_lora(net, config);
  disturb(adapters);
  std::vector<float> magnitude;
  for (auto& [name, parameter] : adapters.parameters())
    if (name.ends_with("lora_magnitude_vector")) magnitude = parameter->value().to_vector<float>();
  adapters.merge();
  const auto w = net.first.q.weight().value().to_vector<double>();
  for (size_t row = 0; row < 4; ++row) {
    double squares = 0;
    for (size_t i = 0; i < 6; ++i) squares += w[row * 6 + i] * w[row * 6 + i];
    CHECK(std::sqrt(squares) == doctest::Approx(std::fabs(magnitude[row])).epsilon(1e-5));
  }
}

TEST_CASE(
    "lora: gradients agree with differences, with the length of DoRA held constant at its own "
    "point") {
  // Plain LoRA: the whole chain, transposed and embedding layers included.
  ParameterDType scope(DType::kF64);
  Net net;
  LoraConfig config = with_targets(kAll);
  config.init = "random";
  Adapters adapters = add_lora(net, config, 9);
  auto loss = [&] { return sum(square(net())).value().item(); };
  {
    Tape tape;
    tape.backward(sum(square(net())));
  }
  for (auto& [name, parameter] : adapters.parameters()) {
    const auto gradient = parameter->grad().to_vector<double>();
    double* data = parameter->mutable_value().mutable_data<double>("test");
    for (size_t i = 0; i < gradient.size(); i += 3) {
      const double kept = data[i], h = 1e-5;
      data[i] = kept + h;
      const double up = loss();
      data[i] = kept - h;
      const double down = loss();
      data[i] = kept;
      CHECK_MESSAGE(
          std::fabs((up - down) / (2 * h) - gradient[i]) < 1e-6 * (1 + std::fabs(gradient[i])),
          name);
    }
  }
}

TEST_CASE("lora: AdaptersOff is the model as it was, modules in full and biases included") {
  Net net;
  const std::vector<float> before = output(net);
  LoraConfig config = with_targets({"q_proj"});
  config.modules_to_save = {"norm", "lm_head"};
  config.bias = "lora_only";
  Adapters adapters = add_lora(net, config);
  disturb(adapters);
  const std::vector<float> after = output(net);
  CHECK(difference(before, after) > 0.05);
  {
    AdaptersOff off(net);
    CHECK(output(net) == before);
  }
  CHECK(output(net) == after);
  adapters.remove();
  CHECK(output(net) == before);
}

TEST_CASE("lora: files have PEFT's names, and load what was saved") {
  TemporaryFolder folder;
  Net net;
  LoraConfig config = with_targets({"q_proj", "embed_tokens"});
  config.dora = true;
  config.bias = "all";
  config.modules_to_save = {"lm_head"};
  config.task_type = "CAUSAL_LM";
  Adapters adapters = add_lora(net, config, 3);
  disturb(adapters);
  adapters.save(folder.path);
  const CheckpointReader file(folder.path / "adapter_model.safetensors");
  CHECK(file.names() ==
        std::vector<std::string>{"base_model.model.embed_tokens.base_layer.weight",
                                 "base_model.model.embed_tokens.lora_embedding_A",
                                 "base_model.model.embed_tokens.lora_embedding_B",
                                 "base_model.model.embed_tokens.lora_magnitude_vector",
                                 "base_model.model.layers.0.attn.q_proj.base_layer.bias",
                                 "base_model.model.layers.0.attn.q_proj.lora_A.weight",
                                 "base_model.model.layers.0.attn.q_proj.lora_B.weight",
                                 "base_model.model.layers.0.attn.q_proj.lora_magnitude_vector",
                                 "base_model.model.layers.0.c_fc.bias",
                                 "base_model.model.lm_head.weight", "base_model.model.norm.bias"});
  CHECK(file.info("base_model.model.embed_tokens.lora_embedding_A").shape == Shape({2, 7}));
  CHECK(file.info("base_model.model.embed_tokens.lora_embedding_B").shape == Shape({6, 2}));
  Net other;
  Adapters loaded = load_lora(other, folder.path);
  CHECK(output(other) == output(net));
  CHECK(loaded.modules() == std::vector<std::string>{"embed_tokens", "layers.0.attn.q_proj"});
}

TEST_CASE("lora: a file that does not fit the model is refused with both sides") {
  TemporaryFolder folder;
  Net net;
  Adapters adapters = add_lora(net, with_targets({"q_proj"}));
  adapters.save(folder.path);
  const std::string path = folder.path / "adapter_model.safetensors";
  const std::string key = "base_model.model.layers.0.attn.q_proj.";
  save_safetensors(path, {{key + "lora_A.weight", Tensor::zeros({3, 6}, DType::kF32)},
                          {key + "lora_B.default.weight", Tensor::zeros({4, 2}, DType::kF32)}});
  Net other;
  const std::string message = error_of<FormatError>([&] { load_lora(other, folder.path); });
  CHECK_CONTAINS(message, "missing in the file: " + key + "lora_B.weight (nearest: " + key +
                              "lora_B.default.weight)");
  CHECK_CONTAINS(message, "not used by the model: " + key + "lora_B.default.weight");
  CHECK_CONTAINS(message, "lora_A.weight is [3, 6] in the file, [2, 6] in the model");
  std::filesystem::remove(path);
  spill(folder.path / "adapter_model.bin", "x");
  Net third;
  CHECK_CONTAINS(error_of<FormatError>([&] { load_lora(third, folder.path); }),
                 "has only adapter_model.bin; pickle files can run code");
}

TEST_CASE("lora: targets that match nothing, or no layer, are errors that name the nearest") {
  Net net;
  CHECK_CONTAINS(error_of<UsageError>([&] { add_lora(net, with_targets({"q_prj"})); }),
                 "target_modules \"q_prj\" matches no layer; the nearest name is q_proj");
  CHECK_CONTAINS(error_of<UsageError>([&] {
                   add_lora(net, with_targets({"q_proj", "layers.0.c_fx"}));
                 }),
                 "\"layers.0.c_fx\" matches no layer; the nearest name is layers.0.c_fc");
  CHECK_CONTAINS(error_of<UsageError>([&] { add_lora(net, with_targets({"norm"})); }),
                 "chooses norm, which is neither a linear layer nor an embedding");
  LoraConfig config = with_targets({"q_proj"});
  config.modules_to_save = {"heads"};
  CHECK_CONTAINS(error_of<UsageError>([&] {
                   Net fresh;
                   add_lora(fresh, config);
                 }),
                 "modules_to_save \"heads\" matches no module");
  CHECK_CONTAINS(
      error_of<UsageError>([&] { add_lora(net, std::vector<std::string>{"layers.*.v_proj"}, {}); }),
      "pattern \"layers.*.v_proj\" matches no layer; the nearest name is layers.0.");
  Net twice;
  add_lora(twice, with_targets({"q_proj"}));
  CHECK_CONTAINS(error_of<UsageError>([&] { add_lora(twice, with_targets({"q_proj"})); }),
                 "has an adapter already");
}

TEST_CASE(
    "lora: all-linear and patterns take linear layers, neither embeddings nor the output layer") {
  Net net;
  LoraConfig config;
  config.targets.regex = "all-linear";
  CHECK(add_lora(net, config).config().targets.list ==
        std::vector<std::string>{"layers.0.attn.q_proj", "layers.0.c_fc"});
  Net other;
  CHECK(matching_layers(other, {"*"}) ==
        std::vector<std::string>{"layers.0.attn.q_proj", "layers.0.c_fc"});
  CHECK(matching_layers(other, {"all-linear"}) == matching_layers(other, {"*"}));
  CHECK(matching_layers(other, {"lm_*", "*.{c_fc,q_proj}"}) ==
        std::vector<std::string>{"layers.0.attn.q_proj", "layers.0.c_fc", "lm_head"});
  Adapters adapters =
      add_lora(other, std::vector<std::string>{"layers.*.q_proj"}, {.rank = 3, .alpha = 6}, 0,
               [](const std::string& name) { return "model." + name; });
  CHECK(adapters.modules() == std::vector<std::string>{"model.layers.0.attn.q_proj"});
  CHECK(adapters.parameters()[0].second->shape() == Shape({3, 6}));
}

TEST_CASE("lora: dropout falls on the adapter alone, and not on an output layer used as a matrix") {
  Net net;
  LoraConfig config = with_targets({"q_proj"});
  config.dropout = 0.5;
  Adapters adapters = add_lora(net, config);
  disturb(adapters);
  const std::vector<float> quiet = output(net);
  CHECK(output(net) == quiet);
  {
    TrainingMode on(true);
    default_generator().set(1, 0);
    CHECK(difference(output(net), quiet) > 1e-4);
    AdaptersOff off(net);
    Net fresh;
    CHECK(output(net) == output(fresh));
  }
  Net head;
  config.targets.list = {"lm_head"};
  add_lora(head, config);
  TrainingMode on(true);
  CHECK_CONTAINS(error_of<UsageError>([&] { head(); }), "can have no dropout on its adapter");
}

TEST_CASE("lora: a bias behind B is scaled, trained, and folded into the base's bias") {
  Net net;
  LoraConfig config = with_targets({"q_proj", "c_fc"});
  config.lora_bias = true;
  Adapters adapters = add_lora(net, config);
  disturb(adapters);
  const std::vector<float> before = output(net);
  adapters.merge();
  CHECK(difference(output(net), before) < 2e-5);
  Net other;
  config.targets.list = {"embed_tokens"};
  CHECK_CONTAINS(error_of<UsageError>([&] { add_lora(other, config); }),
                 "lora_bias is not possible on the embedding");
}
