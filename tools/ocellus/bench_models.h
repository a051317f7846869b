// The models of tools/bench/torch_step.py at its shapes, each with a synthetic batch.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops.h"
#include "nn/lora.h"
#include "vlm/flops.h"

namespace ocellus {

struct BenchOptions {
  std::string model = "quickstart", freeze;  // freeze: comma list of vision, connector, language
  int64_t batch = 0, text = 0, lora = 0, seed = 0;  // batch, text: 0 = the model's default
};

/// BenchModel — a model with random weights, its batch, and the loss of a training step.
struct BenchModel {
  std::unique_ptr<Module> module;
  std::unique_ptr<Adapters> adapters;  // with --lora
  std::function<LossSum()> loss;
  int64_t batch = 0, text = 0, image_tokens = 0, images = 0;
  std::string config;  // config.json of a vision-language model, and the tensors of its batch
  std::vector<std::pair<std::string, Tensor>> inputs;
  double logits_mb = 0;  // the f32 logits that a step without chunks would hold
  StepFlops flops;
};

/// Names that make_bench_model takes, comma-separated.
std::string bench_model_names();

/// make_bench_model — UsageError for a name that is not one of them, or parts that do not exist.
BenchModel make_bench_model(const BenchOptions& options);

}  // namespace ocellus
