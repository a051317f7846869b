// What the driver asks of an instruction set: one table of functions for f32 and one for f64.
// The kernel files include this header and <cstdint> alone. An inline function shared with other
// files would be compiled with their -march too, the linker would keep one copy, perhaps the
// AVX-512 one, and an older processor would die in it.
#pragma once
#include <cstdint>

namespace ocellus::gemm_detail {

// A product of one K block: C[rows, columns] (+)= A[rows, depth] · B[depth, columns].
// All strides count elements.
template <class T>
struct Block {
  int64_t rows, columns, depth;
  const T* a;
  int64_t a_row, a_k;  // in place: one of them is 1; packed: a_row = 1, a_k = rows of a tile
  int64_t a_panel;     // from one packed row panel to the next; 0: in place
  const T* b;
  int64_t b_k;      // from one k to the next; columns are contiguous
  int64_t b_panel;  // from one column panel to the next; readable up to a whole vector
  T* c;
  int64_t ldc;
  bool add;  // C += …, else C = …
};

// Copies lanes × depth elements (rows of A or columns of B) into panels [panel][k][lanes of a
// tile]. Lanes past the end hold copies of the last one. `to` needs kPackSlack elements behind the
// panels.
template <class T, class Source>
using Pack = void (*)(int64_t lanes, int64_t depth, const Source* from, int64_t lane_stride,
                      int64_t k_stride, T* to);
inline constexpr int64_t kPackSlack = 16;

// One row: C[columns] (+)= A[depth] · B, B read in place; column_stride or b_k is 1.
template <class T, class Source>
using RowProduct = void (*)(int64_t columns, int64_t depth, const T* a, int64_t a_k,
                            const Source* b, int64_t column_stride, int64_t b_k, T* c, bool add);

template <class T>
struct KernelSet {
  int rows, columns;  // of a full tile
  int vector;         // elements of a vector
  void (*block)(const Block<T>&);
  Pack<T, T> pack_a, pack_b;
  RowProduct<T, T> row_product;
  Pack<T, uint16_t> pack_a_bf16, pack_b_bf16;  // these three are null for f64
  RowProduct<T, uint16_t> row_product_bf16;
};

struct Kernels {
  const char* name;
  KernelSet<float> f32;
  KernelSet<double> f64;
};

extern const Kernels kSse2Kernels, kAvx2Kernels, kAvx512Kernels;

}  // namespace ocellus::gemm_detail
