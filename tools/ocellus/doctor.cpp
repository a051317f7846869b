// ocellus doctor: what this build and this machine have, and what would make them slow.
#include <dlfcn.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "engine/cpu/gemm/gemm.h"
#include "engine/dispatch.h"
#include "engine/file.h"
#include "engine/parallel.h"
#include "tools/ocellus/command.h"
#include "tools/ocellus/machine.h"
#include "vlm/run_record.h"

namespace ocellus {
namespace {

struct DoctorArguments {
  std::string device = "auto";
  int64_t threads = 0;
  bool json = false;
};

bool library_found(const char* name) {
  void* handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  if (handle) dlclose(handle);
  return handle != nullptr;
}

std::string cpu_model() {
  const std::string info = read_file("/proc/cpuinfo");
  const size_t at = info.find("model name");
  if (at == std::string::npos) return "unknown";
  const size_t begin = info.find(": ", at) + 2;
  return info.substr(begin, info.find('\n', begin) - begin);
}

int run(const DoctorArguments& a) {
  use_threads(a.threads);
  nlohmann::json out;
  std::vector<std::string> warnings;
  int status = 0;
  out["version"] = program_version();
  out["compiler"] = "g++ " __VERSION__;
#if defined(__AVX512F__)
  out["simd_build"] = "avx512";
#elif defined(__AVX2__)
  out["simd_build"] = "avx2";
#else
  out["simd_build"] = "baseline";
  warnings.push_back("elementwise kernels are built for the baseline instruction set: configure with "
                     "-DOCELLUS_MARCH=native");
#endif
  out["cpu"] = cpu_model();
  out["cores"] = std::thread::hardware_concurrency();
  out["threads"] = num_threads();
  out["matmul"] = {{"backend", matmul_backend() == MatmulBackend::kOwn ? "own" : "eigen"},
                   {"kernel", gemm_kernel_name()},
                   {"gflop_per_s", measure_gflops(1024)}};
  out["copy_gb_per_s"] = measure_copy_bandwidth();
  out["memory_mb"] = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
  out["cuda_build"] = cuda_linked();
  out["cuda_driver"] = library_found("libcuda.so.1");
  for (const auto& [key, name] : {std::pair{"cudnn", "libcudnn.so.9"}, {"nccl", "libnccl.so.2"},
                                  {"mpi", "libmpi.so.40"}, {"ffmpeg", "libavcodec.so.59"}})
    out["libraries"][key] = library_found(name);
  if (static_cast<unsigned>(num_threads()) > std::thread::hardware_concurrency())
    warnings.push_back(fmt::format("{} threads on {} cores", num_threads(), std::thread::hardware_concurrency()));
  if (std::string(gemm_kernel_name()) == "sse2")
    warnings.push_back("the processor has neither AVX2 nor AVX-512: products run at a fraction of its speed");
  try {
    choose_device(a.device);
  } catch (const DeviceError& error) {
    warnings.push_back(error.what());
    status = 1;
  }
  out["warnings"] = warnings;
  if (a.json) {
    fmt::print("{}\n", out.dump());
    return status;
  }
  fmt::print("ocellus {}, {}, SIMD of the build: {}\n", out["version"].get<std::string>(),
             out["compiler"].get<std::string>(), out["simd_build"].get<std::string>());
  fmt::print("cpu       {}, {} cores, {} threads\n", out["cpu"].get<std::string>(), out["cores"].get<unsigned>(),
             num_threads());
  fmt::print("matmul    {} ({}), {:.0f} GFLOP/s at 1024³\n", out["matmul"]["backend"].get<std::string>(),
             gemm_kernel_name(), out["matmul"]["gflop_per_s"].get<double>());
  fmt::print("memory    {:.0f} MiB, copy {:.1f} GB/s\n", out["memory_mb"].get<double>(), out["copy_gb_per_s"].get<double>());
  fmt::print("cuda      {}, {}\n", cuda_linked() ? "built with CUDA" : "built without CUDA",
             out["cuda_driver"].get<bool>() ? "a driver is installed" : "no driver on this machine");
  for (const auto& [key, found] : out["libraries"].items())
    fmt::print("{:<9} {}\n", key, found.get<bool>() ? "found" : "not found");
  for (const std::string& warning : warnings) fmt::print("warning   {}\n", warning);
  return status;
}

const RegisterCommand kDoctor({"doctor", "what this build and machine have", "ocellus doctor",
                               [](Options& options) -> std::function<int()> {
                                 auto a = std::make_shared<DoctorArguments>();
                                 options.device(a->device);
                                 options.threads(a->threads);
                                 options.json(a->json);
                                 return [a] { return run(*a); };
                               }});

}  // namespace
}  // namespace ocellus
