#include "cuda/runtime/cublas_lt.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "cuda/runtime/context.h"

namespace ocellus {
namespace {

void check_lt(cublasStatus_t status, const char* call, int line) {
  check<Error>(status == CUBLAS_STATUS_SUCCESS, "{}: {} (cublas_lt.cpp:{})", call,
               cublasLtGetStatusString(status), line);
}
#define LT_CHECK(call) check_lt((call), #call, __LINE__)

constexpr size_t kWorkspace = size_t{32} << 20;  // what NVIDIA advises for sm_90

using Geometry = std::array<int64_t, 14>;  // what the choice of an algorithm depends on

// Handle, workspace and chosen algorithms of one GPU. All products go to one stream, so one
// workspace serves them.
struct LtState {
  cublasLtHandle_t handle = nullptr;
  Memory workspace;
  std::map<Geometry, cublasLtMatmulAlgo_t> algorithms;
};

LtState& state_of(int index) {
  static auto* states = new std::map<int, std::unique_ptr<LtState>>;
  auto& state = (*states)[index];
  if (!state) {
    auto made = std::make_unique<LtState>();
    made->workspace =
        allocator_of({DeviceType::kCuda, index})->allocate(kWorkspace, "cublasLt workspace");
    LT_CHECK(cublasLtCreate(&made->handle));
    state = std::move(made);
  }
  return *state;
}

cudaDataType_t cuda_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return CUDA_R_32F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      fail<DTypeError>("product: dtype must be f32 or bf16, got {}", dtype_name(dtype));
  }
}

// Owners of the three kinds of descriptors.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct Destroy {
  using pointer = Handle;
  void operator()(Handle handle) const { static_cast<void>(destroy(handle)); }
};
template <class Handle, cublasStatus_t (*destroy)(Handle)>
using Owner = std::unique_ptr<Handle, Destroy<Handle, destroy>>;
using Operation = Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

struct LayoutShape {
  cudaDataType_t type;
  int64_t rows, columns, step;  // column-major: `step` elements from one column to the next
  int64_t batch, batch_step;
};

Layout make_layout(const LayoutShape& s) {
  cublasLtMatrixLayout_t raw = nullptr;
  LT_CHECK(cublasLtMatrixLayoutCreate(&raw, s.type, static_cast<uint64_t>(s.rows),
                                      static_cast<uint64_t>(s.columns), s.step));
  Layout layout(raw);
  if (s.batch == 1) return layout;
  const int32_t count = static_cast<int32_t>(s.batch);
  LT_CHECK(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                            sizeof(count)));
  LT_CHECK(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                            &s.batch_step, sizeof(s.batch_step)));
  return layout;
}

template <class T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  LT_CHECK(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof(value)));
}

// The largest power of two up to 256 that divides the addresses of a batch: algorithms rely on it,
// and a view of a tensor may begin anywhere.
uint32_t alignment_of(const void* pointer, int64_t batch_bytes = 0) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | static_cast<uintptr_t>(batch_bytes);
  uint32_t alignment = 256;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

template <class T>
void prefer(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  LT_CHECK(
      cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)));
}

Preference make_preference(const std::array<uint32_t, 3>& alignment) {
  cublasLtMatmulPreference_t raw = nullptr;
  LT_CHECK(cublasLtMatmulPreferenceCreate(&raw));
  Preference preference(raw);
  prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment[0]);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment[1]);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment[2]);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment[2]);
  return preference;
}

}  // namespace

// cuBLASLt thinks in columns: row-major C is column-major Cᵀ = Bᵀ·Aᵀ, and a row-major B read by
// columns is Bᵀ already. So B goes first, m and n change places, and the bias runs along its rows.
void run(OnCuda device, const Product& p) {
  const DeviceGuard guard(device.index);
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  LtState& state = state_of(device.index);

  const cudaDataType_t in = cuda_type(p.in), out = cuda_type(p.out);
  cublasLtMatmulDesc_t raw = nullptr;
  LT_CHECK(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const Operation operation(raw);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, p.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, p.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (p.bias) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(out));
  }
  const auto stored = [&](const DeviceMatrix& x, int64_t rows, int64_t columns) {
    if (x.transposed) std::swap(rows, columns);
    return make_layout({in, columns, rows, x.step, p.batch, x.batch_step});
  };
  const Layout first = stored(p.b, p.k, p.n), second = stored(p.a, p.m, p.k);
  const Layout result = make_layout({out, p.n, p.m, p.n, p.batch, p.m * p.n});

  const int64_t in_size = dtype_size(p.in), out_size = dtype_size(p.out);
  const std::array<uint32_t, 3> alignment{
      alignment_of(p.b.data, p.b.batch_step * in_size),
      alignment_of(p.a.data, p.a.batch_step * in_size),
      alignment_of(p.c, p.batch > 1 ? p.m * p.n * out_size : 0)};
  const int64_t flags = p.a.transposed + 2 * p.b.transposed + 4 * (p.bias != nullptr) +
                        8 * p.accumulate + 16 * static_cast<int64_t>(p.in) +
                        256 * static_cast<int64_t>(p.out);
  const Geometry key{p.m,
                     p.n,
                     p.k,
                     p.a.step,
                     p.b.step,
                     flags,
                     p.batch,
                     p.a.batch_step,
                     p.b.batch_step,
                     alignment[0],
                     alignment[1],
                     alignment[2],
                     p.bias ? alignment_of(p.bias) : 0,
                     0};
  auto found = state.algorithms.find(key);
  if (found == state.algorithms.end()) {
    const Preference preference = make_preference(alignment);
    cublasLtMatmulHeuristicResult_t best{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        state.handle, operation.get(), first.get(), second.get(), result.get(), result.get(),
        preference.get(), 1, &best, &count);
    check<Error>(status == CUBLAS_STATUS_SUCCESS && count > 0,
                 "product: cuBLASLt has no algorithm for [{}, {}]·[{}, {}] {}: {}", p.m, p.k, p.k,
                 p.n, dtype_name(p.in), cublasLtGetStatusString(status));
    found = state.algorithms.emplace(key, best.algo).first;
  }

  const float alpha = 1, beta = p.accumulate ? 1 : 0;
  LT_CHECK(cublasLtMatmul(state.handle, operation.get(), &alpha, p.b.data, first.get(), p.a.data,
                          second.get(), &beta, p.c, result.get(), p.c, result.get(), &found->second,
                          state.workspace.data(), kWorkspace, current_stream(device.index)));
  after_launch("product", device.index);
}

}  // namespace ocellus
