// Kernels with one planted fault each, and right ones beside them that must not be reported.
// The marks "HERE" name the lines that reports must point to.
#include "tests/cuda/simt/planted.h"

#include <memory>

#include "cuda/device/launch.h"
#include "cuda/device/mma.cuh"
#include "cuda/device/warp.cuh"
#include "engine/tensor.h"

namespace ocellus {
namespace {

constexpr Device kGpu{DeviceType::kCuda, 0};

LaunchShape shape_of(unsigned threads, unsigned blocks = 1) { return {blocks, 1, threads}; }

Tensor numbers(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor::from(values, {count}).to(kGpu);
}
Tensor fresh(int64_t count) { return Tensor::empty({count}, DType::kF32, kGpu, "planted"); }

template <class... Parameters>
void on_numbers(void (*kernel)(const float*, float*, Parameters...), LaunchShape shape,
                Parameters... more) {
  const Tensor x = numbers(64);
  Tensor y = fresh(64);
  launch("planted", 0, kernel, shape, x.data<float>(), y.mutable_data<float>("planted"), more...);
  y.to_vector<float>();
}

// --- barriers ---

template <bool barrier>
__global__ void reverse(const float* x, float* y) {
  SHARED(tile, float[64]);
  tile[threadIdx.x] = x[threadIdx.x];  // HERE race
  if constexpr (barrier) __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

__global__ void barrier_in_branch(const float* x, float* y) {
  if (threadIdx.x < 32) __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void two_barriers(const float* x, float* y) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}

__global__ void early_return(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x == 40) return;
  __syncthreads();
}

// --- warps ---

template <bool barrier>
__global__ void neighbour(const float* x, float* y) {
  SHARED(tile, float[32]);
  tile[threadIdx.x] = x[threadIdx.x];
  if constexpr (barrier) __syncwarp();
  y[threadIdx.x] = tile[threadIdx.x ^ 1];
  y[threadIdx.x + 32] = 0;
}

__global__ void shuffle_is_no_barrier(const float* x, float* y) {
  SHARED(tile, float[32]);
  tile[threadIdx.x] = x[threadIdx.x];
  const float other = __shfl_xor_sync(kAllLanes, x[threadIdx.x], 1);
  y[threadIdx.x] = tile[threadIdx.x ^ 1] + other;
}

__global__ void lane_missing(const float* x, float* y) {
  float value = x[threadIdx.x];
  if (threadIdx.x != 5) value = __shfl_xor_sync(kAllLanes, value, 1);
  y[threadIdx.x] = value;
}

__global__ void lane_outside(const float* x, float* y) {
  float value = x[threadIdx.x];
  if (threadIdx.x < 16) value = __shfl_down_sync(0xffffu, value, 1);
  y[threadIdx.x] = value;
}

__global__ void different_operations(const float* x, float* y) {
  float value = x[threadIdx.x];
  if (threadIdx.x < 16)
    value = __shfl_xor_sync(kAllLanes, value, 1);
  else
    __syncwarp();
  y[threadIdx.x] = value;
}

__global__ void half_warps(const float* x, float* y) {
  float value = x[threadIdx.x];
  if (threadIdx.x % 32 < 16)
    value += __shfl_xor_sync(0x0000ffffu, value, 8);
  else
    value -= __shfl_sync(0xffff0000u, value, 17);
  const unsigned above = __ballot_sync(kAllLanes, value > 3);
  y[threadIdx.x] = value + static_cast<float>(above % 2);
}

// --- bounds and initialisation ---

__global__ void one_past(const float* x, float* y) {
  y[threadIdx.x + 1] = x[threadIdx.x];  // HERE bounds
}
__global__ void one_before(const float* x, float* y) {
  y[threadIdx.x] = x[static_cast<int>(threadIdx.x) - 1];
}
__global__ void past_shared(const float* x, float* y) {
  SHARED(tile, float[63]);
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = 0;
}
__global__ void unwritten_shared(const float* x, float* y) {
  SHARED(tile, float[65]);
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x + 1];
}
__global__ void unwritten_device(const float* x, float* y) {
  y[threadIdx.x] = x[threadIdx.x] + y[63 - threadIdx.x % 2];
}
__global__ void missing_output(const float* x, float* y) {
  if (threadIdx.x != 63) y[threadIdx.x] = x[threadIdx.x];
}
__global__ void copy_one(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
__global__ void vectors(const float* x, float* y) {
  const uint64_t pair = *reinterpret_cast<const uint64_t*>(x + 1);
  y[0] = static_cast<float>(pair);
}
__global__ void fill_shared(const float*, float* y) {
  DYNAMIC_SHARED(bytes);
  auto* floats = reinterpret_cast<float*>(bytes);
  floats[threadIdx.x] = 1;
  y[threadIdx.x] = floats[threadIdx.x];
}

// --- blocks ---

__global__ void same_place(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
template <bool atomic>
__global__ void count(const float* x, float* y) {
  if (x[threadIdx.x] < 0) return;
  if constexpr (atomic)
    atomicAdd(y, 1.0f);
  else
    y[0] += 1;
}

// --- asynchronous copies ---

enum class Wait { kRight, kNone, kNoBarrier, kTooFew, kNeverRead };
template <Wait wait>
__global__ void two_stages(const float* x, float* y) {
  SHARED(tile, float[2][32]);
  float* first = &tile[0][0];
  for (int stage = 0; stage < 2; ++stage) {
    if (threadIdx.x < 8)
      cp_async16(first + stage * 32 + 4 * threadIdx.x, x + stage * 32 + 4 * threadIdx.x, true);
    cp_async_commit();
  }
  for (int stage = 0; stage < 2; ++stage) {
    if constexpr (wait == Wait::kTooFew) cp_async_wait<1>();
    if constexpr (wait == Wait::kRight || wait == Wait::kNoBarrier) {
      if (stage == 0)
        cp_async_wait<1>();
      else
        cp_async_wait<0>();
    }
    if constexpr (wait != Wait::kNoBarrier) __syncthreads();
    if constexpr (wait != Wait::kNeverRead)
      y[stage * 32 + threadIdx.x] = first[stage * 32 + 31 - threadIdx.x];
    else
      y[stage * 32 + threadIdx.x] = 0;
  }
}

template <bool to_shared>
__global__ void misplaced_copy(const float* x, float* y) {
  SHARED(tile, float[64]);
  if constexpr (to_shared)
    cp_async16(tile + 1, x, true);
  else
    cp_async16(y, x, true);
}

void use_after_free() {
  Tensor y = fresh(64);
  const float* stale = nullptr;
  {
    const Tensor x = numbers(64);
    stale = x.data<float>();
  }
  launch("planted", 0, copy_one, shape_of(64), stale, y.mutable_data<float>("planted"));
}

void host_memory() {
  const auto values = std::make_unique<float[]>(64);
  Tensor y = fresh(64);
  launch("planted", 0, copy_one, shape_of(64), static_cast<const float*>(values.get()),
         y.mutable_data<float>("planted"));
}

void count_up(void (*kernel)(const float*, float*)) {
  const Tensor x = numbers(64);
  Tensor y = Tensor::zeros({1}, DType::kF32, kGpu);
  launch("planted", 0, kernel, shape_of(64, 3), x.data<float>(), y.mutable_data<float>("planted"));
  check<Error>(y.item() == 192, "counted {}", y.item());
}

LaunchShape with_shared(size_t bytes) {
  LaunchShape shape = shape_of(64);
  shape.shared_bytes = bytes;
  return shape;
}

}  // namespace

const std::vector<Planted>& planted_kernels() {
  static const std::vector<Planted> list = {
      {"reversal through shared memory", "", "", [] { on_numbers(reverse<true>, shape_of(64)); }},
      {"missing __syncthreads", "race", "shared tile",
       [] { on_numbers(reverse<false>, shape_of(64)); }},
      {"barrier in a branch", "divergence", "has returned",
       [] { on_numbers(barrier_in_branch, shape_of(64)); }},
      {"two different barriers", "divergence", "different barriers",
       [] { on_numbers(two_barriers, shape_of(64)); }},
      {"return before a barrier", "divergence", "thread (40,0,0) [warp 1 lane 8] has returned",
       [] { on_numbers(early_return, shape_of(64)); }},
      {"neighbours with __syncwarp", "", "", [] { on_numbers(neighbour<true>, shape_of(32)); }},
      {"missing __syncwarp", "race", "shared tile",
       [] { on_numbers(neighbour<false>, shape_of(32)); }},
      {"shuffle taken for a barrier", "race", "shared tile",
       [] { on_numbers(shuffle_is_no_barrier, shape_of(32)); }},
      {"shuffle without one lane", "divergence", "a shuffle",
       [] { on_numbers(lane_missing, shape_of(64)); }},
      {"shuffle from outside of the mask", "divergence", "lane 15 reads lane 16",
       [] { on_numbers(lane_outside, shape_of(64)); }},
      {"lanes at different operations", "divergence", "__syncwarp",
       [] { on_numbers(different_operations, shape_of(64)); }},
      {"halves of a warp apart", "", "", [] { on_numbers(half_warps, shape_of(64)); }},
      {"store past the end", "out of bounds", "byte 256 of a device block of 256",
       [] { on_numbers(one_past, shape_of(64)); }},
      {"load before the start", "out of bounds", "reads 4 bytes",
       [] { on_numbers(one_before, shape_of(64)); }},
      {"store past shared memory", "out of bounds", "shared tile + 252 bytes",
       [] { on_numbers(past_shared, shape_of(64)); }},
      {"shared memory that nobody wrote", "uninitialised read", "shared tile + 256",
       [] { on_numbers(unwritten_shared, shape_of(64)); }},
      {"device memory that nobody wrote", "uninitialised read", "device block",
       [] { on_numbers(unwritten_device, shape_of(1)); }},
      {"missing output", "cudaMemcpyAsync reads what nobody has written", "byte 252",
       [] { on_numbers(missing_output, shape_of(64)); }},
      {"freed memory", "out of bounds", "", use_after_free},
      {"host memory", "host pointer", "reads 4 bytes of host memory", host_memory},
      {"misaligned vector", "misaligned", "", [] { on_numbers(vectors, shape_of(1)); }},
      {"dynamic shared memory", "", "", [] { on_numbers(fill_shared, with_shared(256)); }},
      {"too little dynamic shared memory", "out of bounds", "dynamic memory + 252",
       [] { on_numbers(fill_shared, with_shared(252)); }},
      {"too much shared memory", "shared memory", "more than a block has",
       [] { on_numbers(fill_shared, with_shared(size_t{228} << 10)); }},
      {"two blocks at one place", "race", "of another block",
       [] { on_numbers(same_place, shape_of(64, 2)); }},
      {"counter without atomic", "race", "device block", [] { count_up(count<false>); }},
      {"atomic counter", "", "", [] { count_up(count<true>); }},
      {"two stages of copies", "", "", [] { on_numbers(two_stages<Wait::kRight>, shape_of(32)); }},
      {"copies without a wait", "unfinished copy", "before cp_async_wait",
       [] { on_numbers(two_stages<Wait::kNone>, shape_of(32)); }},
      {"copies without a barrier", "race", "shared tile",
       [] { on_numbers(two_stages<Wait::kNoBarrier>, shape_of(32)); }},
      {"wait for too few groups", "unfinished copy", "before cp_async_wait",
       [] { on_numbers(two_stages<Wait::kTooFew>, shape_of(32)); }},
      {"return before copies end", "unfinished copy", "returns without a wait",
       [] { on_numbers(two_stages<Wait::kNeverRead>, shape_of(32)); }},
      {"copy to a misaligned place", "misaligned", "no multiple of 16",
       [] { on_numbers(misplaced_copy<true>, shape_of(1)); }},
      {"copy to device memory", "cp.async", "from device to shared",
       [] { on_numbers(misplaced_copy<false>, shape_of(1)); }},
  };
  return list;
}

}  // namespace ocellus
