// The error types. Every message is one sentence: who says it, which argument or file and place,
// what was needed, what was there. The program maps each type to an exit status (tools/ocellus/main.cpp).
#pragma once
#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace ocellus {

/// Root of everything this project throws on purpose.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ShapeError : Error { using Error::Error; };      // an op got a tensor of the wrong shape
struct DTypeError : Error { using Error::Error; };      // … of the wrong element type
struct DeviceError : Error { using Error::Error; };     // … on the wrong device, or a device that is not there
struct AutogradError : Error { using Error::Error; };   // a tape, a saved tensor or a leaf was misused
struct OutOfMemory : Error { using Error::Error; };     // exit status 4
struct FormatError : Error { using Error::Error; };     // a file is missing, damaged or not what it says: exit 3
struct UsageError : Error { using Error::Error; };      // wrong option or configuration key: exit 2
struct NumericsError : Error { using Error::Error; };   // NaN or infinity where the policy is to stop: exit 5

/// fail<ShapeError>("matmul: a must have rank 2, got {}", rank) — throws E with the formatted sentence.
template <class E, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw E(fmt::format(format, std::forward<Args>(args)...));
}

/// check<FormatError>(ok, "sentence {}", …) — throws E with the sentence unless `ok`.
template <class E, class... Args>
void check(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]]
    throw E(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace ocellus
