// Element types. bf16 is a storage format: it is widened to f32 at load and rounded at store, never
// computed in.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

#include "engine/scalar/hd.h"

namespace ocellus {

enum class DType : uint8_t { kF64, kF32, kBF16, kI64, kI32, kU8, kBool };

/// bf16 — the upper 16 bits of an IEEE f32; conversion rounds to nearest even, NaN stays NaN.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  HD explicit bf16(float value) : bits(round(value)) {}
  HD explicit bf16(double value) : bits(round(static_cast<float>(value))) {}
  HD operator float() const {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
  }
  HD static uint16_t round(float value) {
    uint32_t u;
    memcpy(&u, &value, 4);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    return static_cast<uint16_t>(nan ? (u >> 16) | 0x40u : rounded);
  }
};

using f32 = float;
using f64 = double;

/// AccT<T> — the type a kernel computes in: f64 for f64, f32 otherwise.
template <class T> struct AccOf { using type = float; };
template <> struct AccOf<double> { using type = double; };
template <class T> using AccT = typename AccOf<T>::type;

template <class T> struct DTypeOf;
template <> struct DTypeOf<double> { static constexpr DType value = DType::kF64; };
template <> struct DTypeOf<float> { static constexpr DType value = DType::kF32; };
template <> struct DTypeOf<bf16> { static constexpr DType value = DType::kBF16; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::kI64; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::kI32; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::kU8; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::kBool; };
template <class T> inline constexpr DType dtype_of = DTypeOf<T>::value;

constexpr int64_t dtype_size(DType dtype) {
  constexpr int64_t sizes[] = {8, 4, 2, 8, 4, 1, 1};
  return sizes[static_cast<int>(dtype)];
}
constexpr std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF64: return "f64";
    case DType::kF32: return "f32";
    case DType::kBF16: return "bf16";
    case DType::kI64: return "i64";
    case DType::kI32: return "i32";
    case DType::kU8: return "u8";
    case DType::kBool: return "bool";
  }
  return "?";
}
constexpr bool is_floating(DType dtype) { return dtype <= DType::kBF16; }

}  // namespace ocellus
