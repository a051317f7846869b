// Fuzz target: tar archives. Any bytes either are refused with a FormatError or give members that
// lie inside the archive, in order, under names that stay inside a folder.
// needs: data/tar.cpp data/sha256.cpp engine/file.cpp engine/json.cpp
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "data/tar.h"
#include "engine/check.h"

using namespace ocellus;

namespace {

void read_archive(std::string_view archive) {
  try {
    const std::vector<TarMember> members = index_tar(archive, "fuzz.tar");
    uint64_t end = 0;
    for (const TarMember& member : members) {
      if (member.offset < end + 512 || member.offset > archive.size() ||
          member.size > archive.size() - member.offset)
        std::abort();
      if (member.name.empty() || member.name[0] == '/' || member.name == ".." ||
          member.name.rfind("../", 0) == 0)
        std::abort();
      end = member.offset + member.size;
    }
    tar_sidecar(archive, members);
    group_samples(members, "fuzz.tar");
  } catch (const FormatError&) {
  }
}

// Checksums would stop nearly every mutation at the first header, so blocks that look like one get
// theirs.
std::string resealed(std::string_view archive) {
  std::string out(archive);
  for (size_t at = 0; at + 512 <= out.size(); at += 512) {
    if (out.compare(at + 257, 5, "ustar") != 0) continue;
    out.replace(at + 148, 8, 8, ' ');
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(out[at + i]);
    char digits[8];
    std::snprintf(digits, sizeof digits, "%06o", sum);
    out.replace(at + 148, 7, digits, 7);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view archive(reinterpret_cast<const char*>(bytes), size);
  read_archive(archive);
  read_archive(resealed(archive));
  return 0;
}
