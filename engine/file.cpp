#include "engine/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "engine/check.h"

namespace ocellus {
namespace {

std::string cause(int error) { return std::generic_category().message(error); }

/// An open file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Opens a regular file for reading and returns its descriptor and size. Without O_NONBLOCK a named
/// pipe in place of the file would block here until somebody writes to it.
int open_regular(const std::string& path, uint64_t* size) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail<FormatError>("{}: cannot open the file: {}", path, cause(errno));
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    const bool folder = S_ISDIR(info.st_mode);
    ::close(fd);
    fail<FormatError>("{}: need a regular file, this is {}", path,
                      folder ? "a folder" : "a device, pipe or socket");
  }
  *size = static_cast<uint64_t>(info.st_size);
  return fd;
}

/// read(2) repeated until `count` bytes came or the file ended; returns the bytes that came.
size_t read_fully(int fd, char* to, size_t count, const std::string& path) {
  size_t done = 0;
  while (done < count) {
    const ssize_t got = ::read(fd, to + done, std::min(count - done, size_t{1} << 30));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail<FormatError>("{}: cannot read: {}", path, cause(errno));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

std::string folder_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string hex(XXH64_hash_t hash) { return fmt::format("{:016x}", hash); }

}  // namespace

std::string read_file(const std::string& path, uint64_t max_bytes) {
  uint64_t size = 0;
  const Descriptor file(open_regular(path, &size));
  check<FormatError>(size <= max_bytes, "{}: the file has {} bytes, at most {} are accepted here",
                     path, size, max_bytes);
  std::string bytes(size, '\0');
  bytes.resize(read_fully(file.get(), bytes.data(), size, path));
  // Files that another process appends to, and those of /proc, hold more than fstat() said.
  std::string more(1 << 16, '\0');
  while (const size_t got = read_fully(file.get(), more.data(), more.size(), path)) {
    check<FormatError>(got <= max_bytes - bytes.size(),
                       "{}: the file grew beyond {} bytes while it was read", path, max_bytes);
    bytes.append(more, 0, got);
  }
  return bytes;
}

namespace {

// What is mapped now, for a signal handler: it may neither lock nor allocate. Entries are taken and
// given back with `at`; a program that maps more files than fit is told less about them.
struct MapEntry {
  std::atomic<const unsigned char*> at{nullptr};
  std::atomic<size_t> size{0};
  char path[480] = {};
};
MapEntry map_entries[256];
std::atomic<int> shrunken_status{0};

void note_map(const unsigned char* at, size_t size, const std::string& path) {
  for (MapEntry& entry : map_entries) {
    const unsigned char* free = nullptr;
    if (!entry.at.compare_exchange_strong(free, at)) continue;
    path.copy(entry.path, sizeof entry.path - 1);
    entry.path[std::min(path.size(), sizeof entry.path - 1)] = 0;
    entry.size = size;
    return;
  }
}

void forget_map(const unsigned char* at) {
  for (MapEntry& entry : map_entries)
    if (entry.at == at) {
      entry.size = 0;
      entry.at = nullptr;
      return;
    }
}

void say(const char* text) { (void)!::write(STDERR_FILENO, text, std::strlen(text)); }

void on_bus_error(int, siginfo_t* info, void*) {
  const auto* const at = static_cast<const unsigned char*>(info->si_addr);
  for (const MapEntry& entry : map_entries) {
    const unsigned char* const begin = entry.at;
    if (!begin || at < begin || at >= begin + entry.size) continue;
    say("ocellus: ");
    say(entry.path);
    say(": the file became shorter, or could not be read, while it was in use\n");
    ::_exit(shrunken_status);
  }
  ::signal(SIGBUS, SIG_DFL);  // not ours: the instruction runs again and ends the process
}

}  // namespace

void end_on_shrunken_files(int status) {
  shrunken_status = status;
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
  uint64_t size = 0;
  const Descriptor file(open_regular(path, &size));
  if (size == 0) return;
  void* const at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (at == MAP_FAILED) fail<FormatError>("{}: cannot map {} bytes: {}", path, size, cause(errno));
  data_ = static_cast<const unsigned char*>(at);
  size_ = size;
  note_map(data_, size_, path_);
}

MappedFile::~MappedFile() {
  if (!data_) return;
  forget_map(data_);
  ::munmap(const_cast<unsigned char*>(data_), size_);
}

void MappedFile::release(size_t begin, size_t end) const {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  begin = (begin + page - 1) / page * page;
  end = std::min(end, size_) / page * page;
  if (begin < end) ::madvise(const_cast<unsigned char*>(data_) + begin, end - begin, MADV_DONTNEED);
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  // Process and counter make the name unique, so that two writers never share a temporary file.
  static std::atomic<uint64_t> counter{0};
  temporary_ = fmt::format("{}.tmp-{}-{}", path, ::getpid(), counter++);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0 && errno == EEXIST) {  // left by a dead process that had our number
    ::unlink(temporary_.c_str());
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  }
  if (fd_ < 0) fail<Error>("{}: cannot create the file: {}", path, cause(errno));
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* bytes, size_t count) {
  check<Error>(fd_ >= 0, "{}: write after commit", path_);
  const char* from = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t put = ::write(fd_, from, std::min(count, size_t{1} << 30));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail<Error>("{}: cannot write: {}", path_, cause(errno));
    from += put;
    count -= static_cast<size_t>(put);
  }
}

void AtomicFile::commit() {
  check<Error>(fd_ >= 0, "{}: committed twice", path_);
  if (::fsync(fd_) != 0) fail<Error>("{}: cannot flush to the disk: {}", path_, cause(errno));
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed != 0) fail<Error>("{}: cannot close: {}", path_, cause(errno));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail<Error>("{}: cannot rename {} to it: {}", path_, temporary_, cause(errno));
  temporary_.clear();
  fsync_path(folder_of(path_));
}

void write_file_atomic(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void fsync_path(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail<Error>("{}: cannot open it to flush it: {}", path, cause(errno));
  // Some file systems cannot fsync a folder; they answer EINVAL and order the rename themselves.
  if (::fsync(file.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    fail<Error>("{}: cannot flush to the disk: {}", path, cause(errno));
}

void make_folders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail<Error>("{}: cannot create the folder: {}", path, error.message());
  check<Error>(std::filesystem::is_directory(path, error),
               "{}: cannot create the folder: something else has this name", path);
}

std::string file_hash(const std::string& path) {
  uint64_t size = 0;
  const Descriptor file(open_regular(path, &size));
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  check<OutOfMemory>(state != nullptr, "{}: no memory for the hash state", path);
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(size_t{1} << 20);
  while (const size_t got = read_fully(file.get(), buffer.data(), buffer.size(), path))
    XXH3_64bits_update(state.get(), buffer.data(), got);
  return hex(XXH3_64bits_digest(state.get()));
}

std::string hash_bytes(std::string_view bytes) {
  return hex(XXH3_64bits(bytes.data(), bytes.size()));
}

}  // namespace ocellus
