// Tar archives with random access: an index of names and places, made by walking the headers once,
// or read from a sidecar file. USTAR, pax (path, size) and GNU long names; regular files only.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ocellus {

class MappedFile;

struct TarMember {
  std::string name;     // as in the archive, without a leading "./"
  uint64_t offset = 0;  // of its first byte, from the start of the archive
  uint64_t size = 0;    // bytes
};

/// index_tar — the regular files of an archive held in `bytes`; folders are skipped. Throws
/// FormatError "NAME: …" with the byte offset: bad checksum, truncation, missing end mark, bytes
/// after the end mark, links and devices, absolute names, "..", sizes that leave the file.
std::vector<TarMember> index_tar(std::string_view bytes, const std::string& name);

struct TarOptions {
  bool read_sidecar = true;  // use PATH.idx if it fits
  uint64_t write_sidecar_above = uint64_t{1}
                                 << 26;  // archives of at least this many bytes get a PATH.idx
};

/// TarFile — an archive mapped into memory with its index. The sidecar PATH.idx is text: a line
/// "ocellus-tar-index 1 ARCHIVE_BYTES FINGERPRINT COUNT", then "OFFSET SIZE NAME" a member.
/// FINGERPRINT is the first 16 hex digits of the SHA-256 of the first and the last 4,096 bytes. A
/// sidecar that does not fit is ignored and made anew; one that cannot be written (read-only
/// folder) is done without.
class TarFile {
 public:
  explicit TarFile(const std::string& path, const TarOptions& options = {});
  ~TarFile();
  TarFile(TarFile&&) noexcept;
  TarFile& operator=(TarFile&&) noexcept;

  const std::string& path() const { return path_; }
  const std::vector<TarMember>& members() const { return members_; }
  bool from_sidecar() const { return from_sidecar_; }
  /// The bytes of a member, valid as long as this object. If the index came from a sidecar, the
  /// member's header is checked first; FormatError if it is another file's.
  std::string_view bytes(size_t member) const;

 private:
  std::string path_;
  std::unique_ptr<MappedFile> file_;
  std::vector<TarMember> members_;
  bool from_sidecar_ = false;
};

/// tar_sidecar — the text of the sidecar for these members; empty if a name contains a line break.
std::string tar_sidecar(std::string_view archive, const std::vector<TarMember>& members);

/// tar_bytes — an archive of the given (name, content) pairs: USTAR, pax where a name is too long;
/// mode 0644, owner 0, time 0, so that equal content gives equal bytes.
std::string tar_bytes(const std::vector<std::pair<std::string, std::string>>& files);

/// write_tar — tar_bytes, written atomically.
void write_tar(const std::string& path,
               const std::vector<std::pair<std::string, std::string>>& files);

/// TarSample — consecutive members that share a key: the WebDataset convention.
struct TarSample {
  std::string key;  // folder and base name up to the base name's first dot
  struct File {
    std::string suffix;  // what follows that dot, in lower case
    size_t member;
  };
  std::vector<File> files;
};

/// group_samples — members to samples, in order. Names without a suffix and names like __x__ are
/// skipped; a suffix that occurs twice in a sample is a FormatError.
std::vector<TarSample> group_samples(const std::vector<TarMember>& members,
                                     const std::string& archive);

}  // namespace ocellus
