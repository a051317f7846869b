// SHA-256 (FIPS 180-4): fingerprints of data files and of decoded pixels in tests.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace ocellus {

/// Sha256 — feed bytes with update(), read the digest once with hex().
class Sha256 {
 public:
  void update(const void* bytes, size_t count);
  /// 64 hex digits; the object must not be used afterwards.
  std::string hex();

 private:
  void block(const unsigned char* bytes);
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> pending_{};
  uint64_t total_ = 0;  // bytes
};

/// sha256_hex — the digest of `bytes` as 64 hex digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace ocellus
