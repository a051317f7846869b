#include "vlm/checkpoint_protocol.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <system_error>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kFormat = "ocellus checkpoint 1";

std::string cause(int error) { return std::generic_category().message(error); }
std::string parent_of(const std::string& run_folder) { return run_folder + "/checkpoints"; }
std::string step_name(int64_t step) { return fmt::format("step-{:08}", step); }

bool is_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// "anything.tmp-PID-SUFFIX", as AtomicFile and CheckpointWriter name what is not complete.
bool is_temporary(const std::string& name) {
  const size_t mark = name.rfind(".tmp-");
  if (mark == std::string::npos) return false;
  const std::string tail = name.substr(mark + 5);
  const size_t dash = tail.find('-');
  return dash != std::string::npos && is_digits(tail.substr(0, dash)) && dash + 1 < tail.size();
}

std::string temporary_name(const std::string& name) {
  static std::random_device random;  // names only; nothing else depends on it
  return fmt::format("{}.tmp-{}-{:08x}", name, ::getpid(), random());
}

/// Renames before removing: a kill in between leaves a temporary folder, not half a checkpoint.
void remove_checkpoint(const std::string& folder) {
  const std::string doomed = temporary_name(folder);
  std::error_code error;
  fs::rename(folder, doomed, error);
  fs::remove_all(error ? folder : doomed, error);
}

void remove_temporaries(const std::string& folder, std::vector<std::string>* removed) {
  std::error_code error;
  std::vector<std::string> doomed;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (is_temporary(entry.path().filename().string())) doomed.push_back(entry.path().string());
  for (const std::string& path : doomed) {
    fs::remove_all(path, error);
    if (!error) removed->push_back(path);
  }
}

/// Checksum of the manifest itself, over its text without that member.
std::string seal_of(json manifest) {
  manifest.erase("manifest_xxh3");
  return hash_bytes(manifest.dump());
}

/// "" or why a listed part is not what the manifest says.
std::string check_part(const std::string& folder, const json& part) {
  if (!part.is_object() || !part.contains("name") || !part["name"].is_string() ||
      !part.contains("bytes") || !part["bytes"].is_number_unsigned() || !part.contains("xxh3") ||
      !part["xxh3"].is_string())
    return "an entry of parts in manifest.json is not {name, bytes, xxh3}";
  const std::string name = part["name"].get<std::string>();
  const std::string path = folder + "/" + name;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return fmt::format("{} is missing", name);
  const uint64_t bytes = fs::file_size(path, error);
  if (bytes != part["bytes"].get<uint64_t>())
    return fmt::format("{} has {} bytes, the manifest says {}", name, bytes,
                       part["bytes"].get<uint64_t>());
  if (file_hash(path) != part["xxh3"].get<std::string>())
    return fmt::format("{} differs from its checksum in the manifest", name);
  return "";
}

std::string verify(const std::string& folder, std::string* manifest_text) {
  try {
    const std::string path = folder + "/" + kManifest;
    if (!fs::exists(path)) return fmt::format("{}: manifest.json is missing", folder);
    *manifest_text = read_file(path, uint64_t{1} << 26);
    const json manifest = parse_json(*manifest_text, path);
    if (!manifest.is_object() || !manifest.contains("manifest_xxh3") ||
        manifest["manifest_xxh3"] != seal_of(manifest))
      return fmt::format("{}: manifest.json differs from its own checksum", folder);
    if (manifest.value("format", "") != kFormat)
      return fmt::format("{}: manifest.json is of another format than \"{}\"", folder, kFormat);
    for (const json& part : manifest.at("parts"))
      if (const std::string fault = check_part(folder, part); !fault.empty())
        return fmt::format("{}: {}", folder, fault);
    if (step_name(manifest.at("step").get<int64_t>()) != fs::path(folder).filename())
      return fmt::format("{}: manifest.json belongs to step {}", folder,
                         manifest.at("step").get<int64_t>());
    return "";
  } catch (const Error& error) {
    return error.what();
  } catch (const json::exception& error) {
    return fmt::format("{}: manifest.json lacks a member: {}", folder, error.what());
  }
}

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

/// Puts `temporary` in the place of `folder`. An older folder of that name is exchanged for it in
/// one step where the file system can, so that there is no moment without either.
void put_in_place(const std::string& temporary, const std::string& folder) {
  if (::rename(temporary.c_str(), folder.c_str()) == 0) return;
  if (errno != EEXIST && errno != ENOTEMPTY)
    fail<Error>("{}: cannot rename {} to it: {}", folder, temporary, cause(errno));
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) != 0) {
    remove_checkpoint(folder);
    if (::rename(temporary.c_str(), folder.c_str()) != 0)
      fail<Error>("{}: cannot rename {} to it: {}", folder, temporary, cause(errno));
  }
}

}  // namespace

RunLock::RunLock(const std::string& run_folder) {
  make_folders(run_folder);
  const std::string path = run_folder + "/.lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail<Error>("{}: cannot write into the run folder: {}", run_folder, cause(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    std::string owner(32, '\0');
    const ssize_t got = ::pread(fd_, owner.data(), owner.size(), 0);
    ::close(fd_);
    owner.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    owner.erase(
        std::find_if_not(owner.begin(), owner.end(), [](char c) { return c >= '0' && c <= '9'; }),
        owner.end());
    if (error != EWOULDBLOCK)
      fail<Error>("{}: cannot lock the run folder: {}", run_folder, cause(error));
    fail<UsageError>(
        "{}: process {} is already writing into this run folder; choose another with --out",
        run_folder, owner.empty() ? "?" : owner);
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, pid.data(), pid.size(), 0) < 0) {
    const int error = errno;
    ::close(fd_);
    fail<Error>("{}: cannot write into the run folder: {}", run_folder, cause(error));
  }
  remove_temporaries(run_folder, &removed_);
  remove_temporaries(parent_of(run_folder), &removed_);
}

RunLock::~RunLock() { ::close(fd_); }

CheckpointWriter::CheckpointWriter(const std::string& run_folder, int64_t step,
                                   uint64_t expected_bytes)
    : run_folder_(run_folder), name_(step_name(step)), step_(step) {
  check<Error>(step >= 0 && step <= 99999999,
               "{}: a checkpoint's step must be from 0 to 99999999, got {}", run_folder, step);
  const std::string parent = parent_of(run_folder);
  make_folders(parent);
  struct statvfs disk;
  if (::statvfs(parent.c_str(), &disk) != 0)
    fail<Error>("{}: cannot ask for the free space: {}", parent, cause(errno));
  const uint64_t room = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  const uint64_t need =
      expected_bytes + expected_bytes / 100 + (uint64_t{1} << 16);  // the manifest and block ends
  check<Error>(
      room >= need,
      "{}/{}: the checkpoint needs {}, the disk has {} free; older checkpoints are untouched",
      parent, name_, megabytes(need), megabytes(room));
  temporary_ = temporary_name(parent + "/" + name_);
  if (::mkdir(temporary_.c_str(), 0777) != 0)
    fail<Error>("{}: cannot create the folder: {}", temporary_, cause(errno));
}

CheckpointWriter::~CheckpointWriter() {
  std::error_code error;
  if (!temporary_.empty()) fs::remove_all(temporary_, error);
}

std::string CheckpointWriter::part_path(const std::string& name) {
  const fs::path path(name);
  const bool inside = !name.empty() && path.is_relative() && path.lexically_normal() == path &&
                      *path.begin() != ".." && path.has_filename() && name != "." &&
                      name != kManifest;
  check<Error>(inside, "{}: \"{}\" cannot be the name of a part", temporary_, name);
  if (path.has_parent_path()) make_folders(temporary_ + "/" + path.parent_path().string());
  if (std::find(parts_.begin(), parts_.end(), name) == parts_.end()) parts_.push_back(name);
  return temporary_ + "/" + name;
}

std::string CheckpointWriter::commit(const json& extra, int64_t keep) {
  check<Error>(!temporary_.empty(), "{}: the checkpoint was committed twice", name_);
  json parts = json::array();
  std::set<std::string> folders = {temporary_};
  for (const std::string& name : parts_) {
    const std::string path = temporary_ + "/" + name;
    check<Error>(fs::is_regular_file(path), "{}: the part was announced but not written", path);
    fsync_path(path);
    parts.push_back({{"name", name}, {"bytes", fs::file_size(path)}, {"xxh3", file_hash(path)}});
    for (fs::path up = fs::path(path).parent_path(); up.string().size() > temporary_.size();
         up = up.parent_path())
      folders.insert(up.string());
  }
  json manifest = {{"format", kFormat}, {"step", step_}, {"parts", parts}};
  for (const auto& [key, value] : extra.items())
    check<Error>(manifest.emplace(key, value).second, "{}: \"{}\" in the manifest is taken", name_,
                 key);
  manifest["manifest_xxh3"] = seal_of(manifest);
  for (const std::string& folder : folders) fsync_path(folder);
  write_file_atomic(temporary_ + "/" + kManifest, manifest.dump(1) + "\n");

  const std::string parent = parent_of(run_folder_);
  const std::string folder = parent + "/" + name_;
  put_in_place(temporary_, folder);
  fsync_path(parent);
  std::error_code error;
  fs::remove_all(temporary_, error);  // an exchanged older folder
  temporary_.clear();
  write_file_atomic(run_folder_ + "/latest", fmt::format("checkpoints/{}\n", name_));

  std::string text;
  const std::string fault = verify(folder, &text);
  check<Error>(fault.empty(),
               "{}; this was read back right after writing, older checkpoints are kept", fault);
  std::vector<int64_t> steps = checkpoint_steps(run_folder_);
  int64_t kept = 0;
  for (auto at = steps.rbegin(); at != steps.rend(); ++at)
    if (*at > step_ || ++kept > std::max<int64_t>(keep, 1))
      remove_checkpoint(parent + "/" + step_name(*at));
  return folder;
}

std::vector<int64_t> checkpoint_steps(const std::string& run_folder) {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent_of(run_folder), error)) {
    const std::string name = entry.path().filename().string();
    if (name.size() == 13 && name.starts_with("step-") && is_digits(name.substr(5)))
      steps.push_back(std::stoll(name.substr(5)));
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string verify_checkpoint(const std::string& folder) {
  std::string text;
  return verify(folder, &text);
}

FoundCheckpoint find_newest_valid(const std::string& run_folder) {
  FoundCheckpoint found;
  const std::vector<int64_t> steps = checkpoint_steps(run_folder);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const std::string folder = parent_of(run_folder) + "/" + step_name(*step);
    std::string text;
    if (std::string fault = verify(folder, &text); !fault.empty()) {
      found.rejected.push_back(std::move(fault));
      continue;
    }
    found.folder = folder;
    found.step = *step;
    found.manifest = std::move(text);
    break;
  }
  return found;
}

}  // namespace ocellus
