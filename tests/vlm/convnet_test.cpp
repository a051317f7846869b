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
