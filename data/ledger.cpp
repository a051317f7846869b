#include "data/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "engine/check.h"
#include "engine/file.h"

namespace ocellus {
namespace {

using nlohmann::json;

// The samples that an earlier run of the same folder noted down; the length of the text that is
// whole lines.
size_t read_back(const std::string& text, const std::string& path,
                 std::set<std::pair<std::string, std::string>>& seen) {
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const json line = json::parse(text.substr(begin, end - begin), nullptr, false);
    const bool ok = line.is_object() && line.contains("source") && line["source"].is_string() &&
                    line.contains("id") && line["id"].is_string();
    check<FormatError>(ok, "{}: byte {} does not begin a line of a ledger", path, begin);
    seen.emplace(line["source"], line["id"]);
  }
  return begin;
}

}  // namespace

struct Ledger::State {
  std::string path;
  OnBad policy;
  uint64_t cap;
  std::mutex mutex;
  std::set<std::pair<std::string, std::string>> seen;  // (source, id)
  int fd = -1;

  ~State() {
    if (fd >= 0) ::close(fd);
  }

  void open() {
    std::error_code ignored;
    size_t whole = 0;
    if (std::filesystem::exists(path, ignored)) whole = read_back(read_file(path), path, seen);
    fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    check<Error>(fd >= 0, "{}: cannot open the ledger for writing: {}", path,
                 std::generic_category().message(errno));
    check<Error>(::ftruncate(fd, static_cast<off_t>(whole)) == 0,
                 "{}: cannot drop the torn last line: {}", path,
                 std::generic_category().message(errno));
  }

  // One write a line, so that a crash leaves whole lines, or one torn line at the end.
  void append(const Refusal& refusal) {
    const json line = {{"source", refusal.source},
                       {"id", refusal.id},
                       {"where", refusal.where},
                       {"reason", refusal.reason}};
    const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
    for (size_t done = 0; done < text.size();) {
      const ssize_t wrote = ::write(fd, text.data() + done, text.size() - done);
      if (wrote < 0 && errno == EINTR) continue;
      check<Error>(wrote > 0, "{}: cannot write to the ledger: {}", path,
                   std::generic_category().message(errno));
      done += static_cast<size_t>(wrote);
    }
  }
};

OnBad on_bad_from_name(const std::string& name) {
  if (name == "fail") return OnBad::kFail;
  if (name == "quarantine") return OnBad::kQuarantine;
  if (name == "substitute") return OnBad::kSubstitute;
  fail<UsageError>("ledger: the policy must be fail, quarantine or substitute, got \"{}\"", name);
}

uint64_t ledger_cap(double share, uint64_t samples) {
  check<UsageError>(share >= 0 && share <= 1,
                    "ledger: the share of samples that may be refused must be in 0 … 1, got {}",
                    share);
  if (share == 0) return 0;
  return std::max<uint64_t>(
      1, static_cast<uint64_t>(std::floor(share * static_cast<double>(samples))));
}

Ledger::Ledger(std::string path, OnBad policy, uint64_t cap) : state_(std::make_unique<State>()) {
  state_->path = std::move(path);
  state_->policy = policy;
  state_->cap = cap;
  if (!state_->path.empty()) state_->open();
}

Ledger::~Ledger() = default;

OnBad Ledger::policy() const { return state_->policy; }

uint64_t Ledger::refused() const {
  std::lock_guard lock(state_->mutex);
  return state_->seen.size();
}

void Ledger::refuse(const Refusal& refusal) {
  State& s = *state_;
  if (s.policy == OnBad::kFail) throw FormatError(refusal.reason);
  std::lock_guard lock(s.mutex);
  if (!s.seen.emplace(refusal.source, refusal.id).second) return;
  if (s.fd >= 0) s.append(refusal);
  check<FormatError>(s.seen.size() <= s.cap,
                     "{}{} samples were refused, at most {} may be; the last: {}",
                     s.path.empty() ? "" : s.path + ": ", s.seen.size(), s.cap, refusal.reason);
}

}  // namespace ocellus
