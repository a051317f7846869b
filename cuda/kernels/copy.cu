// Copies between host and device, strided copies, conversion, fill.
// Parallelisation: a thread an element, in strides of the grid; contiguous bf16 <-> f32, the
// conversions of every training step, by 16-byte vectors. Traffic: each element read and written
// once; a transposing copy reads across rows and loses coalescing on one side.
#include "engine/kernels/copy.h"

#include <cstring>

#include "cuda/device/launch.h"
#include "cuda/device/strided.cuh"
#include "cuda/device/vec128.cuh"
#include "cuda/runtime/staging.h"
#include "engine/dispatch.h"

namespace ocellus {
namespace {

// --- device ---

template <class U>
__global__ void move_kernel(const U* from, U* to, StridedIndex<2> index) {
  for (int64_t i = grid_thread(); i < index.count; i += grid_threads()) {
    int64_t at[2];
    index.offsets(i, at);
    to[at[1]] = from[at[0]];
  }
}

template <class U>
__global__ void fill_kernel(U* to, U value, StridedIndex<1> index) {
  for (int64_t i = grid_thread(); i < index.count; i += grid_threads()) {
    int64_t at[1];
    index.offsets(i, at);
    to[at[0]] = value;
  }
}

// Eight elements a thread: one vector of bf16, two of f32.
__global__ void narrow_kernel(const float* from, bf16* to, int64_t count) {
  for (int64_t i = grid_thread() * 8; i < count; i += grid_threads() * 8) {
    const int64_t left = count - i;
    const Vec128<float> low = load128(from + i, left);
    Vec128<float> high = low;
    if (left > 4) high = load128(from + i + 4, left - 4);
    Vec128<bf16> out;
#pragma unroll
    for (int j = 0; j < 8; ++j) out.values[j] = bf16(j < 4 ? low.values[j] : high.values[j - 4]);
    store128(to + i, left, out);
  }
}

__global__ void widen_kernel(const bf16* from, float* to, int64_t count) {
  for (int64_t i = grid_thread() * 8; i < count; i += grid_threads() * 8) {
    const int64_t left = count - i;
    const Vec128<bf16> in = load128(from + i, left);
    Vec128<float> low, high;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      low.values[j] = in.values[j];
      high.values[j] = in.values[j + 4];
    }
    store128(to + i, left, low);
    if (left > 4) store128(to + i + 4, left - 4, high);
  }
}

// All other conversions pass through the widest type of the source's kind, chosen element by
// element at run time: the branch is the same in all threads, and 49 pairs of types need two
// kernels.
template <class Wide>
__device__ Wide load_as(DType dtype, const void* from, int64_t i) {
  switch (dtype) {
    case DType::kF64:
      return static_cast<Wide>(static_cast<const double*>(from)[i]);
    case DType::kF32:
      return static_cast<Wide>(static_cast<const float*>(from)[i]);
    case DType::kBF16:
      return static_cast<Wide>(static_cast<float>(static_cast<const bf16*>(from)[i]));
    case DType::kI64:
      return static_cast<Wide>(static_cast<const int64_t*>(from)[i]);
    case DType::kI32:
      return static_cast<Wide>(static_cast<const int32_t*>(from)[i]);
    default:
      return static_cast<Wide>(static_cast<const uint8_t*>(from)[i]);  // bool is 0 or 1
  }
}

template <class Wide>
__device__ void store_as(DType dtype, void* to, int64_t i, Wide value) {
  switch (dtype) {
    case DType::kF64:
      static_cast<double*>(to)[i] = static_cast<double>(value);
      break;
    case DType::kF32:
      static_cast<float*>(to)[i] = static_cast<float>(value);
      break;
    case DType::kBF16:
      static_cast<bf16*>(to)[i] = bf16(static_cast<float>(value));
      break;
    case DType::kI64:
      static_cast<int64_t*>(to)[i] = static_cast<int64_t>(value);
      break;
    case DType::kI32:
      static_cast<int32_t*>(to)[i] = static_cast<int32_t>(value);
      break;
    case DType::kU8:
      static_cast<uint8_t*>(to)[i] = static_cast<uint8_t>(value);
      break;
    case DType::kBool:
      static_cast<uint8_t*>(to)[i] = value != Wide(0) ? 1 : 0;
      break;
  }
}

template <class Wide>
__global__ void convert_kernel(DType from_type, const void* from, DType to_type, void* to,
                               StridedIndex<2> index) {
  for (int64_t i = grid_thread(); i < index.count; i += grid_threads()) {
    int64_t at[2];
    index.offsets(i, at);
    store_as<Wide>(to_type, to, at[1], load_as<Wide>(from_type, from, at[0]));
  }
}

// --- host ---

/// f(TypeTag<U>{}) for the unsigned integer of `bytes`: moving needs no more than the size.
template <class F>
void on_size(int64_t bytes, F&& f) {
  switch (bytes) {
    case 8:
      return f(TypeTag<uint64_t>{});
    case 4:
      return f(TypeTag<uint32_t>{});
    case 2:
      return f(TypeTag<uint16_t>{});
    default:
      return f(TypeTag<uint8_t>{});
  }
}

void copy_on_device(int device, const Tensor& x, Tensor& out) {
  const StridedIndex<2> index(x.shape(), {x.strides(), out.strides()});
  const LaunchShape shape = grid_for(device, index.count, kBlockThreads);
  const LaunchShape vector_shape = grid_for(device, index.count, 8 * kBlockThreads);
  if (x.dtype() == out.dtype() && index.contiguous) {
    const DeviceGuard guard(device);
    CUDA_CHECK(cudaMemcpyAsync(out.mutable_raw("copy"), x.raw(), static_cast<size_t>(x.bytes()),
                               cudaMemcpyDeviceToDevice, current_stream(device)));
  } else if (x.dtype() == out.dtype()) {
    on_size(dtype_size(x.dtype()), [&](auto tag) {
      using U = typename decltype(tag)::type;
      launch("copy", device, move_kernel<U>, shape, static_cast<const U*>(x.raw()),
             static_cast<U*>(out.mutable_raw("copy")), index);
    });
  } else if (index.contiguous && x.dtype() == DType::kF32 && out.dtype() == DType::kBF16) {
    launch("cast", device, narrow_kernel, vector_shape, x.data<float>(),
           out.mutable_data<bf16>("cast"), index.count);
  } else if (index.contiguous && x.dtype() == DType::kBF16 && out.dtype() == DType::kF32) {
    launch("cast", device, widen_kernel, vector_shape, x.data<bf16>(),
           out.mutable_data<float>("cast"), index.count);
  } else if (is_floating(x.dtype())) {
    launch("cast", device, convert_kernel<double>, shape, x.dtype(), x.raw(), out.dtype(),
           out.mutable_raw("cast"), index);
  } else {
    launch("cast", device, convert_kernel<int64_t>, shape, x.dtype(), x.raw(), out.dtype(),
           out.mutable_raw("cast"), index);
  }
}

// Between devices only contiguous elements of one type travel; what differs is converted before, on
// the source's side, or spread after, on the target's. What comes from the host
// goes through pinned buffers and nobody waits; what goes there waits.
void copy_across(const Tensor& x, Tensor& out) {
  const Tensor from = x.to(out.dtype()).contiguous();
  if (!out.is_contiguous()) {
    Tensor packed = Tensor::empty(out.shape(), out.dtype(), out.device(), "copy");
    copy_across(from, packed);
    copy(packed, out);
    return;
  }
  const bool from_gpu = x.device().type == DeviceType::kCuda;
  if (!from_gpu)
    return send_to_device({out.device().index}, out.mutable_raw("copy"), from.raw(),
                          static_cast<size_t>(from.bytes()));
  const bool to_gpu = out.device().type == DeviceType::kCuda;
  const int device = x.device().index;
  if (to_gpu) synchronize(out.device().index);  // the target block's former users
  const DeviceGuard guard(device);
  CUDA_CHECK(cudaMemcpyAsync(out.mutable_raw("copy"), from.raw(), static_cast<size_t>(from.bytes()),
                             cudaMemcpyDefault, current_stream(device)));
  synchronize(device);
}

template <class T>
uint64_t bits_of(T value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  return bits;
}

uint64_t fill_bits(DType dtype, double value) {
  switch (dtype) {
    case DType::kF64:
      return bits_of(value);
    case DType::kF32:
      return bits_of(static_cast<float>(value));
    case DType::kBF16:
      return bits_of(bf16(value));
    case DType::kI64:
      return bits_of(static_cast<int64_t>(value));
    case DType::kI32:
      return bits_of(static_cast<int32_t>(value));
    case DType::kU8:
      return bits_of(static_cast<uint8_t>(value));
    case DType::kBool:
      return value != 0;
  }
  return 0;
}

}  // namespace

void copy(OnCuda, const Tensor& x, Tensor& out) {
  check<ShapeError>(x.shape() == out.shape(), "copy: out must be {}, got {}", to_string(x.shape()),
                    to_string(out.shape()));
  if (x.numel() == 0) return;
  if (x.device() == out.device())
    copy_on_device(out.device().index, x, out);
  else
    copy_across(x, out);
}

void fill(OnCuda device, Tensor& out, double value) {
  if (out.numel() == 0) return;
  const uint64_t bits = fill_bits(out.dtype(), value);
  if (bits == 0 && out.is_contiguous()) {
    const DeviceGuard guard(device.index);
    CUDA_CHECK(cudaMemsetAsync(out.mutable_raw("fill"), 0, static_cast<size_t>(out.bytes()),
                               current_stream(device.index)));
    return;
  }
  const StridedIndex<1> index(out.shape(), {out.strides()});
  on_size(dtype_size(out.dtype()), [&](auto tag) {
    using U = typename decltype(tag)::type;
    launch("fill", device.index, fill_kernel<U>, grid_for(device.index, index.count, kBlockThreads),
           static_cast<U*>(out.mutable_raw("fill")), static_cast<U>(bits), index);
  });
}

}  // namespace ocellus
