// Copies with conversion between any two element types and any strides.
#include "engine/kernels/copy.h"

#include <cstring>

#include "engine/cpu/strided_loop.h"
#include "engine/dispatch.h"

namespace ocellus {
namespace {

template <class F>
void on_any(const char* op, DType dtype, F&& f) {
  on_dtype<f32, bf16, f64, int64_t, int32_t, uint8_t, bool>(op, dtype, std::forward<F>(f));
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, bool>)
    return value != From(0);
  else if constexpr (std::is_same_v<To, bf16> && std::is_integral_v<From>)
    return bf16(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

template <class From, class To>
void copy_typed(const Tensor& x, const From* from, Tensor& out, To* to) {
  const StridedLoop<2> loop(x.shape(), {x.strides(), out.strides()});
  loop.run([&](auto offset, int64_t count, auto step) {
    const From* source = from + offset[0];
    To* target = to + offset[1];
    if (step[0] == 1 && step[1] == 1) {
      for (int64_t i = 0; i < count; ++i) target[i] = static_cast<To>(source[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) target[i * step[1]] = static_cast<To>(source[i * step[0]]);
    }
  });
}

// Conversions go through a small buffer of the widest type of their kind (double holds every float
// type, int64 every integer type, exactly), so that n types need 2·n loops and not n².
constexpr int64_t kBuffer = 256;

template <class Wide, class Load>
void convert_through(const Tensor& x, Tensor& out, Load load) {
  on_any("cast", out.dtype(), [&](auto tag) {
    using To = typename decltype(tag)::type;
    To* to = out.mutable_data<To>("cast");
    const StridedLoop<2> loop(x.shape(), {x.strides(), out.strides()});
    loop.run([&](auto offset, int64_t count, auto step) {
      Wide buffer[kBuffer];
      for (int64_t begin = 0; begin < count; begin += kBuffer) {
        const int64_t n = std::min(kBuffer, count - begin);
        load(offset[0] + begin * step[0], n, step[0], buffer);
        To* target = to + offset[1] + begin * step[1];
        for (int64_t i = 0; i < n; ++i) target[i * step[1]] = convert<To>(buffer[i]);
      }
    });
  });
}

template <class Wide, class... From>
void convert_from(const Tensor& x, Tensor& out) {
  using Load = void (*)(const void*, int64_t, int64_t, int64_t, Wide*);
  Load load = nullptr;
  on_dtype<From...>("cast", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    load = [](const void* from, int64_t offset, int64_t n, int64_t step, Wide* buffer) {
      const T* source = static_cast<const T*>(from) + offset;
      for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<Wide>(source[i * step]);
    };
  });
  const void* from = x.raw();
  convert_through<Wide>(x, out, [=](int64_t offset, int64_t n, int64_t step, Wide* buffer) {
    load(from, offset, n, step, buffer);
  });
}

// Same-size types without conversion move as unsigned integers: fewer instances to compile.
void copy_same(const Tensor& x, Tensor& out) {
  const void* from = x.raw();
  void* to = out.mutable_raw("copy");
  switch (dtype_size(x.dtype())) {
    case 8: return copy_typed(x, static_cast<const uint64_t*>(from), out, static_cast<uint64_t*>(to));
    case 4: return copy_typed(x, static_cast<const uint32_t*>(from), out, static_cast<uint32_t*>(to));
    case 2: return copy_typed(x, static_cast<const uint16_t*>(from), out, static_cast<uint16_t*>(to));
    default: return copy_typed(x, static_cast<const uint8_t*>(from), out, static_cast<uint8_t*>(to));
  }
}

}  // namespace

void copy(OnCpu, const Tensor& x, Tensor& out) {
  check<ShapeError>(x.shape() == out.shape(), "copy: out must be {}, got {}", to_string(x.shape()),
                    to_string(out.shape()));
  if (x.numel() == 0) return;
  if (x.dtype() == out.dtype()) return copy_same(x, out);
  if (x.dtype() == DType::kF32 && out.dtype() == DType::kBF16)
    return copy_typed(x, x.data<float>(), out, out.mutable_data<bf16>("cast"));
  if (x.dtype() == DType::kBF16 && out.dtype() == DType::kF32)
    return copy_typed(x, x.data<bf16>(), out, out.mutable_data<float>("cast"));
  if (is_floating(x.dtype()))
    convert_from<double, f32, bf16, f64>(x, out);
  else
    convert_from<int64_t, int64_t, int32_t, uint8_t, bool>(x, out);
}

void copy(const Tensor& x, Tensor& out) {
  const bool crosses = x.device().type != out.device().type;
  on_device("copy", crosses && x.device().type == DeviceType::kCuda ? x.device() : out.device(),
            [&](auto device) { copy(device, x, out); });
}

void fill(OnCpu, Tensor& out, double value) {
  if (out.numel() == 0) return;
  on_any("fill", out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = out.mutable_data<T>("fill");
    const T converted = convert<T>(value);
    const StridedLoop<1> loop(out.shape(), {out.strides()});
    loop.run([&](auto offset, int64_t count, auto step) {
      for (int64_t i = 0; i < count; ++i) to[offset[0] + i * step[0]] = converted;
    });
  });
}

void fill(Tensor& out, double value) {
  on_device("fill", out.device(), [&](auto device) { fill(device, out, value); });
}

}  // namespace ocellus
