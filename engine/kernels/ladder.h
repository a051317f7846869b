// The kernel laboratory of cuda/ladder: numbered variants of one kernel, each an idea further.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/dispatch.h"
#include "engine/random.h"
#include "engine/tensor.h"

namespace ocellus {

/// LadderSizes — of the problem: GEMM [rows, depth]·[depth, columns]; softmax and layer_norm
/// [rows, columns]; flash: batch, heads, tokens and head size are depth, heads, rows and columns.
struct LadderSizes {
  int64_t rows = 0, columns = 0, depth = 1, heads = 1;
};

/// LadderVariant — one rung. `run` takes the inputs of its ladder on the device and returns the
/// result.
struct LadderVariant {
  const char* name;  // "01 naive"
  const char* idea;  // what it adds to the one before
  std::function<Tensor(const Tensors& inputs)> run;
};

struct LadderInput {
  Shape shape;
  DType dtype;
};

/// Ladder — variants in order, and what to hold them against.
struct Ladder {
  std::string name;
  std::vector<LadderVariant> variants;
  /// Inputs of a problem; the production op on any device.
  std::function<std::vector<LadderInput>(LadderSizes)> inputs;
  std::function<Tensor(const Tensors&)> production;
  double (*flops)(LadderSizes) = nullptr;
  double (*bytes)(LadderSizes) = nullptr;  // that must be moved at least
  bool bound_by_memory = false;            // its measure is GB/s, else TFLOP/s
  double tolerance = 0;                    // |difference| ≤ tolerance·(1 + largest)
};

inline const std::vector<std::string> kLadders = {"gemm", "softmax", "layer_norm", "flash"};

/// ladder — by name, one of kLadders; its variants run on `device`.
CUDA_TWIN Ladder ladder(OnCuda device, const std::string& name);

/// drawn — inputs from a normal distribution, on the host.
inline Tensors drawn(const std::vector<LadderInput>& inputs) {
  Tensors list;
  for (size_t k = 0; k < inputs.size(); ++k) {
    Tensor x = Tensor::empty(inputs[k].shape, DType::kF32);
    float* to = x.mutable_data<float>("ladder");
    for (int64_t i = 0; i < x.numel(); ++i)
      to[i] = static_cast<float>(normals_of({k + 1, 0}, static_cast<uint64_t>(i) / 4).value[i % 4]);
    list.push_back(x.to(inputs[k].dtype));
  }
  return list;
}

}  // namespace ocellus
