// Where memory lies and work runs.
#pragma once
#include <string>

#include "engine/check.h"

namespace ocellus {

enum class DeviceType : unsigned char { kCpu, kCuda, kFake };  // kFake: limited memory for tests, host pointers

struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

inline constexpr Device kCpu{};

inline std::string to_string(Device device) {
  switch (device.type) {
    case DeviceType::kCpu: return "cpu";
    case DeviceType::kCuda: return "cuda:" + std::to_string(device.index);
    default: return "fake:" + std::to_string(device.index);
  }
}

/// Device tags: a kernel is one name with one overload a device (see dispatch.h).
struct OnCpu {};
struct OnCuda { int index; };

}  // namespace ocellus
