#include "engine/file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "engine/check.h"

namespace fs = std::filesystem;
using namespace ocellus;

namespace {

/// A folder of our own under the system's temporary folder, removed at the end.
struct Scratch {
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "ocellus_file_XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~Scratch() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
  std::string path;
};

void put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

template <class E, class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("file: reads the bytes back, also empty files and files of /proc") {
  const Scratch folder;
  std::string bytes(200000, 'x');
  bytes[0] = '\0';
  bytes[777] = '\n';
  put(folder / "a", bytes);
  put(folder / "empty", "");
  CHECK(read_file(folder / "a") == bytes);
  CHECK(read_file(folder / "empty").empty());
  CHECK(contains(read_file("/proc/self/status"), "VmRSS"));
}

TEST_CASE("file: refuses what is missing, too large, a folder or a pipe, and names it") {
  const Scratch folder;
  put(folder / "a", "12345");
  CHECK(read_file(folder / "a", 5) == "12345");
  CHECK(message_of<FormatError>([&] { read_file(folder / "a", 4); }) ==
        (folder / "a") + ": the file has 5 bytes, at most 4 are accepted here");
  CHECK(message_of<FormatError>([&] { read_file(folder / "b"); }) ==
        (folder / "b") + ": cannot open the file: No such file or directory");
  CHECK(contains(message_of<FormatError>([&] { read_file(folder.path); }), "this is a folder"));
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(contains(message_of<FormatError>([&] { read_file(folder / "pipe"); }), "pipe"));
  CHECK(contains(message_of<FormatError>([&] { read_file("/proc/self/status", 10); }),
                 "grew beyond 10 bytes"));
}

TEST_CASE("file: maps a file, and an empty one to size 0") {
  const Scratch folder;
  put(folder / "a", "hello");
  put(folder / "empty", "");
  const MappedFile a(folder / "a");
  CHECK(std::string(a.data(), a.data() + a.size()) == "hello");
  CHECK(a.path() == folder / "a");
  CHECK(MappedFile(folder / "empty").size() == 0);
  CHECK(
      contains(message_of<FormatError>([&] { MappedFile missing(folder / "b"); }), "No such file"));
}

TEST_CASE("file: an atomic write appears at commit, and without it the old file stays") {
  const Scratch folder;
  put(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new but never committed");
    CHECK(read_file(folder / "a") == "old");
  }
  CHECK(read_file(folder / "a") == "old");
  CHECK(folder.entries() == 1);
  write_file_atomic(folder / "a", "new");
  CHECK(read_file(folder / "a") == "new");
  CHECK(folder.entries() == 1);
  AtomicFile file(folder / "a");
  file.commit();
  CHECK(contains(message_of<Error>([&] { file.commit(); }), "committed twice"));
  CHECK(contains(message_of<Error>([&] { file.write("x"); }), "write after commit"));
}

TEST_CASE("file: a write that does not fit names file and cause and leaves the old file") {
  const Scratch folder;
  put(folder / "a", "old");
  rlimit before;
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string message =
      message_of<Error>([&] { write_file_atomic(folder / "a", std::string(10000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(message == (folder / "a") + ": cannot write: File too large");
  CHECK(read_file(folder / "a") == "old");
  CHECK(folder.entries() == 1);
}

TEST_CASE("file: a folder that cannot be written or made is named with the cause") {
  const Scratch folder;
  put(folder / "a", "");
  CHECK(contains(message_of<Error>([&] { write_file_atomic(folder / "none/b", ""); }),
                 "none/b: cannot create the file: No such file or directory"));
  make_folders(folder / "x/y/z");
  make_folders(folder / "x/y/z");
  CHECK(fs::is_directory(folder / "x/y/z"));
  CHECK(
      contains(message_of<Error>([&] { make_folders(folder / "a"); }), "cannot create the folder"));
  CHECK(contains(message_of<Error>([&] { make_folders(folder / "a/b"); }),
                 "cannot create the folder"));
  fsync_path(folder.path);
  CHECK(contains(message_of<Error>([&] { fsync_path(folder / "none"); }), "No such file"));
  fs::create_directory(folder / "target");
  CHECK(contains(message_of<Error>([&] { write_file_atomic(folder / "target", "x"); }),
                 "cannot rename"));
}

TEST_CASE("file: hashes are XXH3-64 of the bytes") {
  // Published: XXH3_64bits of the empty input is 2d06800538d394c2.
  CHECK(hash_bytes("") == "2d06800538d394c2");
  const Scratch folder;
  const std::string bytes(3000001, 'q');  // more than one buffer
  put(folder / "a", bytes);
  CHECK(file_hash(folder / "a") == hash_bytes(bytes));
  CHECK(contains(message_of<FormatError>([&] { file_hash(folder / "b"); }), "No such file"));
}

TEST_CASE(
    "file: one that is cut short while mapped ends the process with a sentence and the status") {
  const Scratch folder;
  const std::string path = folder / "data.tar", said = folder / "said";
  put(path, std::string(1 << 16, 'x'));
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open(said.c_str(), O_WRONLY | O_CREAT, 0600);
    ::dup2(fd, STDERR_FILENO);
    end_on_shrunken_files(3);
    const MappedFile map(path);
    if (::truncate(path.c_str(), 0) != 0) ::_exit(1);
    ::_exit(map.data()[1 << 15] == 'x' ? 0 : 2);  // not reached
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
  CHECK(read_file(said) ==
        "ocellus: " + path +
            ": the file became shorter, or could not be read, while it was in use\n");
}
