// Choosing the device's overload of a kernel, and the element type, at run time. No macros: a generic
// lambda is instantiated for each choice, and a wrong one is a sentence that names op and choices.
#pragma once
#include <initializer_list>
#include <utility>

#include "engine/check.h"
#include "engine/device.h"
#include "engine/dtype.h"

namespace ocellus {

/// CUDA_TWIN stands before the OnCuda overload of a kernel and makes a reference to it weak: it may be
/// absent from a program. So the same objects serve the program without CUDA, which lacks all of
/// them, the one with CUDA, and the tests of cuda/simt, whose kernels g++ has compiled for the
/// emulator. In the latter two a missing overload is an error of the build: after linking,
/// tools/build/check_twins.cmake looks for weak references to OnCuda overloads that nothing
/// resolved, and names them.
///
/// (Weak references cost nothing: on_device() asks cuda_linked() before it calls one.)
#define CUDA_TWIN [[gnu::weak]]

/// cuda_linked — true if this program contains the CUDA kernels (for a GPU or for the emulator).
bool cuda_linked();

[[noreturn]] void fail_dtype(const char* op, DType got, std::initializer_list<DType> allowed);
/// Thrown text for a CUDA tensor given to an op without a CUDA kernel.
[[noreturn]] void fail_device(const char* op, Device device);

/// on_device(op, device, f) — f(OnCpu{}) or f(OnCuda{index}). An op without a CUDA twin calls
/// on_cpu_only instead.
template <class F>
decltype(auto) on_device(const char* op, Device device, F&& f) {
  if (device.type == DeviceType::kCuda && cuda_linked()) return f(OnCuda{device.index});
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
