#include "engine/cpu/gemm/gemm.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "engine/check.h"
#include "engine/cpu/gemm/driver.h"
#include "engine/cpu/gemm/product.h"
#include "engine/cpu/gemm/select.h"

namespace ocellus {
namespace {

using namespace gemm_detail;

MatmulBackend default_backend() {
#if defined(__x86_64__)
  return MatmulBackend::kOwn;
#else
  return MatmulBackend::kEigen;
#endif
}

std::atomic<MatmulBackend> backend{default_backend()};

const KernelSet<float>& kernel_set(float) { return kernels()->f32; }
const KernelSet<double>& kernel_set(double) { return kernels()->f64; }

// A product of nothing: zeros or what was there, then the epilogue.
template <class TA, class TB, class TC>
void multiply_empty(const Product<TA, TB, TC>& p) {
  using T = AccT<TC>;
  const Region all{0, p.m, 0, p.n};
  const auto clear = [&](auto* c, int64_t ldc) {
    for (int64_t i = 0; i < p.m && !p.accumulate; ++i) std::fill_n(c + i * ldc, p.n, T(0));
  };
  if constexpr (std::is_same_v<TC, T>) {
    clear(p.c, p.ldc);
    apply_epilogue(p.epilogue, p.c, p.ldc, all);
  } else {
    for_each_rounded_part(p, all, [&](const Region& part, T* c, int64_t ldc) {
      for (int64_t i = 0; i < part.rows && !p.accumulate; ++i)
        std::fill_n(c + i * ldc, part.columns, T(0));
      apply_epilogue(p.epilogue, c, ldc, part);
    });
  }
}

}  // namespace

namespace gemm_detail {

int64_t l2_bytes() {
  static const int64_t bytes = [] {
    const int64_t reported = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return reported > 0 ? reported : int64_t{512} << 10;
  }();
  return bytes;
}

Grid make_grid(int64_t row_tiles, int64_t column_tiles, int64_t tile_rows, int64_t tile_columns,
               int64_t tasks, int threads) {
  // In FLOP per k: two for an element of C, about twelve to pack one of A or B.
  constexpr double kPack = 12;
  Grid best{1, 1};
  double lowest = 0;
  for (int64_t r = 1; r <= std::min(tasks, row_tiles); ++r) {
    const int64_t c = std::min((tasks + r - 1) / r, column_tiles);
    const int64_t rounds = (r * c + threads - 1) / threads;
    const auto height = static_cast<double>((row_tiles + r - 1) / r * tile_rows);
    const auto width = static_cast<double>((column_tiles + c - 1) / c * tile_columns);
    const double cost =
        static_cast<double>(rounds) * (2 * height * width + kPack * (height + width));
    if (r == 1 || cost < lowest) {
      lowest = cost;
      best = {r, c};
    }
  }
  return best;
}

}  // namespace gemm_detail

template <class TA, class TB, class TC>
void gemm(int64_t m, int64_t n, int64_t k, Operand<TA> a, Operand<TB> b, TC* c, int64_t ldc,
          bool accumulate, const Epilogue<AccT<TC>>& epilogue) {
  check<ShapeError>(m >= 0 && n >= 0 && k >= 0,
                    "gemm: M, N and K must not be negative, got {} x {} x {}", m, n, k);
  check<ShapeError>(ldc >= n, "gemm: ldc must be at least N = {}, got {}", n, ldc);
  if (m == 0 || n == 0) return;
  const Product<TA, TB, TC> product{m, n, k, a, b, c, ldc, accumulate, epilogue};
  if (k == 0)
    multiply_empty(product);
  else if (backend.load(std::memory_order_relaxed) == MatmulBackend::kEigen)
    multiply_with_eigen(product);
  else
    multiply(kernel_set(AccT<TC>()), product);
}

#define GEMM(TA, TB, TC)                                                                      \
  template void gemm(int64_t, int64_t, int64_t, Operand<TA>, Operand<TB>, TC*, int64_t, bool, \
                     const Epilogue<AccT<TC>>&);
GEMM(double, double, double)
GEMM(float, float, float)
GEMM(float, float, bf16)
GEMM(float, bf16, float)
GEMM(float, bf16, bf16)
GEMM(bf16, float, float)
GEMM(bf16, float, bf16)
GEMM(bf16, bf16, float)
GEMM(bf16, bf16, bf16)
#undef GEMM

void set_matmul_backend(MatmulBackend chosen) {
  check<UsageError>(chosen == MatmulBackend::kEigen || kernels() != nullptr,
                    "set_matmul_backend: this processor has only the back end eigen, got own");
  backend.store(chosen, std::memory_order_relaxed);
}

MatmulBackend matmul_backend() { return backend.load(std::memory_order_relaxed); }

}  // namespace ocellus
