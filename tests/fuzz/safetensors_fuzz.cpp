// Fuzz target: safetensors. Any bytes either are refused with a FormatError or give tensors that lie
// inside the file and read as the shape that the header declares.
// needs: nn/checkpoint_file.cpp nn/module.cpp nn/parameter_budget.cpp autograd/tape.cpp engine/tensor.cpp engine/shape.cpp engine/file.cpp
// needs: engine/json.cpp engine/parallel.cpp engine/memory/*.cpp engine/cpu/copy.cpp engine/cpu/elementwise.cpp engine/cpu/reduce.cpp
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine/check.h"
#include "nn/checkpoint_file.h"

using namespace ocellus;

namespace {

// The reader maps a file, so the input goes through one; one per process, as fuzzers run in parallel.
const std::string& scratch() {
  static const std::string path = [] {
    std::string name = "/tmp/safetensors_fuzz_XXXXXX";
    const int fd = mkstemp(name.data());
    if (fd < 0) std::abort();
    return name;
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FILE* file = std::fopen(scratch().c_str(), "wb");
  if (!file || std::fwrite(bytes, 1, size, file) != size || std::fclose(file) != 0) std::abort();
  try {
    const SafetensorsFile checkpoint(scratch());
    for (const auto& [name, info] : checkpoint.tensors()) {
      if (info.begin > info.end || info.end > size) std::abort();
      try {
        if (checkpoint.read(name).shape() != info.shape) std::abort();
      } catch (const FormatError&) {
        // a type of the format that the engine does not have
      }
    }
  } catch (const FormatError&) {
  }
  return 0;
}
