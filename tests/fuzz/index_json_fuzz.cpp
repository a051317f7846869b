// Fuzz target: model.safetensors.index.json. Beside it lie two small shards and, one folder up, a
// file that must never be opened. Any bytes either are refused with a FormatError, or every name
// reads.
// needs: nn/checkpoint_file.cpp nn/module.cpp nn/parameter_budget.cpp autograd/tape.cpp engine/tensor.cpp engine/shape.cpp engine/file.cpp
// needs: engine/json.cpp engine/parallel.cpp engine/memory/*.cpp engine/cpu/copy.cpp engine/cpu/elementwise.cpp engine/cpu/reduce.cpp
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/check.h"
#include "nn/checkpoint_file.h"

using namespace ocellus;
namespace fs = std::filesystem;

namespace {
const std::string& folder() {
  static const std::string path = [] {
    std::string name = "/tmp/index_json_fuzz_XXXXXX";
    if (!mkdtemp(name.data())) std::abort();
    const std::string inside = name + "/model";
    fs::create_directory(inside);
    save_safetensors(inside + "/one.safetensors", {{"a", Tensor::zeros({2}, DType::kF32)}});
    save_safetensors(inside + "/two.safetensors", {{"b", Tensor::zeros({3}, DType::kI64)}});
    save_safetensors(name + "/outside.safetensors", {{"outside", Tensor::zeros({1}, DType::kF32)}});
    return inside;
  }();
  return path;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FILE* file = std::fopen((folder() + "/model.safetensors.index.json").c_str(), "wb");
  if (!file || std::fwrite(bytes, 1, size, file) != size || std::fclose(file) != 0) std::abort();
  try {
    const CheckpointReader reader(folder());
    for (const std::string& name : reader.names())
      if (reader.read(name).shape() != reader.info(name).shape) std::abort();
    for (const auto& shard : reader.files())
      if (fs::path(shard->path()).parent_path() != folder()) std::abort();
  } catch (const FormatError&) {
  }
  return 0;
}
