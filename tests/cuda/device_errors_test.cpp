// The sentences of devices that cannot be used.
#include <doctest/doctest.h>

#include "cuda/runtime/device_errors.h"
#include "engine/dispatch.h"

using namespace ocellus;

TEST_CASE("cuda: an op without a kernel says so") {
  CHECK_THROWS_WITH_AS(
      fail_device("softmax", {DeviceType::kCuda, 0}),
      cuda_linked() ? "softmax: no CUDA kernel" : "softmax: this program was built without CUDA",
      DeviceError);
}

TEST_CASE("cuda: a device that cannot be used is refused in one sentence") {
  CHECK_THROWS_WITH_AS(check_gpu_present(0, 0), "cuda:0: this machine has no GPU that CUDA can see",
                       DeviceError);
  CHECK_THROWS_WITH_AS(check_gpu_present(2, 2),
                       "cuda:2: there is no such GPU, the last one is cuda:1", DeviceError);
  CHECK_THROWS_WITH_AS(check_driver(0, 13000), "cuda: no NVIDIA driver is loaded on this machine",
                       DeviceError);
  CHECK_THROWS_WITH_AS(check_driver(12080, 13000),
                       "cuda: the driver supports CUDA 12.8, this program needs 13.0: update the "
                       "driver or build with an older toolkit",
                       DeviceError);
  CHECK_THROWS_WITH_AS(check_capability(1, "Tesla T4", 7, 5),
                       "cuda:1: Tesla T4 has compute capability 7.5, at least 8.0 is needed",
                       DeviceError);
  CHECK_NOTHROW(check_gpu_present(1, 2));
  CHECK_NOTHROW(check_driver(13010, 13000));
  CHECK_NOTHROW(check_driver(12020, 12080));  // minor versions are compatible
  CHECK_NOTHROW(check_capability(0, "H100", 9, 0));
}
