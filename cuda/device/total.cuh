// The sum of a list in double, in one block: losses of rows, where f32 would lose the last of many.
#pragma once
#include "cuda/device/block_reduce.cuh"
#include "engine/rows/monoids.h"
#include "engine/tensor.h"

namespace ocellus {

// sums[k] = Σ values[k·count …]; a block a list.
template <class T>
__global__ void total_kernel(const T* values, int64_t count, double* sums) {
  Sum<double> sum;
  const T* list = values + blockIdx.x * count;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum.push(static_cast<double>(list[i]));
  sum = block_reduce(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum.value;
}

/// totals<T>(op, device, values [lists, count]) → [lists] f64, the same bits in every run.
template <class T>
Tensor totals(const char* op, OnCuda device, const Tensor& values) {
  const int64_t lists = values.dim(0);
  Tensor sums = Tensor::empty({lists}, DType::kF64, device_of(device), op);
  launch(op, device.index, total_kernel<T>, LaunchShape{static_cast<unsigned>(lists)},
         values.data<T>(), values.dim(1), sums.mutable_data<double>(op));
  return sums;
}

}  // namespace ocellus
