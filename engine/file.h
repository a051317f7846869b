// Files without surprises: whole-file reads with a limit, memory maps, and writes that either
// happen completely or leave the old file as it was (temporary file, fsync, rename, fsync of the
// folder).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ocellus {

/// read_file — the bytes of `path`. Throws FormatError naming the path if it is missing, not a
/// regular file, or larger than `max_bytes` (checked before anything is allocated).
std::string read_file(const std::string& path, uint64_t max_bytes = uint64_t{1} << 34);

/// MappedFile — `path` mapped read-only for the lifetime of the object. Empty files map to size 0.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const unsigned char* data() const { return data_; }
  size_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// Gives the memory of whole pages in [begin, end) back; reading them again reads the file.
  void release(size_t begin, size_t end) const;

 private:
  std::string path_;
  const unsigned char* data_ = nullptr;
  size_t size_ = 0;
};

/// end_on_shrunken_files — from here on, a mapped file that another process cuts short while it is
/// read ends this process with one sentence and `status`, instead of SIGBUS without one.
void end_on_shrunken_files(int status);

/// AtomicFile — writes `path` through a temporary sibling. Nothing is visible under `path` until
/// commit(), which fsyncs, renames and fsyncs the folder; destroyed without commit, the temporary
/// file is removed. Throws Error naming path and cause (full disk, read-only folder).
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* bytes, size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::string path_, temporary_;
  int fd_ = -1;
};

/// write_file_atomic — AtomicFile in one call.
void write_file_atomic(const std::string& path, std::string_view bytes);

/// fsync_path — flushes a file or folder to the disk.
void fsync_path(const std::string& path);

/// make_folders — mkdir -p; throws Error naming the path and the cause.
void make_folders(const std::string& path);

/// file_hash — XXH3-64 of the file's bytes as 16 hex digits.
std::string file_hash(const std::string& path);

/// hash_bytes — XXH3-64 of `bytes` as 16 hex digits.
std::string hash_bytes(std::string_view bytes);

}  // namespace ocellus
