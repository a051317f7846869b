// The sentences of a GPU that cannot be used. Free of CUDA, so that every build tests them.
#pragma once
#include "engine/check.h"
#include "engine/device.h"

namespace ocellus {

/// Oldest compute capability: 8.0 is the first whose tensor cores multiply bf16.
inline constexpr int kOldestMajor = 8;

/// check_gpu_present — throws DeviceError unless 0 ≤ index < count.
inline void check_gpu_present(int index, int count) {
  check<DeviceError>(count > 0, "cuda:{}: this machine has no GPU that CUDA can see", index);
  check<DeviceError>(0 <= index && index < count,
                     "cuda:{}: there is no such GPU, the last one is cuda:{}", index, count - 1);
}

/// check_driver — throws DeviceError unless the driver supports the CUDA `runtime` that the program
/// was built with; both as CUDA counts them, 1000·major + 10·minor. A driver serves every runtime
/// of its major version.
inline void check_driver(int driver, int runtime) {
  check<DeviceError>(driver > 0, "cuda: no NVIDIA driver is loaded on this machine");
  check<DeviceError>(driver / 1000 >= runtime / 1000,
                     "cuda: the driver supports CUDA {}.{}, this program needs {}.{}: update the "
                     "driver or build with an older toolkit",
                     driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
}

/// check_capability — throws DeviceError for a GPU older than kOldestMajor.
inline void check_capability(int index, const char* name, int major, int minor) {
  check<DeviceError>(major >= kOldestMajor,
                     "cuda:{}: {} has compute capability {}.{}, at least {}.0 is needed", index,
                     name, major, minor, kOldestMajor);
}

}  // namespace ocellus
