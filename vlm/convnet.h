// Convolutional image encoders: ResNet and ConvNeXt V2, under their Hugging Face names.
// He et al. 2015, arXiv:1512.03385; Woo et al. 2023, arXiv:2301.00808.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nn/layers.h"

namespace ocellus {

/// ConvnetConfig — config.json of model_type "resnet" or "convnextv2".
struct ConvnetConfig {
  std::string model_type, hidden_act = "relu";
  int64_t num_channels = 3;
  std::vector<int64_t> hidden_sizes, depths;  // one a stage
  double initializer_range = 0.02, layer_norm_eps = 1e-12;
  int64_t embedding_size = 64, patch_size = 4;  // of the stem: ResNet's channels, ConvNeXt's stride
  double drop_path_rate = 0;                    // ConvNeXt: of the last layer; rises to it from 0
  bool bottleneck = true;
  bool downsample_in_first_stage = false, downsample_in_bottleneck = false;
};
ConvnetConfig read_convnet_config(const nlohmann::json& config, const std::string& who);

/// Conv2d — weight [out, in/groups, K, K], bias [out] or absent.
class Conv2d : public Module {
 public:
  Conv2d(int64_t in, int64_t out, int64_t kernel, ConvShape shape, bool bias, double deviation);
  Variable operator()(const Variable& x) {
    return conv2d(x, weight_.var(), bias_ ? bias_->var() : Variable(), shape_);
  }

 private:
  ConvShape shape_;
  Parameter& weight_;
  Parameter* bias_;
};

/// BatchNorm2d — in training mode by the statistics of the batch, whose running averages (momentum
/// 0.1, variance unbiased) are kept for the other mode.
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(int64_t channels, double eps = 1e-5, double momentum = 0.1);
  Variable operator()(const Variable& x);

 private:
  double momentum_;
  float eps_;
  Parameter &weight_, &bias_;
  Tensor &mean_, &variance_, &batches_;
};

/// Conv2d, BatchNorm2d and an activation (none if `act` is empty).
class ConvNormAct : public Module {
 public:
  ConvNormAct(int64_t in, int64_t out, int64_t kernel, int64_t stride, std::string act);
  Variable operator()(const Variable& x);

 private:
  std::string act_;
  Conv2d& convolution_;
  BatchNorm2d& normalization_;
};

/// ResNetLayer — act(layers(x) + shortcut(x)): two 3x3 convolutions, or 1x1, 3x3, 1x1 around a
/// quarter of the channels; the shortcut is a 1x1 convolution where the shape changes.
class ResNetLayer : public Module {
 public:
  ResNetLayer(const ConvnetConfig& config, int64_t in, int64_t out, int64_t stride);
  Variable operator()(const Variable& x);

 private:
  std::string act_;
  ConvNormAct* shortcut_ = nullptr;
  std::vector<ConvNormAct*> layers_;
};

/// What a convnet returns.
struct ConvnetOutput {
  Variable features;  // [B, C, h, w]
  Variable pooled;  // ResNet [B, C, 1, 1]: mean over the picture; ConvNeXt [B, C]: that, normalised
};

class ResNet : public Module {
 public:
  explicit ResNet(const ConvnetConfig& config);
  /// pixels [B, 3, H, W] of any size.
  ConvnetOutput operator()(const Variable& pixels);

 private:
  ConvNormAct& stem_;
  std::vector<ResNetLayer*> layers_;
};

/// ChannelNorm — layer_norm over the channels of [B, C, H, W].
class ChannelNorm : public Module {
 public:
  ChannelNorm(int64_t channels, double eps) : norm_(child_<LayerNorm>("", channels, eps)) {}
  Variable operator()(const Variable& x);

 private:
  LayerNorm& norm_;
};

/// ConvNextV2Layer — x + pwconv2(grn(act(pwconv1(norm(dwconv(x))))): depthwise 7x7, then per
/// position.
class ConvNextV2Layer : public Module {
 public:
  ConvNextV2Layer(const ConvnetConfig& config, int64_t dim, double drop_path);
  Variable operator()(const Variable& x);

 private:
  std::string act_;
  double drop_path_;
  Conv2d& dwconv_;
  LayerNorm& norm_;
  Linear& pwconv1_;
  Parameter &grn_weight_, &grn_bias_;
  Linear& pwconv2_;
};

class ConvNextV2 : public Module {
 public:
  explicit ConvNextV2(const ConvnetConfig& config);
  /// pixels [B, 3, H, W] of any size.
  ConvnetOutput operator()(const Variable& pixels);

 private:
  struct Stage {
    ChannelNorm* norm = nullptr;  // with `downsample`, before all but the first stage
    Conv2d* downsample = nullptr;
    std::vector<ConvNextV2Layer*> layers;
  };
  Conv2d& patches_;
  ChannelNorm& patches_norm_;
  std::vector<Stage> stages_;
  LayerNorm& norm_;
};

}  // namespace ocellus
