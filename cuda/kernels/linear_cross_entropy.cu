// Output layer and cross-entropy by chunks of rows: the logits of all rows never exist.
// A chunk costs three products of cuBLASLt (logits, drows, dweight) and one kernel, a block a row,
// that reads the f32 logits twice and writes softmax - onehot in the type of x, as the products
// need it. Weight gradients are added up in f32 in order of the chunks.
#include "engine/kernels/linear_cross_entropy.h"

#include <algorithm>

#include "cuda/device/block_reduce.cuh"
#include "cuda/device/online_softmax.cuh"
#include "cuda/device/total.cuh"
#include "cuda/kernels/segment_sums.h"
#include "cuda/runtime/cublas_lt.h"
#include "engine/kernels/copy.h"
#include "engine/kernels/cross_entropy.h"

namespace ocellus {
namespace {

constexpr const char* kName = "linear_cross_entropy";

// Loss of each row; where `dlogits` is given, it becomes softmax - onehot. It may be the logits.
template <class T>
__global__ void losses_kernel(const float* logits, const int64_t* labels, int64_t rows,
                              int64_t classes, float* losses, T* dlogits) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t label = labels[row];
    const float* from = logits + row * classes;
    const float target = from[label];
    const OnlineSoftmax<float> total = block_reduce(softmax_part(from, classes));
    if (threadIdx.x == 0) losses[row] = total.log_sum() - target;
    if (!dlogits) continue;
    const float scale = 1.0f / total.sum;
    for (int64_t i = threadIdx.x; i < classes; i += blockDim.x) {
      const float p = math::exp(from[i] - total.max) * scale;
      dlogits[row * classes + i] = static_cast<T>(p - (i == label ? 1.0f : 0.0f));
    }
  }
}

template <class T>
__global__ void scatter_kernel(const float* rows, const int64_t* ids, int64_t count,
                               int64_t columns, float factor, T* to) {
  for (int64_t row = blockIdx.x; row < count; row += gridDim.x)
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x)
      to[ids[row] * columns + c] = static_cast<T>(factor * rows[row * columns + c]);
}

DeviceMatrix rows_at(const Tensor& x, int64_t row) {
  const int64_t step = x.dim(1);
  return {static_cast<const char*>(x.raw()) + row * step * dtype_size(x.dtype()), step};
}
DeviceMatrix transposed(DeviceMatrix m) {
  m.transposed = !m.transposed;
  return m;
}

// The chunks, in buffers that they share.
template <class T>
class Chunks {
 public:
  Chunks(OnCuda device, const Tensor& x, const Tensor& weight, const Tensor& labels, int64_t step,
         LinearCrossEntropyOut& out)
      : device_(device),
        x_(x),
        weight_(weight),
        labels_(labels),
        step_(step),
        out_(out),
        classes_(weight.dim(0)),
        columns_(weight.dim(1)),
        gradient_(out.drows.defined() || out.dweight.defined()) {
    logits_ = Tensor::empty({step, classes_}, DType::kF32, device_of(device), kName);
    dlogits_ = logits_;
    if (gradient_ && dtype_of<T> != DType::kF32)
      dlogits_ = Tensor::empty({step, classes_}, dtype_of<T>, device_of(device), kName);
    losses_ = Tensor::empty({1, x.dim(0)}, DType::kF32, device_of(device), kName);
  }

  Tensor run_all() {
    for (int64_t begin = 0; begin < x_.dim(0); begin += step_)
      run_one(begin, std::min(step_, x_.dim(0) - begin));
    return losses_;
  }

 private:
  void run_one(int64_t begin, int64_t n) {
    const DeviceMatrix x = rows_at(x_, begin), w = rows_at(weight_, 0);
    run(device_, {dtype_of<T>, DType::kF32, n, classes_, columns_, 1, x, transposed(w),
                  logits_.mutable_raw(kName)});
    launch(kName, device_.index, losses_kernel<T>, row_shape<float>(device_.index, n, classes_),
           logits_.data<float>(), labels_.data<int64_t>() + begin, n, classes_,
           losses_.mutable_data<float>(kName) + begin,
           gradient_ ? dlogits_.mutable_data<T>(kName) : nullptr);
    const DeviceMatrix dlogits = rows_at(dlogits_, 0);
    if (out_.drows.defined())
      run(device_, {dtype_of<T>, DType::kF32, n, columns_, classes_, 1, dlogits, w,
                    out_.drows.mutable_data<float>(kName) + begin * columns_});
    if (out_.dweight.defined())
      run(device_, {dtype_of<T>, DType::kF32, classes_, columns_, n, 1, transposed(dlogits), x,
                    out_.dweight.mutable_raw(kName), nullptr, begin > 0});
  }

  OnCuda device_;
  const Tensor &x_, &weight_, &labels_;
  int64_t step_;
  LinearCrossEntropyOut& out_;
  int64_t classes_, columns_;
  bool gradient_;
  Tensor logits_, dlogits_, losses_;
};

}  // namespace

LinearCrossEntropyOut linear_cross_entropy_forward(OnCuda device, const Tensor& x,
                                                   const Tensor& weight_any, const Tensor& labels,
                                                   int64_t ignore, int64_t chunk, bool need_dx,
                                                   bool need_dweight) {
  check_same_device(kName, device, {&x, &weight_any});
  check<DTypeError>(weight_any.dtype() == x.dtype() ||
                        (x.dtype() == DType::kF32 && weight_any.dtype() == DType::kBF16),
                    "{}: weight must be {} (as x), got {}", kName, dtype_name(x.dtype()),
                    dtype_name(weight_any.dtype()));
  const Tensor weight = weight_any.to(x.dtype()).contiguous();
  const int64_t columns = x.dim(1), classes = weight.dim(0);
  std::vector<int64_t> rows, targets;
  const auto all_labels = checked_labels(kName, labels, x.dim(0), classes, ignore);
  for (size_t i = 0; i < all_labels.size(); ++i)
    if (all_labels[i] != ignore) {
      rows.push_back(static_cast<int64_t>(i));
      targets.push_back(all_labels[i]);
    }
  const int64_t count = static_cast<int64_t>(rows.size());
  LinearCrossEntropyOut out;
  out.count = count;
  out.rows = Tensor::from(rows, {count}).to(device_of(device));
  const Tensor there = Tensor::from(targets, {count}).to(device_of(device));
  if (need_dx) out.drows = Tensor::empty({count, columns}, DType::kF32, device_of(device), kName);
  if (need_dweight && count > 0)
    out.dweight = Tensor::empty({classes, columns}, DType::kF32, device_of(device), kName);
  if (count == 0) {
    out.loss = Tensor::zeros({}, DType::kF32, device_of(device), kName);
    return out;
  }
  const Tensor input = gathered_rows(kName, device, x.contiguous(), out.rows);
  const int64_t step = std::min(count, chunk > 0 ? chunk : linear_cross_entropy_chunk(classes));
  on_cuda_float(kName, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Tensor losses = Chunks<T>(device, input, weight, there, step, out).run_all();
    out.loss = totals<float>(kName, device, losses).to(DType::kF32).view_as({});
  });
  return out;
}

Tensor scatter_scaled_rows(OnCuda device, const Tensor& rows, const Tensor& ids, int64_t total,
                           double factor, DType dtype) {
  check_same_device(kName, device, {&rows, &ids});
  const int64_t columns = rows.dim(1), count = rows.dim(0);
  Tensor out = Tensor::zeros({total, columns}, dtype, device_of(device), kName);
  on_cuda_float(kName, dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (rows.numel() > 0)
      launch("scatter_scaled_rows", device.index, scatter_kernel<T>,
             grid_for(device.index, count, 1), rows.data<float>(), ids.data<int64_t>(), count,
             columns, static_cast<float>(factor), out.mutable_data<T>(kName));
  });
  return out;
}

}  // namespace ocellus
