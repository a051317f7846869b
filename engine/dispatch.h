// Choosing the device's overload of a kernel, and the element type, at run time. No macros: a generic
// lambda is instantiated for each choice, and a wrong one is a sentence that names op and choices.
#pragma once
#include <initializer_list>
#include <utility>

#include "engine/check.h"
#include "engine/device.h"
#include "engine/dtype.h"

namespace ocellus {

#if defined(OCELLUS_WITH_CUDA)
inline constexpr bool kWithCuda = true;
#else
inline constexpr bool kWithCuda = false;
#endif

[[noreturn]] void fail_dtype(const char* op, DType got, std::initializer_list<DType> allowed);
/// Thrown text for a CUDA tensor given to an op without a CUDA kernel.
[[noreturn]] void fail_device(const char* op, Device device);

/// on_device(op, device, f) — f(OnCpu{}) or f(OnCuda{index}). An op without a CUDA twin calls
/// on_cpu_only instead.
template <class F>
decltype(auto) on_device(const char* op, Device device, F&& f) {
  if constexpr (kWithCuda)
    if (device.type == DeviceType::kCuda) return f(OnCuda{device.index});
  if (device.type != DeviceType::kCpu) fail_device(op, device);
  return f(OnCpu{});
}
template <class F>
decltype(auto) on_cpu_only(const char* op, Device device, F&& f) {
  if (device.type != DeviceType::kCpu) fail_device(op, device);
  return f(OnCpu{});
}

template <class T> struct TypeTag { using type = T; };

/// on_dtype<f32, bf16, f64>(op, dtype, f) — calls f(TypeTag<T>{}) for the T that `dtype` names.
template <class... Types, class F>
void on_dtype(const char* op, DType dtype, F&& f) {
  const bool known =
      ((dtype == dtype_of<Types> ? (static_cast<void>(f(TypeTag<Types>{})), true) : false) || ...);
  if (known) return;
  fail_dtype(op, dtype, {dtype_of<Types>...});
}

/// on_float — the three element types of differentiable ops.
template <class F>
void on_float(const char* op, DType dtype, F&& f) {
  on_dtype<f32, bf16, f64>(op, dtype, std::forward<F>(f));
}

}  // namespace ocellus
