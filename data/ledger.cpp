#include "data/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/check.h"
#include "engine/file.h"

namespace ocellus {

struct Ledger::State {
  std::string path;
  std::mutex mutex;
  std::map<std::string, std::set<std::string>> refused;  // by source: ids
};

Ledger::Ledger(const std::string& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  if (!std::filesystem::exists(path)) return;
  std::istringstream lines(read_file(path));
  std::string line;
  while (std::getline(lines, line)) {
    // A line cut off by a kill is not valid JSON; its sample will be refused again.
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (record.is_object() && record.contains("source") && record.contains("id") &&
        record["source"].is_string() && record["id"].is_string())
      state_->refused[record["source"].get<std::string>()].insert(record["id"].get<std::string>());
  }
}

Ledger::~Ledger() = default;

void Ledger::refuse(const std::string& source, const std::string& id, const std::string& where,
                    const std::string& reason, int64_t cap) {
  std::lock_guard lock(state_->mutex);
  auto& ids = state_->refused[source];
  if (ids.insert(id).second) {
    const std::string line =
        nlohmann::json({{"source", source}, {"id", id}, {"where", where}, {"reason", reason}})
            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
        "\n";
    const int fd = ::open(state_->path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    const bool written = fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    const int error = errno;
    if (fd >= 0) ::close(fd);
    check<Error>(written, "{}: cannot append: {}", state_->path, std::strerror(error));
  }
  check<FormatError>(static_cast<int64_t>(ids.size()) <= cap,
                     "{}: more than {} samples are refused; the last: {}", source, cap, reason);
}

int64_t Ledger::count() const {
  std::lock_guard lock(state_->mutex);
  int64_t total = 0;
  for (const auto& [source, ids] : state_->refused) total += static_cast<int64_t>(ids.size());
  return total;
}

}  // namespace ocellus
