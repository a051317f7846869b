// Loading a model must not need the model twice.
#include <malloc.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
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

/// A file of the model's tensors in an element type that is only read, every element `bytes`.
void write_raw(const std::string& path, Module& model, const char* type, const std::string& bytes) {
  nlohmann::json header;
  std::string data;
  for (auto& [name, parameter] : model.parameters()) {
    const size_t begin = data.size();
    for (int64_t i = 0; i < parameter->shape().numel(); ++i) data += bytes;
    const auto& shape = parameter->shape();
    header[name] = {{"dtype", type},
                    {"shape", std::vector<int64_t>(shape.begin(), shape.end())},
                    {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  spill(path, std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
}

}  // namespace

TEST_CASE(
    "safetensors: a model is loaded in 1.1 times its own size, whatever the type of the file") {
  for (const std::string stored : {"F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "F32 in shards"}) {
    CAPTURE(stored);
    TemporaryFolder folder;
    int64_t bytes = 0;
    {
      Wide model;
      std::vector<std::pair<std::string, Tensor>> tensors;
      const DType dtype = stored == "BF16" ? DType::kBF16 : DType::kF32;
      const bool written = stored.starts_with("F32") || stored == "BF16";
      for (auto& [name, parameter] : model.parameters()) {
        if (written) tensors.emplace_back(name, Tensor::full(parameter->shape(), 0.5, dtype));
        bytes += parameter->value().bytes();
      }
      const std::string path = folder.path / "model.safetensors";
      if (written)
        save_model_tensors(folder.path, tensors,
                           stored == "F32 in shards" ? 30'000'000 : uint64_t{1} << 40);
      else
        write_raw(path, model, stored.c_str(),
                  stored == "F16"       ? std::string("\0\x38", 2)
                  : stored == "F8_E4M3" ? "\x30"
                                        : "\x38");
    }
    CHECK(std::filesystem::exists(folder.path / "model.safetensors.index.json") ==
          (stored == "F32 in shards"));
    allocator_of(kCpu)->release_cached();
    ::malloc_trim(0);
    if (!reset_peak()) {
      MESSAGE("skipped: the peak of resident memory cannot be reset here");
      return;
    }
    const int64_t before = resident("VmRSS");
    Wide model;
    load_parameters(model, CheckpointReader(folder.path));
    const int64_t peak = resident("VmHWM") - before;
    CHECK(model.a.weight().value().to_vector<float>()[7] == 0.5f);
    CHECK(peak >= bytes * 9 / 10);  // otherwise nothing was measured
    CHECK_MESSAGE(peak <= bytes * 11 / 10, "peak " << peak << " for a model of " << bytes);
  }
}
