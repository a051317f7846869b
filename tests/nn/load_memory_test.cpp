// Loading a model must not need the model twice.
#include <cstdio>
#include <fstream>
#include <string>

#include "nn/checkpoint_file.h"
#include "nn/layers.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

// Resident memory of this process, bytes: now, or at its highest since the last reset.
int64_t resident(const char* key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::stoll(line.substr(line.find(':') + 1)) * 1024;
  return -1;
}
bool reset_peak() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5";
  clear.close();
  return clear.good();
}

struct Wide : Module {
  Embedding& embed = child_<Embedding>("embed", 24'000, 512);  // half of the model in one tensor
  Linear& a = child_<Linear>("a", 3'000, 4'000, false);
  LayerNorm& norm = child_<LayerNorm>("norm", 1000, 1e-5);
};

}  // namespace

TEST_CASE(
    "safetensors: a model is loaded in 1.1 times its own size, whatever the type of the file") {
  TemporaryFolder folder;
  for (const DType stored : {DType::kF32, DType::kBF16}) {
    const std::string path = folder.path / "model.safetensors";
    int64_t bytes = 0;
    {
      Wide model;
      std::vector<std::pair<std::string, Tensor>> tensors;
      for (auto& [name, parameter] : model.parameters()) {
        tensors.emplace_back(name, Tensor::full(parameter->shape(), 0.5, stored));
        bytes += parameter->value().bytes();
      }
      save_safetensors(path, tensors);
    }
    allocator_of(kCpu)->release_cached();
    if (!reset_peak()) {
      MESSAGE("skipped: the peak of resident memory cannot be reset here");
      return;
    }
    const int64_t before = resident("VmRSS");
    Wide model;
    load_parameters(model, CheckpointReader(path));
    const int64_t peak = resident("VmHWM") - before;
    CHECK(model.a.weight().value().to_vector<float>()[7] == 0.5f);
    CHECK(peak >= bytes * 9 / 10);  // otherwise nothing was measured
    CHECK_MESSAGE(peak <= bytes * 11 / 10, "peak " << peak << " for a model of " << bytes);
  }
}
