// Convolutional encoders: running statistics and configuration. Numbers are compared with goldens
// of transformers (tests/golden).
#include "vlm/convnet.h"

#include <nlohmann/json.hpp>

#include "nn/checkpoint_file.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;
using nlohmann::json;

TEST_CASE("batch norm: training keeps running averages, evaluation uses them") {
  BatchNorm2d norm(1, 0.5);
  init_parameters(norm, 1);
  const Variable x = constant(Tensor::from(std::vector<float>{1, 2, 3, 6}, {2, 1, 1, 2}));
  std::map<std::string, double> kept;
  auto look = [&] {
    norm.for_each_buffer(
        [&](const std::string& name, Tensor& value) { kept[name] = value.item(); });
  };
  {
    TrainingMode training(true);
    CHECK(norm(x).value().to_vector<double>() == std::vector<double>{-1, -0.5, 0, 1.5});
  }
  look();
  CHECK(kept["running_mean"] == doctest::Approx(0.3));                    // 0.1·3
  CHECK(kept["running_var"] == doctest::Approx(0.9 + 0.1 * 14.0 / 3.0));  // unbiased
  CHECK(kept["num_batches_tracked"] == 1);
  const double r = 1 / std::sqrt(kept["running_var"] + 0.5);
  CHECK(norm(x).value().to_vector<double>()[3] == doctest::Approx((6 - 0.3) * r));
  look();
  CHECK(kept["num_batches_tracked"] == 1);
}

TEST_CASE("batch norm: one value per channel is no batch") {
  BatchNorm2d norm(2);
  TrainingMode training(true);
  CHECK(contains(error_of<ShapeError>([&] {
                   norm(constant(Tensor::zeros({1, 2, 1, 1}, DType::kF32)));
                 }),
                 "training needs more than one value per channel"));
}

namespace {
json small(const char* type) {
  return {{"model_type", type},
          {"embedding_size", 8},
          {"hidden_sizes", {8, 16}},
          {"depths", {2, 1}},
          {"layer_type", "basic"}};
}
Variable pictures(int64_t count) {
  Tensor pixels = Tensor::empty({count, 3, 32, 32}, DType::kF32);
  float* data = pixels.mutable_data<float>("test");
  for (int64_t i = 0; i < pixels.numel(); ++i)
    data[i] = uniform01(RngKey{3, 1}.word(static_cast<uint64_t>(i)));
  return constant(pixels);
}
}  // namespace

TEST_CASE("convnet: running statistics are saved with the weights, and loaded with them") {
  TemporaryFolder folder;
  const std::string path = folder.path / "net.safetensors";
  const ConvnetConfig config = read_convnet_config(small("resnet"), "config.json");
  ResNet net(config), again(config);
  init_parameters(net, 1);
  const Variable x = pictures(3);
  const auto before = net(x).pooled.value().to_vector<double>();
  {
    TrainingMode training(true);
    net(x);
    net(x);
  }
  const auto trained = net(x).pooled.value().to_vector<double>();
  CHECK(trained != before);
  save_safetensors(path, stored_tensors(net));
  const SafetensorsFile file(path);
  CHECK(file.tensors().at("embedder.embedder.normalization.num_batches_tracked").stored == "I64");
  CHECK(file.read("encoder.stages.1.layers.0.layer.1.normalization.num_batches_tracked").item() ==
        2);
  load_parameters(again, CheckpointReader(path));
  CHECK(again(x).pooled.value().to_vector<double>() == trained);
}

TEST_CASE("drop path: in training whole samples lose the branch, the others are scaled") {
  const Variable branch = constant(Tensor::full({400, 2, 3}, 3, DType::kF32));
  CHECK(apply_drop_path(branch, 0.25).value().to_vector<double>()[0] == 3);
  TrainingMode training(true);
  default_generator().set(5, 0);
  const auto got = apply_drop_path(branch, 0.25).value().to_vector<double>();
  int dropped = 0;
  for (size_t b = 0; b < 400; ++b) {
    for (size_t i = 0; i < 6; ++i) CHECK(got[b * 6 + i] == got[b * 6]);
    CHECK((got[b * 6] == 0 || got[b * 6] == 4));
    dropped += got[b * 6] == 0;
  }
  CHECK(dropped > 70);
  CHECK(dropped < 130);
  default_generator().set(5, 0);
  CHECK(apply_drop_path(branch, 0.25).value().to_vector<double>() == got);
}

TEST_CASE("drop path: ConvNeXt's rate rises over the layers and is off outside of training") {
  json config = small("convnextv2");
  config["drop_path_rate"] = 0.9;
  ConvNextV2 net(read_convnet_config(config, "config.json"));
  init_parameters(net, 1);
  const Variable x = pictures(8);
  const auto plain = net(x).pooled.value().to_vector<double>();
  config["drop_path_rate"] = 0.0;
  ConvNextV2 without(read_convnet_config(config, "config.json"));
  init_parameters(without, 1);
  CHECK(without(x).pooled.value().to_vector<double>() == plain);
  TrainingMode training(true);
  CHECK(without(x).pooled.value().to_vector<double>() == plain);
  CHECK(net(x).pooled.value().to_vector<double>() != plain);
  config["drop_path_rate"] = 1.0;
  CHECK(contains(error_of<FormatError>([&] { read_convnet_config(config, "config.json"); }),
                 "config.json: drop_path_rate must be from 0 to below 1, got 1"));
}

TEST_CASE("convnet config: stages must agree and layer types be known") {
  auto error = [](const json& config) {
    return error_of<FormatError>([&] { read_convnet_config(config, "config.json"); });
  };
  CHECK(contains(error({{"model_type", "bit"}}),
                 "model_type \"bit\" is not one of resnet, convnextv2"));
  CHECK(contains(error({{"model_type", "resnet"}, {"depths", {1, 2}}}),
                 "hidden_sizes and depths must have a number for each stage, got 4 and 2"));
  CHECK(contains(error({{"model_type", "resnet"}, {"depths", {1, 0, 1, 1}}}),
                 "from 1 to 2^20, got 0"));
  CHECK(contains(error({{"model_type", "resnet"}, {"layer_type", "wide"}}),
                 "layer_type \"wide\" is not one of basic, bottleneck"));
  CHECK(read_convnet_config({{"model_type", "convnextv2"}}, "config.json").depths[2] == 9);
}
