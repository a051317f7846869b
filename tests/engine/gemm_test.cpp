#include "engine/cpu/gemm/gemm.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/check.h"
#include "engine/parallel.h"

using namespace ocellus;

namespace {

struct Threads {
  explicit Threads(int n) : before(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
  int before;
};

struct Backend {
  explicit Backend(MatmulBackend chosen) : before(matmul_backend()) { set_matmul_backend(chosen); }
  ~Backend() { set_matmul_backend(before); }
  MatmulBackend before;
};

// An m × n matrix in a heap block that ends with its last element, so that ASan sees any read or
// write past it. Layout: row-major, column-major (what a transposed operand is), or every stride
// apart.
enum Layout { kRows, kColumns, kApart };

template <class T>
struct Matrix {
  Matrix(int64_t rows, int64_t columns, Layout layout, uint32_t seed) {
    const int64_t gap = layout == kApart ? 3 : 0;
    row_stride = layout == kColumns ? 1 : layout == kRows ? columns : 2 * columns + gap;
    column_stride = layout == kColumns ? rows : layout == kRows ? 1 : 2;
    size =
        rows == 0 || columns == 0 ? 0 : (rows - 1) * row_stride + (columns - 1) * column_stride + 1;
    data = std::make_unique<T[]>(static_cast<size_t>(size));
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (int64_t i = 0; i < size; ++i) data[i] = static_cast<T>(uniform(random));
  }
  AccT<T> at(int64_t i, int64_t j) const {
    return static_cast<AccT<T>>(data[i * row_stride + j * column_stride]);
  }
  Operand<T> operand() const { return {data.get(), row_stride, column_stride}; }
  int64_t row_stride, column_stride, size;
  std::unique_ptr<T[]> data;
};

bool fuses() { return std::string_view(gemm_kernel_name()) != "sse2"; }

// The definition: three loops of std::fma over K blocks of at most 384, all of about the same
// length.
template <class T, class MA, class MB>
T element(const MA& a, const MB& b, int64_t i, int64_t j, int64_t k_count, T c, bool accumulate) {
  const int64_t blocks = (k_count + 383) / 384;
  const int64_t length = blocks == 0 ? 1 : (k_count + blocks - 1) / blocks;
  for (int64_t first = 0; first < k_count; first += length) {
    T sum = 0;
    for (int64_t k = first; k < std::min(first + length, k_count); ++k) {
      const volatile T product =
          a.at(i, k) * b.at(k, j);  // volatile: must not be fused by the compiler
      sum = fuses() ? std::fma(a.at(i, k), b.at(k, j), sum) : sum + product;
    }
    c = accumulate || first > 0 ? c + sum : sum;
  }
  return k_count == 0 && !accumulate ? T(0) : c;
}

template <class T>
bool same_bits(T x, T y) {
  return std::memcmp(&x, &y, sizeof(T)) == 0;
}

struct Case {
  int64_t m, n, k;
};

// Runs one product and counts the elements that differ from the definition in any bit, the columns
// between N and ldc included.
template <class TA, class TB, class TC>
int64_t wrong_elements(Case size, Layout layout_a, Layout layout_b, bool accumulate,
                       bool with_epilogue) {
  using T = AccT<TC>;
  const auto [m, n, k] = size;
  const int64_t ldc = n + (accumulate ? 3 : 0);
  const Matrix<TA> a(m, k, layout_a, 1);
  const Matrix<TB> b(k, n, layout_b, 2);
  Matrix<TC> c(m, ldc, kRows, 3);
  const Matrix<TC> before(m, ldc, kRows, 3);
  const Matrix<T> bias(1, n, kRows, 4);
  Epilogue<T> epilogue;
  if (with_epilogue) {
    epilogue.bias = bias.data.get();
    // Depends on the place, so that a wrong row or column shows.
    epilogue.apply = [](void*, T* block, int64_t stride, int64_t row, int64_t rows, int64_t column,
                        int64_t columns) {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j)
          block[i * stride + j] *= static_cast<T>(1 + (row + i) % 2 + 2 * ((column + j) % 2));
    };
  }
  gemm(m, n, k, a.operand(), b.operand(), c.data.get(), ldc, accumulate, epilogue);
  int64_t wrong = 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < ldc; ++j) {
      TC expected = before.data[i * ldc + j];
      if (j < n) {
        T value = element<T>(a, b, i, j, k, static_cast<T>(expected), accumulate);
        if (with_epilogue)
          value = (value + bias.at(0, j)) * static_cast<T>(1 + i % 2 + 2 * (j % 2));
        expected = TC(value);
      }
      if (!same_bits(expected, c.data[i * ldc + j])) ++wrong;
    }
  return wrong;
}

const std::vector<Case> kCases = {
    {1, 1, 1},     {1, 1, 400},   {1, 37, 19},   {1, 130, 500}, {2, 16, 8},   {3, 5, 7},
    {5, 33, 64},   {6, 16, 384},  {7, 17, 385},  {8, 8, 8},     {9, 15, 31},  {13, 31, 770},
    {14, 32, 16},  {64, 32, 64},  {29, 47, 129}, {131, 70, 20}, {200, 3, 40}, {300, 1, 50},
    {81, 100, 33}, {260, 270, 3}, {40, 20, 801}};

}  // namespace

TEST_CASE("gemm: bit-equal to three loops of fma, all layouts, f32 and f64") {
  for (const auto& size : kCases)
    for (Layout a : {kRows, kColumns, kApart})
      for (Layout b : {kRows, kColumns, kApart}) {
        CAPTURE(size.m);
        CAPTURE(size.n);
        CAPTURE(size.k);
        CAPTURE(a);
        CAPTURE(b);
        CHECK(wrong_elements<float, float, float>(size, a, b, false, false) == 0);
        CHECK(wrong_elements<double, double, double>(size, a, b, false, false) == 0);
        CHECK(wrong_elements<float, float, float>(size, a, b, true, true) == 0);
        CHECK(wrong_elements<double, double, double>(size, a, b, true, true) == 0);
      }
}

TEST_CASE("gemm: bf16 operands are widened exactly, a bf16 result is rounded once") {
  for (const auto& size : kCases)
    for (Layout a : {kRows, kColumns, kApart})
      for (Layout b : {kRows, kColumns, kApart}) {
        CAPTURE(size.m);
        CAPTURE(size.n);
        CAPTURE(size.k);
        CHECK(wrong_elements<bf16, bf16, float>(size, a, b, false, false) == 0);
        CHECK(wrong_elements<bf16, bf16, bf16>(size, a, b, true, true) == 0);
        CHECK(wrong_elements<float, bf16, float>(size, a, b, true, false) == 0);
        CHECK(wrong_elements<bf16, float, bf16>(size, a, b, false, true) == 0);
        CHECK(wrong_elements<float, float, bf16>(size, a, b, false, false) == 0);
        CHECK(wrong_elements<float, bf16, bf16>(size, a, b, false, false) == 0);
        CHECK(wrong_elements<bf16, float, float>(size, a, b, false, false) == 0);
      }
}

TEST_CASE("gemm: a broadcast operand has stride 0") {
  const std::vector<float> a{1, 2, 3}, b{10, 20, 30};
  std::vector<float> c(20);
  gemm(5, 4, 3, Operand<float>{a.data(), 0, 1}, Operand<float>{b.data(), 1, 0}, c.data(), 4);
  for (float value : c) CHECK(value == 140.0f);
}

TEST_CASE("gemm: an empty K gives zeros or leaves C, then the epilogue; an empty C is left alone") {
  for (bool accumulate : {false, true})
    for (bool epilogue : {false, true}) {
      CHECK(wrong_elements<float, float, float>({5, 9, 0}, kRows, kRows, accumulate, epilogue) ==
            0);
      CHECK(wrong_elements<float, float, bf16>({5, 9, 0}, kRows, kRows, accumulate, epilogue) == 0);
      CHECK(wrong_elements<double, double, double>({0, 9, 4}, kRows, kRows, accumulate, epilogue) ==
            0);
      CHECK(wrong_elements<float, float, float>({5, 0, 4}, kRows, kRows, accumulate, epilogue) ==
            0);
    }
}

TEST_CASE("gemm: 1, 2 and 5 threads, a split of M, and a call inside a loop give the same bits") {
  for (const auto& [m, n, k] : std::vector<Case>{{517, 300, 450}, {1280, 128, 128}, {3, 5000, 300}})
    for (Layout a_layout : {kRows, kColumns})
      for (Layout b_layout : {kRows, kColumns}) {
        const Matrix<float> a(m, k, a_layout, 5), b(k, n, b_layout, 6);
        const auto product = [&](int threads) {
          const Threads use(threads);
          std::vector<float> c(m * n);
          gemm(m, n, k, a.operand(), b.operand(), c.data(), n);
          return c;
        };
        const auto one = product(1);
        CHECK(product(2) == one);
        CHECK(product(5) == one);
        std::vector<float> split(m * n), nested(m * n);
        const auto rows = [&](int64_t begin, int64_t end, std::vector<float>& c) {
          Operand<float> part = a.operand();
          part.data += begin * part.row_stride;
          gemm(end - begin, n, k, part, b.operand(), c.data() + begin * n, n);
        };
        for (int64_t i = 0; i < m; i += 101) rows(i, std::min(i + 101, m), split);
        CHECK(split == one);
        const Threads use(3);
        parallel_for(m, 77, [&](int64_t begin, int64_t end) { rows(begin, end, nested); });
        CHECK(nested == one);
      }
}

TEST_CASE("gemm: a row computed alone has the bits that it has in a batch") {
  if (matmul_backend() != MatmulBackend::kOwn) return;
  const int64_t m = 40, n = 576, k = 500;
  for (Layout b_layout : {kRows, kColumns}) {
    const Matrix<float> a(m, k, kRows, 5), b(k, n, b_layout, 6);
    std::vector<float> batch(m * n), alone(m * n);
    gemm(m, n, k, a.operand(), b.operand(), batch.data(), n);
    for (int64_t i = 0; i < m; ++i) {
      Operand<float> row = a.operand();
      row.data += i * k;
      gemm(1, n, k, row, b.operand(), alone.data() + i * n, n);
    }
    CHECK(alone == batch);
  }
}

TEST_CASE("gemm: two callers at once both get their product") {
  const Threads use(2);
  const int64_t m = 200, n = 180, k = 150;
  const Matrix<float> a(m, k, kRows, 7), b(k, n, kColumns, 8);
  std::vector<float> expected(m * n);
  gemm(m, n, k, a.operand(), b.operand(), expected.data(), n);
  int wrong[2] = {0, 0};
  const auto caller = [&](int which) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::vector<float> c(m * n);
      gemm(m, n, k, a.operand(), b.operand(), c.data(), n);
      wrong[which] += c != expected;
    }
  };
  std::thread other(caller, 1);
  caller(0);
  other.join();
  CHECK(wrong[0] == 0);
  CHECK(wrong[1] == 0);
}

TEST_CASE("gemm: the back end eigen agrees with the own one, and with itself on any threads") {
  for (const auto& [m, n, k] : kCases)
    for (Layout a_layout : {kRows, kColumns, kApart})
      for (Layout b_layout : {kRows, kColumns, kApart}) {
        const Matrix<float> a(m, k, a_layout, 9), b(k, n, b_layout, 10), bias(1, n, kRows, 11);
        const auto product = [&](MatmulBackend backend, int threads) {
          const Backend chosen(backend);
          const Threads use(threads);
          Matrix<float> c(m, n, kRows, 12);
          gemm(m, n, k, a.operand(), b.operand(), c.data.get(), n, true,
               Epilogue<float>{.bias = bias.data.get()});
          return c;
        };
        const auto one = product(MatmulBackend::kEigen, 1);
        const auto three = product(MatmulBackend::kEigen, 3);
        CHECK(std::memcmp(one.data.get(), three.data.get(), m * n * sizeof(float)) == 0);
        if (gemm_kernel_name() == std::string_view("eigen")) continue;
        const auto own = product(MatmulBackend::kOwn, 2);
        double largest = 0;
        for (int64_t i = 0; i < m * n; ++i)
          largest = std::max(largest, std::abs(double(own.data[i]) - double(one.data[i])));
        CHECK(largest <= 1e-7 * (10 + static_cast<double>(k)));
      }
}

TEST_CASE("gemm: eigen takes f64 and bf16, accumulates, and honours the epilogue") {
  const Backend chosen(MatmulBackend::kEigen);
  // Small integers: every order of adding is exact.
  const int64_t m = 20, n = 300, k = 40;
  std::vector<double> a(m * k), b(k * n), c(m * n, 5), bias(n, 7);
  for (int64_t i = 0; i < m * k; ++i) a[i] = static_cast<double>(i % 7 - 3);
  for (int64_t i = 0; i < k * n; ++i) b[i] = static_cast<double>(i % 5 - 2);
  const std::vector<bf16> a_low(a.begin(), a.end());
  std::vector<bf16> b_low(b.begin(), b.end()), c_low(m * n, bf16(5.0f));
  const std::vector<float> bias_low(n, 7);
  gemm(m, n, k, Operand<double>{a.data(), k, 1}, Operand<double>{b.data(), n, 1}, c.data(), n, true,
       Epilogue<double>{.bias = bias.data()});
  gemm(m, n, k, Operand<bf16>{a_low.data(), k, 1}, Operand<bf16>{b_low.data(), n, 1}, c_low.data(),
       n, true, Epilogue<float>{.bias = bias_low.data()});
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 12;
      for (int64_t l = 0; l < k; ++l) sum += a[i * k + l] * b[l * n + j];
      CHECK(c[i * n + j] == sum);
      CHECK(c_low[i * n + j].bits == bf16(sum).bits);
    }
}

TEST_CASE("gemm: wrong arguments are named") {
  const auto message_of = [](int64_t m, int64_t n, int64_t k, int64_t ldc) {
    float value = 0;
    const Operand<float> operand{&value, 1, 1};
    try {
      gemm(m, n, k, operand, operand, &value, ldc);
    } catch (const ShapeError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(message_of(1, -1, 1, 1) == "gemm: M, N and K must not be negative, got 1 x -1 x 1");
  CHECK(message_of(1, 4, 1, 3) == "gemm: ldc must be at least N = 4, got 3");
}

TEST_CASE("gemm: OCELLUS_KERNEL chooses the kernel, and every kernel of this processor is right") {
#if defined(__x86_64__)
  if (const char* role = std::getenv("OCELLUS_GEMM_TEST_CHILD")) {
    std::string seen;
    try {
      seen = gemm_kernel_name();
      for (const auto& size : kCases)
        for (Layout a : {kRows, kColumns})
          for (Layout b : {kRows, kColumns})
            if (wrong_elements<float, float, float>(size, a, b, true, true) +
                    wrong_elements<double, double, double>(size, a, b, false, false) +
                    wrong_elements<bf16, float, bf16>(size, a, b, false, false) !=
                0)
              seen = "wrong elements";
    } catch (const UsageError& error) {
      seen = error.what();
    }
    std::_Exit(seen == role ? 0 : 1);
  }
  const auto child = [](const std::string& kernel, const std::string& expected) {
    const std::string command = "OCELLUS_GEMM_TEST_CHILD='" + expected + "' OCELLUS_KERNEL='" +
                                kernel + "' /proc/" + std::to_string(getpid()) +
                                "/exe '--test-case=gemm: OCELLUS_KERNEL*' > /dev/null 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  };
  CHECK(child("sse2", "sse2"));
  CHECK(child("neon", "OCELLUS_KERNEL must be sse2, avx2 or avx512, got \"neon\""));
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  CHECK(child("avx2", has_avx2 ? "avx2"
                               : "OCELLUS_KERNEL is \"avx2\", which this processor does not have"));
  CHECK(child("avx512", has_avx512
                            ? "avx512"
                            : "OCELLUS_KERNEL is \"avx512\", which this processor does not have"));
#endif
}
