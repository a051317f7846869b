#include "engine/kernels/linear.h"

#include <algorithm>

#include "engine/cpu/strided_loop.h"
#include "engine/cpu/tensor_gemm.h"

namespace ocellus {

Tensor linear_forward(OnCpu, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor rows = as_rows(x);
  const int64_t n = rows.dim(0), in = rows.dim(1), out = weight.dim(0);
  Tensor y = Tensor::empty(x.shape().with(-1, out), x.dtype(), kCpu, "linear");
  on_product("linear", x.dtype(), weight.dtype(), [&](auto x_tag, auto weight_tag) {
    using TX = typename decltype(x_tag)::type;
    using TW = typename decltype(weight_tag)::type;
    using A = AccT<TX>;
    const Tensor offset = bias.defined() ? bias.to(dtype_of<A>).contiguous() : Tensor();
    Epilogue<A> epilogue;
    if (offset.defined()) epilogue.bias = offset.data<A>();
    gemm(n, out, in, operand<TX>(rows), operand<TW>(weight).transposed(),
         y.mutable_data<TX>("linear"), out, false, epilogue);
  });
  return y;
}

Tensor linear_backward_input(OnCpu, const Tensor& dy, const Tensor& weight) {
  const Tensor rows = as_rows(dy);
  const int64_t in = weight.dim(1);
  Tensor dx = Tensor::empty(dy.shape().with(-1, in), dy.dtype(), kCpu, "linear");
  on_product("linear", dy.dtype(), weight.dtype(), [&](auto x_tag, auto weight_tag) {
    using TX = typename decltype(x_tag)::type;
    using TW = typename decltype(weight_tag)::type;
    gemm(rows.dim(0), in, rows.dim(1), operand<TX>(rows), operand<TW>(weight),
         dx.mutable_data<TX>("linear"), in);
  });
  return dx;
}

Tensor linear_backward_weight(OnCpu, const Tensor& dy, const Tensor& x, DType dtype) {
  const Tensor dy_rows = as_rows(dy), x_rows = as_rows(x);
  const int64_t out = dy_rows.dim(1), in = x_rows.dim(1);
  Tensor dweight = Tensor::empty({out, in}, dtype, kCpu, "linear");
  on_product("linear", dy.dtype(), dtype, [&](auto x_tag, auto weight_tag) {
    using TX = typename decltype(x_tag)::type;
    using TW = typename decltype(weight_tag)::type;
    gemm(out, in, x_rows.dim(0), operand<TX>(dy_rows).transposed(), operand<TX>(x_rows),
         dweight.mutable_data<TW>("linear"), in);
  });
  return dweight;
}

namespace {

// Rows of a block of partial sums. Fixed, so that the sums do not depend on the threads; short, so
// that no f32 accumulator takes in more than this many terms.
constexpr int64_t kRowBlock = 256;

template <class T>
void column_sums(const Tensor& rows, AccT<T>* sums) {
  using A = AccT<T>;
  const int64_t n = rows.dim(0), columns = rows.dim(1);
  const int64_t row_step = rows.strides()[0], column_step = rows.strides()[1];
  const int64_t blocks = (n + kRowBlock - 1) / kRowBlock;
  std::vector<A> partial(static_cast<size_t>(blocks * columns), A(0));
  const T* from = rows.data<T>();
  const int64_t grain =
      std::max<int64_t>(1, 2 * kChunkElements / std::max<int64_t>(1, kRowBlock * columns));
  parallel_for(blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      A* sum = partial.data() + block * columns;
      for (int64_t i = block * kRowBlock; i < std::min(n, (block + 1) * kRowBlock); ++i) {
        const T* row = from + i * row_step;
        if (column_step == 1) {
#pragma omp simd
          for (int64_t j = 0; j < columns; ++j) sum[j] += static_cast<A>(row[j]);
        } else {
          for (int64_t j = 0; j < columns; ++j) sum[j] += static_cast<A>(row[j * column_step]);
        }
      }
    }
  });
  std::fill_n(sums, columns, A(0));
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t j = 0; j < columns; ++j) sums[j] += partial[block * columns + j];
}

}  // namespace

Tensor linear_backward_bias(OnCpu, const Tensor& dy, DType dtype) {
  const Tensor rows = as_rows(dy);
  const DType wide = dy.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  Tensor sums = Tensor::empty({rows.dim(1)}, wide, kCpu, "linear");
  on_float("linear", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    column_sums<T>(rows, sums.mutable_data<AccT<T>>("linear"));
  });
  return sums.to(dtype);
}

}  // namespace ocellus
