#include "vlm/convnet.h"

#include <cmath>
#include <numeric>

#include "engine/kernels/copy.h"
#include "vlm/config_reader.h"

namespace ocellus {

using nlohmann::json;

namespace {
constexpr double kStageEps = 1e-6;  // of every norm in ConvNeXt but the last

std::vector<int64_t> read_sizes(const json& config, const char* key, std::vector<int64_t> fallback,
                                const std::string& who) {
  if (!config.contains(key) || config[key].is_null()) return fallback;
  const json& list = config[key];
  check<FormatError>(list.is_array() && !list.empty() && list.size() <= 64,
                     "{}: {} must be a list of 1 to 64 numbers, got {}", who, key, list.dump());
  std::vector<int64_t> sizes;
  for (const json& n : list) {
    check<FormatError>(n.is_number_integer() && n > 0 && n <= (1 << 20),
                       "{}: {} must be whole numbers from 1 to 2^20, got {}", who, key, n.dump());
    sizes.push_back(n.get<int64_t>());
  }
  return sizes;
}
}  // namespace

ConvnetConfig read_convnet_config(const json& config, const std::string& who) {
  const ConfigReader read(config, who);
  ConvnetConfig c;
  c.model_type = read.text("model_type", "");
  const bool resnet = c.model_type == "resnet";
  check<FormatError>(resnet || c.model_type == "convnextv2",
                     "{}: model_type \"{}\" is not one of resnet, convnextv2", who, c.model_type);
  c.num_channels = read.size("num_channels", 3);
  c.hidden_act = read.text("hidden_act", resnet ? "relu" : "gelu");
  using Sizes = std::vector<int64_t>;
  c.hidden_sizes = read_sizes(config, "hidden_sizes",
                              resnet ? Sizes{256, 512, 1024, 2048} : Sizes{96, 192, 384, 768}, who);
  c.depths = read_sizes(config, "depths", resnet ? Sizes{3, 4, 6, 3} : Sizes{3, 3, 9, 3}, who);
  check<FormatError>(c.hidden_sizes.size() == c.depths.size(),
                     "{}: hidden_sizes and depths must have a number for each stage, got {} and {}",
                     who, c.hidden_sizes.size(), c.depths.size());
  c.embedding_size = read.size("embedding_size", 64);
  c.patch_size = read.side("patch_size", 4);
  c.initializer_range = read.number("initializer_range", 0.02);
  c.layer_norm_eps = read.number("layer_norm_eps", 1e-12);
  c.drop_path_rate = read.rate("drop_path_rate");
  const std::string layer = read.text("layer_type", "bottleneck");
  check<FormatError>(layer == "bottleneck" || layer == "basic",
                     "{}: layer_type \"{}\" is not one of basic, bottleneck", who, layer);
  c.bottleneck = layer == "bottleneck";
  c.downsample_in_first_stage = read.flag("downsample_in_first_stage", false);
  c.downsample_in_bottleneck = read.flag("downsample_in_bottleneck", false);
  return c;
}

Conv2d::Conv2d(int64_t in, int64_t out, int64_t kernel, ConvShape shape, bool bias,
               double deviation)
    : shape_(shape),
      weight_(
          parameter_("weight", {out, in / shape.groups, kernel, kernel}, Init::normal(deviation))),
      bias_(bias ? &parameter_("bias", {out}, Init::zeros()) : nullptr) {}

BatchNorm2d::BatchNorm2d(int64_t channels, double eps, double momentum)
    : momentum_(momentum),
      eps_(static_cast<float>(eps)),
      weight_(parameter_("weight", {channels}, Init::ones())),
      bias_(parameter_("bias", {channels}, Init::zeros())),
      mean_(buffer_("running_mean", Tensor::zeros({channels}, ParameterDType::current(), ParameterDevice::current()))),
      variance_(buffer_("running_var", Tensor::full({channels}, 1, ParameterDType::current(), ParameterDevice::current()))),
      batches_(buffer_("num_batches_tracked", Tensor::zeros({}, DType::kI64))) {}

Variable BatchNorm2d::operator()(const Variable& x) {
  if (!TrainingMode::on()) return batch_norm(x, weight_.var(), bias_.var(), mean_, variance_, eps_);
  const BatchNormTrained out = batch_norm_train(x, weight_.var(), bias_.var(), eps_);
  const auto count = static_cast<double>(x.dim(0) * x.dim(2) * x.dim(3));
  check<ShapeError>(count > 1,
                    "batch norm: training needs more than one value per channel, got x {}",
                    to_string(x.shape()));
  auto average = [&](Tensor& running, const Tensor& now, double factor) {
    auto to = running.to_vector<double>();
    const auto from = now.to_vector<double>();
    for (size_t i = 0; i < to.size(); ++i) to[i] += momentum_ * (from[i] * factor - to[i]);
    copy(Tensor::from(to, running.shape()), running);
  };
  average(mean_, out.mean, 1);
  average(variance_, out.variance, count / (count - 1));
  batches_ = Tensor::from(std::vector<int64_t>{batches_.to_vector<int64_t>()[0] + 1}, {});
  return out.y;
}

ConvNormAct::ConvNormAct(int64_t in, int64_t out, int64_t kernel, int64_t stride, std::string act)
    : act_(std::move(act)),
      convolution_(child_<Conv2d>("convolution", in, out, kernel,
                                  ConvShape{.stride = stride, .padding = kernel / 2}, false,
                                  std::sqrt(2.0 / static_cast<double>(out * kernel * kernel)))),
      normalization_(child_<BatchNorm2d>("normalization", out)) {}

Variable ConvNormAct::operator()(const Variable& x) {
  const Variable y = normalization_(convolution_(x));
  return act_.empty() ? y : activation(act_, y);
}

ResNetLayer::ResNetLayer(const ConvnetConfig& c, int64_t in, int64_t out, int64_t stride)
    : act_(c.hidden_act) {
  if (in != out || stride != 1)
    shortcut_ = &child_<ConvNormAct>("shortcut", in, out, 1, stride, "");
  auto add_layer = [&](int64_t from, int64_t to, int64_t kernel, int64_t step,
                       const std::string& act) {
    layers_.push_back(&child_<ConvNormAct>("layer." + std::to_string(layers_.size()), from, to,
                                           kernel, step, act));
  };
  if (c.bottleneck) {
    const int64_t inner = out / 4;
    check<FormatError>(inner > 0, "resnet: hidden_sizes must be at least 4, got {}", out);
    add_layer(in, inner, 1, c.downsample_in_bottleneck ? stride : 1, "relu");
    add_layer(inner, inner, 3, c.downsample_in_bottleneck ? 1 : stride, "relu");
    add_layer(inner, out, 1, 1, "");
  } else {
    add_layer(in, out, 3, stride, "relu");
    add_layer(out, out, 3, 1, "");
  }
}

Variable ResNetLayer::operator()(const Variable& x) {
  Variable y = x;
  for (ConvNormAct* layer : layers_) y = (*layer)(y);
  return activation(act_, add(y, shortcut_ ? (*shortcut_)(x) : x));
}

ResNet::ResNet(const ConvnetConfig& c)
    : stem_(child_<ConvNormAct>("embedder.embedder", c.num_channels, c.embedding_size, 7, 2,
                                c.hidden_act)) {
  int64_t channels = c.embedding_size;
  for (size_t stage = 0; stage < c.depths.size(); ++stage)
    for (int64_t i = 0; i < c.depths[stage]; ++i) {
      const bool halves = i == 0 && (stage > 0 || c.downsample_in_first_stage);
      layers_.push_back(&child_<ResNetLayer>(fmt::format("encoder.stages.{}.layers.{}", stage, i),
                                             c, channels, c.hidden_sizes[stage], halves ? 2 : 1));
      channels = c.hidden_sizes[stage];
    }
}

ConvnetOutput ResNet::operator()(const Variable& pixels) {
  Variable x = max_pool2d(stem_(pixels), {.kernel = 3, .stride = 2, .padding = 1});
  for (ResNetLayer* layer : layers_) x = (*layer)(x);
  return {x, mean(x, {2, 3}, true)};
}

Variable ChannelNorm::operator()(const Variable& x) {
  return permute(norm_(permute(x, {0, 2, 3, 1})), {0, 3, 1, 2});
}

ConvNextV2Layer::ConvNextV2Layer(const ConvnetConfig& c, int64_t dim, double drop_path)
    : act_(c.hidden_act),
      drop_path_(drop_path),
      dwconv_(
          child_<Conv2d>("dwconv", dim, dim, 7, ConvShape{1, 3, dim}, true, c.initializer_range)),
      norm_(child_<LayerNorm>("layernorm", dim, kStageEps)),
      pwconv1_(child_<Linear>("pwconv1", dim, 4 * dim, true, c.initializer_range)),
      grn_weight_(parameter_("grn.weight", {1, 1, 1, 4 * dim}, Init::zeros())),
      grn_bias_(parameter_("grn.bias", {1, 1, 1, 4 * dim}, Init::zeros())),
      pwconv2_(child_<Linear>("pwconv2", 4 * dim, dim, true, c.initializer_range)) {}

Variable ConvNextV2Layer::operator()(const Variable& x) {
  const Variable rows = norm_(permute(dwconv_(x), {0, 2, 3, 1}));  // [B, h, w, C]
  const Variable wide = activation(act_, pwconv1_(rows));
  const Variable y = pwconv2_(global_response_norm(wide, grn_weight_.var(), grn_bias_.var()));
  return add(x, apply_drop_path(permute(y, {0, 3, 1, 2}), drop_path_));
}

ConvNextV2::ConvNextV2(const ConvnetConfig& c)
    : patches_(child_<Conv2d>("embeddings.patch_embeddings", c.num_channels, c.hidden_sizes[0],
                              c.patch_size, ConvShape{.stride = c.patch_size}, true,
                              c.initializer_range)),
      patches_norm_(child_<ChannelNorm>("embeddings.layernorm", c.hidden_sizes[0], kStageEps)),
      norm_(child_<LayerNorm>("layernorm", c.hidden_sizes.back(), c.layer_norm_eps)) {
  int64_t channels = c.hidden_sizes[0], layer = 0;
  const int64_t layers = std::accumulate(c.depths.begin(), c.depths.end(), int64_t{0});
  for (size_t i = 0; i < c.depths.size(); ++i) {
    const std::string name = fmt::format("encoder.stages.{}.", i);
    Stage stage;
    if (i > 0) {
      stage.norm = &child_<ChannelNorm>(name + "downsampling_layer.0", channels, kStageEps);
      stage.downsample = &child_<Conv2d>(name + "downsampling_layer.1", channels, c.hidden_sizes[i],
                                         2, ConvShape{.stride = 2}, true, c.initializer_range);
    }
    channels = c.hidden_sizes[i];
    for (int64_t k = 0; k < c.depths[i]; ++k, ++layer) {
      const double share = layers > 1 ? double(layer) / double(layers - 1) : 0;
      stage.layers.push_back(&child_<ConvNextV2Layer>(fmt::format("{}layers.{}", name, k), c,
                                                      channels, c.drop_path_rate * share));
    }
    stages_.push_back(std::move(stage));
  }
}

ConvnetOutput ConvNextV2::operator()(const Variable& pixels) {
  Variable x = patches_norm_(patches_(pixels));
  for (Stage& stage : stages_) {
    if (stage.downsample) x = (*stage.downsample)((*stage.norm)(x));
    for (ConvNextV2Layer* layer : stage.layers) x = (*layer)(x);
  }
  return {x, norm_(mean(x, {2, 3}))};
}

}  // namespace ocellus
