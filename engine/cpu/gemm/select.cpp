// Chooses by feature bits. Tables of processor models fail on new processors and in virtual
// machines.
#include "engine/cpu/gemm/select.h"

#include <cstdlib>
#include <string_view>

#include "engine/check.h"
#include "engine/cpu/gemm/gemm.h"

namespace ocellus {
namespace gemm_detail {
namespace {

#if defined(__x86_64__)

bool supported(const Kernels& kernels) {
  if (&kernels == &kAvx512Kernels)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && supported(kAvx2Kernels);
  if (&kernels == &kAvx2Kernels)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  return true;
}

const Kernels* choose() {
  const char* wanted = std::getenv("OCELLUS_KERNEL");
  const bool free_choice = wanted == nullptr || *wanted == '\0';
  for (const Kernels* kernels : {&kAvx512Kernels, &kAvx2Kernels, &kSse2Kernels}) {
    if (!free_choice && std::string_view(wanted) != kernels->name) continue;
    if (supported(*kernels)) return kernels;
    check<UsageError>(free_choice, "OCELLUS_KERNEL is \"{}\", which this processor does not have",
                      wanted);
  }
  fail<UsageError>("OCELLUS_KERNEL must be sse2, avx2 or avx512, got \"{}\"", wanted);
}

#else

const Kernels* choose() { return nullptr; }

#endif

}  // namespace

const Kernels* kernels() {
  static const Kernels* const chosen = choose();
  return chosen;
}

}  // namespace gemm_detail

const char* gemm_kernel_name() {
  const auto* kernels = gemm_detail::kernels();
  return kernels != nullptr ? kernels->name : "eigen";
}

}  // namespace ocellus
