// The products of runtime/cublas_lt.h for the emulator, where there is no cuBLASLt: plain loops,
// with the reads and writes that the library is entitled to.
#include "cuda/runtime/cublas_lt.h"

#include "cuda/simt/shadow.h"
#include "engine/dispatch.h"

namespace ocellus {
namespace {

// One matrix of an operand as [rows, columns], whatever its storage; checks all that it may read.
template <class T>
class Operand {
 public:
  Operand(const DeviceMatrix& m, int64_t index, int64_t rows, int64_t columns)
      : data_(static_cast<const T*>(m.data) + index * m.batch_step),
        row_step_(m.transposed ? 1 : m.step),
        column_step_(m.transposed ? m.step : 1) {
    const int64_t stored = m.transposed ? columns : rows, width = m.transposed ? rows : columns;
    for (int64_t i = 0; i < stored; ++i)
      simt::host_reads(data_ + i * m.step, static_cast<size_t>(width) * sizeof(T), "product");
  }
  float at(int64_t row, int64_t column) const {
    return static_cast<float>(data_[row * row_step_ + column * column_step_]);
  }

 private:
  const T* data_;
  int64_t row_step_, column_step_;
};

template <class In, class Out>
void multiply(const Product& p, int64_t index) {
  const Operand<In> a(p.a, index, p.m, p.k), b(p.b, index, p.k, p.n);
  const Out* bias = static_cast<const Out*>(p.bias);
  Out* c = static_cast<Out*>(p.c) + index * p.m * p.n;
  const size_t bytes = static_cast<size_t>(p.m * p.n) * sizeof(Out);
  if (p.accumulate) simt::host_reads(c, bytes, "product");
  if (bias) simt::host_reads(bias, static_cast<size_t>(p.n) * sizeof(Out), "product");
  simt::host_writes(c, bytes, "product");
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      float sum = p.accumulate ? static_cast<float>(c[i * p.n + j]) : 0.0f;
      for (int64_t l = 0; l < p.k; ++l) sum += a.at(i, l) * b.at(l, j);
      if (bias) sum += static_cast<float>(bias[j]);
      c[i * p.n + j] = static_cast<Out>(sum);
    }
}

}  // namespace

void run(OnCuda, const Product& p) {
  on_dtype<f32, bf16>("product", p.in, [&](auto in) {
    on_dtype<f32, bf16>("product", p.out, [&](auto out) {
      for (int64_t i = 0; i < p.batch; ++i)
        multiply<typename decltype(in)::type, typename decltype(out)::type>(p, i);
    });
  });
}

}  // namespace ocellus
