#include "cuda/simt/tensor_core.h"

#include "cuda/simt/report.h"
#include "cuda/simt/schedule.h"
#include "cuda/simt/shadow.h"
#include "engine/dtype.h"

namespace ocellus::simt {
namespace {

constexpr unsigned kAll = 0xffffffffu;

struct LoadArgument {
  uint32_t* out;
  const uint16_t* row;
  bool transposed;
};

void load_all(void* const (&arguments)[32], unsigned) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    auto& mine = *static_cast<LoadArgument*>(arguments[lane]);
    for (unsigned i = 0; i < 4; ++i) {
      uint16_t pair[2];
      for (unsigned e = 0; e < 2; ++e) {
        const unsigned row = lane / 4, column = 2 * (lane % 4) + e;
        const unsigned r = mine.transposed ? column : row, c = mine.transposed ? row : column;
        pair[e] = static_cast<LoadArgument*>(arguments[i * 8 + r])->row[c];
      }
      mine.out[i] = pair[0] | static_cast<uint32_t>(pair[1]) << 16;
    }
  }
}

double element(uint32_t word, unsigned half) {
  bf16 value;
  value.bits = static_cast<uint16_t>(half ? word >> 16 : word);
  return static_cast<double>(static_cast<float>(value));
}

struct MultiplyArgument {
  float* c;
  const uint32_t* a;
  uint32_t b[2];
};

void multiply_all(void* const (&arguments)[32], unsigned) {
  double a[16][16], b[16][8];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const auto& from = *static_cast<MultiplyArgument*>(arguments[lane]);
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned half = 0; half < 2; ++half) {
      for (unsigned i = 0; i < 4; ++i)
        a[g + i % 2 * 8][2 * t + i / 2 * 8 + half] = element(from.a[i], half);
      for (unsigned i = 0; i < 2; ++i) b[2 * t + i * 8 + half][g] = element(from.b[i], half);
    }
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned g = lane / 4, t = lane % 4;
    float* c = static_cast<MultiplyArgument*>(arguments[lane])->c;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
      double sum = static_cast<double>(c[i]);
      for (unsigned k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      c[i] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void load_matrices(uint32_t (&out)[4], const void* row, bool transposed, Site site) {
  const auto code = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  if (!is_shared(row))
    fault("ldmatrix", "a row lies outside of shared memory at " + describe_site(site));
  check_alignment(row, 16, site);
  check_access(reinterpret_cast<uintptr_t>(row), 16, Access::kRead, code);
  LoadArgument argument{out, static_cast<const uint16_t*>(row), transposed};
  meet({transposed ? "ldmatrix.trans" : "ldmatrix", kAll, load_all}, &argument, site);
}

void multiply_tiles(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, Site site) {
  MultiplyArgument argument{c, a, {b0, b1}};
  meet({"mma", kAll, multiply_all}, &argument, site);
}

}  // namespace ocellus::simt
