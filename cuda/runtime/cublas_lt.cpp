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

// Handle, workspace and chosen algorithms of one GPU. All products go to one stream, so one
// workspace serves them.
struct LtState {
  cublasLtHandle_t handle = nullptr;
  Memory workspace;
  std::map<std::array<int64_t, 12>, cublasLtMatmulAlgo_t> algorithms;
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
    case DType::kF64: return CUDA_R_64F;
    case DType::kF32: return CUDA_R_32F;
    case DType::kBF16: return CUDA_R_16BF;
    default: fail<DTypeError>("product: dtype must be f32, bf16 or f64, got {}", dtype_name(dtype));
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

Layout make_layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t step) {
  cublasLtMatrixLayout_t layout = nullptr;
  LT_CHECK(cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows),
                                      static_cast<uint64_t>(columns), step));
  return Layout(layout);
}

template <class T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  LT_CHECK(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof(value)));
}

// The largest power of two up to 256 that divides the address: algorithms rely on it, and a view of a
// tensor may begin anywhere.
uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  uint32_t alignment = 256;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

template <class T>
void prefer(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  LT_CHECK(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)));
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

DeviceMatrix device_matrix(Tensor& m) {
  auto gapless = [](const Tensor& t) {
    return (t.dim(1) == 1 || t.strides()[1] == 1) && t.strides()[0] >= t.dim(1);
  };
  if (gapless(m)) return {m.raw(), m.strides()[0], false};
  const Tensor flipped = m.transposed(0, 1);
  if (gapless(flipped)) return {m.raw(), flipped.strides()[0], true};
  m = m.contiguous();
  return {m.raw(), std::max<int64_t>(1, m.dim(1)), false};
}

// cuBLASLt thinks in columns: row-major C is column-major Cᵀ = Bᵀ·Aᵀ, and a row-major B read by
// columns is Bᵀ already. So B goes first, m and n change places, and the bias runs along its rows.
void product(OnCuda device, DType dtype, int64_t m, int64_t n, int64_t k, const DeviceMatrix& a,
             const DeviceMatrix& b, void* c, const void* bias, bool accumulate) {
  const DeviceGuard guard(device.index);
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  LtState& state = state_of(device.index);

  const cudaDataType_t type = cuda_type(dtype);
  const bool wide = dtype == DType::kF64;
  cublasLtMatmulDesc_t raw = nullptr;
  LT_CHECK(cublasLtMatmulDescCreate(&raw, wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                    wide ? CUDA_R_64F : CUDA_R_32F));
  const Operation operation(raw);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (bias) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(type));
  }
  const Layout first = b.transposed ? make_layout(type, k, n, b.step) : make_layout(type, n, k, b.step);
  const Layout second =
      a.transposed ? make_layout(type, m, k, a.step) : make_layout(type, k, m, a.step);
  const Layout out = make_layout(type, n, m, n);

  const std::array<uint32_t, 3> alignment{alignment_of(b.data), alignment_of(a.data),
                                          alignment_of(c)};
  const int64_t flags = a.transposed + 2 * b.transposed + 4 * (bias != nullptr) + 8 * accumulate;
  const std::array<int64_t, 12> key{m, n, k, a.step, b.step, static_cast<int64_t>(dtype), flags,
                                    alignment[0], alignment[1], alignment[2],
                                    bias ? alignment_of(bias) : 0, 0};
  auto found = state.algorithms.find(key);
  if (found == state.algorithms.end()) {
    const Preference preference = make_preference(alignment);
    cublasLtMatmulHeuristicResult_t best{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        state.handle, operation.get(), first.get(), second.get(), out.get(), out.get(),
        preference.get(), 1, &best, &count);
    check<Error>(status == CUBLAS_STATUS_SUCCESS && count > 0,
                 "product: cuBLASLt has no algorithm for [{}, {}]·[{}, {}] {}: {}", m, k, k, n,
                 dtype_name(dtype), cublasLtGetStatusString(status));
    found = state.algorithms.emplace(key, best.algo).first;
  }

  const double alpha64 = 1, beta64 = accumulate ? 1 : 0;
  const float alpha32 = 1, beta32 = accumulate ? 1 : 0;
  const void* alpha = wide ? static_cast<const void*>(&alpha64) : &alpha32;
  const void* beta = wide ? static_cast<const void*>(&beta64) : &beta32;
  LT_CHECK(cublasLtMatmul(state.handle, operation.get(), alpha, b.data, first.get(), a.data,
                          second.get(), beta, c, out.get(), c, out.get(), &found->second,
                          state.workspace.data(), kWorkspace, current_stream(device.index)));
  after_launch("product", device.index);
}

}  // namespace ocellus
