#include "vlm/checkpoint_protocol.h"

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace fs = std::filesystem;
using namespace ocellus;
using nlohmann::json;

namespace {

/// A run folder of our own, removed at the end; in memory where possible, since flushing to a busy
/// disk takes seconds.
struct Run {
  Run() {
    const bool memory = ::access("/dev/shm", W_OK) == 0;
    const fs::path parent = memory ? fs::path("/dev/shm") : fs::temp_directory_path();
    std::string pattern = (parent / "ocellus_run_XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~Run() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

/// A checkpoint of two parts whose bytes follow from the step.
std::string save(const std::string& run, int64_t step, int64_t keep = 3, size_t size = 5000) {
  CheckpointWriter writer(run, step, size);
  write_file_atomic(writer.part_path("weights.bin"),
                    std::string(size, static_cast<char>('a' + step % 26)));
  write_file_atomic(writer.part_path("model/config.json"), std::to_string(step));
  return writer.commit({{"recipe", "abc"}, {"samples", 10 * step}}, keep);
}

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

template <class E = Error, class F>
std::string message_of(F&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

struct NoTracing {};  // tracing a child is not allowed here
constexpr int kNoTracing = 77;
#ifdef __SANITIZE_ADDRESS__
constexpr int kStride = 11;  // a fork is slow there
#else
constexpr int kStride = 1;
#endif

/// Runs save(run, step, keep = 1) in a child process that is killed at its `stops`-th stop, of
/// which each system call has two: before and after. Returns false if the child came to its end.
bool killed_while_saving(const std::string& run, int64_t step, int stops) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(kNoTracing);
    ::raise(SIGSTOP);
    try {
      save(run, step, 1, 3000);
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  REQUIRE(child > 0);
  int status = 0;
  ::waitpid(child, &status, 0);
  for (int stop = 0; stop < stops && WIFSTOPPED(status); ++stop) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
  }
  if (WIFEXITED(status)) {
    if (WEXITSTATUS(status) == kNoTracing) throw NoTracing();
    REQUIRE(WEXITSTATUS(status) == 0);
    return false;
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  return true;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void flip_bit(const std::string& path, size_t at) {
  std::string bytes = read_file(path);
  bytes.at(at) = static_cast<char>(bytes.at(at) ^ 4);
  write_file_atomic(path, bytes);
}

}  // namespace

TEST_CASE("checkpoint_protocol: a committed checkpoint is found with its manifest and parts") {
  const Run run;
  CHECK(find_newest_valid(run.path).folder.empty());
  const std::string folder = save(run.path, 600);
  CHECK(folder == run / "checkpoints/step-00000600");
  CHECK(read_file(run / "latest") == "checkpoints/step-00000600\n");
  CHECK(entries(folder) == std::vector<std::string>{"manifest.json", "model", "weights.bin"});
  const FoundCheckpoint found = find_newest_valid(run.path);
  CHECK(found.folder == folder);
  CHECK(found.step == 600);
  CHECK(found.rejected.empty());
  const json manifest = parse_json(found.manifest, "manifest");
  CHECK(manifest["recipe"] == "abc");
  CHECK(manifest["samples"] == 6000);
  CHECK(manifest["parts"].size() == 2);
  CHECK(manifest["parts"][0] == json{{"name", "weights.bin"},
                                     {"bytes", 5000},
                                     {"xxh3", file_hash(folder + "/weights.bin")}});
}

TEST_CASE("checkpoint_protocol: the newest are kept; steps of an abandoned course go") {
  const Run run;
  for (int64_t step = 100; step <= 500; step += 100) save(run.path, step, 2);
  CHECK(checkpoint_steps(run.path) == std::vector<int64_t>{400, 500});
  save(run.path, 450, 2);
  CHECK(checkpoint_steps(run.path) == std::vector<int64_t>{400, 450});
  save(run.path, 450, 1);  // the same step again
  CHECK(checkpoint_steps(run.path) == std::vector<int64_t>{450});
  CHECK(entries(run / "checkpoints").size() == 1);
}

TEST_CASE("checkpoint_protocol: truncated, flipped and missing files are found, with the reason") {
  const Run run;
  save(run.path, 1);
  const std::string folder = save(run.path, 2);
  const auto step_back = [&](const std::string& reason) {
    const FoundCheckpoint found = find_newest_valid(run.path);
    CHECK(found.step == 1);
    REQUIRE(found.rejected.size() == 1);
    CHECK(found.rejected[0] == folder + ": " + reason);
    save(run.path, 2);
    CHECK(find_newest_valid(run.path).step == 2);
  };
  fs::resize_file(folder + "/weights.bin", 4999);
  step_back("weights.bin has 4999 bytes, the manifest says 5000");
  flip_bit(folder + "/weights.bin", 4321);
  step_back("weights.bin differs from its checksum in the manifest");
  fs::remove(folder + "/model/config.json");
  step_back("model/config.json is missing");
  fs::remove(folder + "/manifest.json");
  step_back("manifest.json is missing");
  std::string manifest = read_file(folder + "/manifest.json");
  manifest.replace(manifest.find("\"samples\": 20"), 13, "\"samples\": 21");
  write_file_atomic(folder + "/manifest.json", manifest);
  step_back("manifest.json differs from its own checksum");
  fs::resize_file(folder + "/manifest.json", 40);
  CHECK(contains(verify_checkpoint(folder), "manifest.json: not valid JSON at byte"));
  fs::remove_all(folder);
  fs::copy(run / "checkpoints/step-00000001", folder, fs::copy_options::recursive);
  step_back("manifest.json belongs to step 1");
}

TEST_CASE("checkpoint_protocol: any flipped bit of the manifest is found or harmless") {
  const Run run;
  const std::string folder = save(run.path, 3, 3, 10);
  const std::string manifest = read_file(folder + "/manifest.json");
  for (size_t at = 0; at < manifest.size(); ++at) {
    flip_bit(folder + "/manifest.json", at);
    const bool layout_only = manifest[at] == ' ' || manifest[at] == '\n';
    if (!layout_only) CHECK(verify_checkpoint(folder) != "");
    write_file_atomic(folder + "/manifest.json", manifest);
  }
}

TEST_CASE("checkpoint_protocol: what is not committed leaves nothing, and parts are checked") {
  const Run run;
  save(run.path, 1);
  {
    CheckpointWriter writer(run.path, 2, 100);
    write_file_atomic(writer.part_path("weights.bin"), "half");
    CHECK(entries(run / "checkpoints").size() == 2);
    CHECK(find_newest_valid(run.path).step == 1);
  }
  CHECK(entries(run / "checkpoints").size() == 1);
  CheckpointWriter writer(run.path, 2, 100);
  const std::string part = writer.part_path("a.bin");
  CHECK(contains(message_of([&] { writer.commit(json::object(), 1); }),
                 "a.bin: the part was announced but not written"));
  write_file_atomic(part, "x");
  CHECK(contains(message_of([&] {
                   writer.commit({{"step", 1}}, 1);
                 }),
                 "\"step\" in the manifest is taken"));
  for (const char* name : {"", "../x", "/x", "manifest.json", ".", "a/../../b", "a/"})
    CHECK(contains(message_of([&] { writer.part_path(name); }), "cannot be the name of a part"));
  writer.commit(json::object(), 1);
  CHECK(contains(message_of([&] { writer.commit(json::object(), 1); }), "committed twice"));
  CHECK(
      contains(message_of([&] { CheckpointWriter bad(run.path, -1, 0); }), "step must be from 0"));
}

TEST_CASE("checkpoint_protocol: too little room is said before anything is written") {
  const Run run;
  save(run.path, 1);
  const std::string message =
      message_of([&] { CheckpointWriter writer(run.path, 2, uint64_t{1} << 60); });
  CHECK(contains(message, "step-00000002: the checkpoint needs 11644"));
  CHECK(contains(message, "MB free; older checkpoints are untouched"));
  CHECK(entries(run / "checkpoints").size() == 1);
}

TEST_CASE("checkpoint_protocol: a disk that fills up while writing leaves the older checkpoint") {
  const Run run;
  // A small file system of its own where that is allowed, else a limit on the size of files.
  const bool mounted = ::mount("tmpfs", run.path.c_str(), "tmpfs", 0, "size=256k") == 0;
  save(run.path, 1);
  if (mounted) {
    CHECK(contains(message_of([&] { save(run.path, 2, 3, 400000); }), "the checkpoint needs"));
    CHECK(contains(message_of([&] {
                     CheckpointWriter writer(run.path, 2, 0);  // a wrong estimate
                     write_file_atomic(writer.part_path("weights.bin"), std::string(400000, 'x'));
                   }),
                   "weights.bin: cannot write: No space left on device"));
  } else {
    MESSAGE(
        "mounting is not allowed here: a limit on the size of files stands in for the full disk");
    rlimit before;
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{100000, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string message = message_of([&] { save(run.path, 2, 3, 400000); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(contains(message, "weights.bin: cannot write: File too large"));
  }
  CHECK(find_newest_valid(run.path).step == 1);
  CHECK(entries(run / "checkpoints").size() == 1);
  save(run.path, 2);
  CHECK(find_newest_valid(run.path).step == 2);
  if (mounted) ::umount2(run.path.c_str(), MNT_DETACH);
}

TEST_CASE("checkpoint_protocol: a folder that cannot be written is named with the cause") {
  const Run run;
  save(run.path, 1);
  const auto read_only = static_cast<fs::perms>(0555);
  fs::permissions(run.path, read_only);
  fs::permissions(run / "checkpoints", read_only);
  const bool root = ::geteuid() == 0;
  if (root) REQUIRE(::seteuid(65534) == 0);  // permissions do not stop root
  const std::string lock = message_of([&] { RunLock lock_it(run.path); });
  const std::string write = message_of([&] { CheckpointWriter writer(run.path, 2, 0); });
  if (root) REQUIRE(::seteuid(0) == 0);
  fs::permissions(run.path, fs::perms::owner_all);
  fs::permissions(run / "checkpoints", fs::perms::owner_all);
  CHECK(lock == run.path + ": cannot write into the run folder: Permission denied");
  CHECK(contains(write, "step-00000002.tmp-"));
  CHECK(contains(write, ": cannot create the folder: Permission denied"));
  write_file_atomic(run / "file", "");
  CHECK(contains(message_of([&] { CheckpointWriter writer(run / "file", 2, 0); }),
                 "cannot create the folder"));
  CheckpointWriter gone(run.path, 3, 0);
  write_file_atomic(gone.part_path("a"), "x");
  fs::remove_all(run / "checkpoints");
  CHECK(contains(message_of([&] { gone.commit(json::object(), 1); }),
                 "was announced but not written"));
}

TEST_CASE("checkpoint_protocol: a second writer is refused; the lock ends with its owner") {
  const Run run;
  {
    const RunLock lock(run.path);
    CHECK(message_of<UsageError>([&] { RunLock second(run.path); }) ==
          run.path + ": process " + std::to_string(::getpid()) +
              " is already writing into this run folder; choose another with --out");
  }
  const RunLock again(run.path);
  CHECK(again.removed().empty());
}

TEST_CASE("checkpoint_protocol: the lock removes what dead writers left, and nothing else") {
  const Run run;
  save(run.path, 1);
  fs::create_directories(run / "checkpoints/step-00000002.tmp-123-0a0b0c0d/model");
  write_file_atomic(run / "checkpoints/step-00000002.tmp-123-0a0b0c0d/weights.bin", "half");
  write_file_atomic(run / "latest.tmp-99-0", "half");
  write_file_atomic(run / "notes.tmp-mine", "kept");
  const RunLock lock(run.path);
  CHECK(lock.removed().size() == 2);
  CHECK(entries(run.path) ==
        std::vector<std::string>{".lock", "checkpoints", "latest", "notes.tmp-mine"});
  CHECK(entries(run / "checkpoints") == std::vector<std::string>{"step-00000001"});
}

TEST_CASE(
    "checkpoint_protocol: killed at random moments, the newest whole checkpoint always loads") {
  const Run run;
  // Moments are drawn up to three times the duration of a save, whatever the disk.
  const auto begin = std::chrono::steady_clock::now();
  save(run.path, 1, 2, 20000);
  const std::chrono::duration<double, std::micro> one = std::chrono::steady_clock::now() - begin;
  std::mt19937 random(1);
  std::uniform_real_distribution<double> moment(0, 3 * one.count() + 2000);
  int64_t newest = 1;
  for (int round = 0; round < 15; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        const RunLock lock(run.path);
        for (int64_t step = newest + 1;; ++step) save(run.path, step, 2, 20000);
      } catch (...) {
      }
      ::_exit(1);
    }
    REQUIRE(child > 0);
    ::usleep(static_cast<useconds_t>(moment(random)));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));  // it was still writing
    const FoundCheckpoint found = find_newest_valid(run.path);
    CHECK(found.rejected.empty());  // no half checkpoint ever carries a checkpoint's name
    CHECK(found.step >= newest);    // and what was found once is not lost later
    newest = found.step;
  }
  CHECK(newest > 1);
}

TEST_CASE(
    "checkpoint_protocol: killed before and after each system call of a save, nothing is lost") {
  // Step 2 over checkpoint 1, and step 2 once more in the place of an older one.
  for (const bool again : {false, true}) {
    int stops = 0;
    bool new_one_seen = false;
    for (bool killed = true; killed; stops += kStride) {
      const Run run;
      save(run.path, 1, 2, 3000);
      if (again) save(run.path, 2, 2, 4000);
      try {
        killed = killed_while_saving(run.path, 2, stops);
      } catch (const NoTracing&) {
        MESSAGE("skipped: tracing a child process is not allowed here");
        return;
      }
      const FoundCheckpoint found = find_newest_valid(run.path);
      CAPTURE(stops);
      CHECK(found.rejected.empty());
      CHECK(found.step >= (again ? 2 : 1));
      const bool is_new = found.step == 2 && fs::file_size(found.folder + "/weights.bin") == 3000;
      new_one_seen = new_one_seen || is_new;
      const RunLock lock(run.path);
      save(run.path, 3, 1, 3000);
      CHECK(entries(run / "checkpoints") == std::vector<std::string>{"step-00000003"});
      CHECK(entries(run.path) == std::vector<std::string>{".lock", "checkpoints", "latest"});
    }
    CHECK(new_one_seen);
    CHECK(stops > 50);  // the calls were really counted
  }
}
