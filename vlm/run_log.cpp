#include "vlm/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {
namespace {

using nlohmann::json;

/// The step of a complete and valid record, else -1.
int64_t step_of(std::string_view line) {
  try {
    const json record = parse_json(line, "log");
    if (record.is_object() && record.contains("step") && record["step"].is_number_integer())
      return record["step"].get<int64_t>();
  } catch (const FormatError&) {
  }
  return -1;
}

/// Calls visit(line, terminated) for each line of `text`.
template <class F>
void for_each_line(std::string_view text, F&& visit) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    visit(text.substr(0, end), end != std::string_view::npos);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

}  // namespace

RunLog::RunLog(const std::string& path, int64_t resumed_step) : path_(path) {
  if (resumed_step < 0)
    write_file_atomic(path_, "");
  else if (std::filesystem::exists(path_))
    keep_until(resumed_step);
  open();
}

RunLog::~RunLog() {
  if (fd_ >= 0) ::close(fd_);
}

void RunLog::open() {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0)
    fail<Error>("{}: cannot open the log: {}", path_, std::generic_category().message(errno));
}

void RunLog::keep_until(int64_t step) {
  const MappedFile old(path_);
  AtomicFile kept(path_);  // a new file: the old one stays whole until this one is
  for_each_line({reinterpret_cast<const char*>(old.data()), old.size()},
                [&](std::string_view line, bool terminated) {
                  const int64_t at = terminated ? step_of(line) : -1;
                  if (at < 0 || at > step) {
                    ++dropped_;
                    return;
                  }
                  kept.write(line);
                  kept.write("\n");
                });
  kept.commit();
}

void RunLog::append(const json& record) {
  check<Error>(record.is_object() && record.contains("step") && record["step"].is_number_integer(),
               "{}: a record needs an integer \"step\"", path_);
  const std::string line = record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t put = ::write(fd_, line.data() + done, line.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail<Error>("{}: cannot write: {}", path_, std::generic_category().message(errno));
    done += static_cast<size_t>(put);
  }
}

void RunLog::rewind(int64_t step) {
  ::close(std::exchange(fd_, -1));
  keep_until(step);
  open();
}

void RunLog::sync() {
  if (::fsync(fd_) != 0)
    fail<Error>("{}: cannot flush to the disk: {}", path_, std::generic_category().message(errno));
}

std::vector<json> read_run_log(const std::string& path) {
  const MappedFile file(path);
  std::vector<json> records;
  size_t number = 0;
  for_each_line(
      {reinterpret_cast<const char*>(file.data()), file.size()},
      [&](std::string_view line, bool terminated) {
        ++number;
        if (!terminated) return;
        const std::string who = fmt::format("{} line {}", path, number);
        records.push_back(parse_json(line, who));
        const json& step = records.back().is_object() ? records.back()["step"] : records.back();
        check<FormatError>(step.is_number_integer(), "{}: a record needs an integer \"step\"", who);
      });
  return records;
}

}  // namespace ocellus
