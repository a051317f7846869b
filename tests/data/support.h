// What the tests of data/ share: where the shared files lie, and small helpers.
#pragma once
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/check.h"

namespace ocellus::test {

inline std::filesystem::path source_root() { return OCELLUS_SOURCE_DIR; }

/// The folder of shared test data (environment OCELLUS_SHARED, else ../shared beside the source).
inline std::filesystem::path shared_root() {
  if (const char* set = std::getenv("OCELLUS_SHARED")) return set;
  return source_root() / ".." / "shared";
}

/// True if `relative` exists under the shared folder; otherwise says what is skipped.
inline bool have_shared(const std::string& relative) {
  if (std::filesystem::exists(shared_root() / relative)) return true;
  std::printf("skipped: %s is not there\n", (shared_root() / relative).c_str());
  return false;
}

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void spill(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// The text of the E that `body` throws; fails the test if it throws nothing.
template <class E, class F>
std::string error_of(F&& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  return "(no error)";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A fresh folder that disappears with the object.
struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "ocellus_test_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace ocellus::test
