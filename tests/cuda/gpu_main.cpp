// The tests of simt/ on a real GPU: ocellus_cuda_tests (preset cuda). Without one it says so and passes.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "engine/memory/caching_allocator.h"

int main(int argc, char** argv) {
  using namespace ocellus;
  doctest::Context context(argc, argv);
  try {
    allocator_of({DeviceType::kCuda, 0})->allocate(1, "tests");
  } catch (const Error& error) {
    std::printf("skipped all CUDA checks: %s\n", error.what());
    return 0;
  }
  return context.run();
}
