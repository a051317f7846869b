// Arithmetic on bytes that stand for fractions of 255.
#pragma once

namespace ocellus {

/// multiply_255 — a·b/255 rounded, in the integer form that image libraries share.
inline int multiply_255(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

}  // namespace ocellus
