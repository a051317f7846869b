#include "vlm/run_log.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/file.h"

using namespace ocellus;
using nlohmann::json;

namespace {

/// A path of our own under the system's temporary folder, removed at the end.
struct TemporaryPath {
  TemporaryPath()
      : path(
            (std::filesystem::temp_directory_path() / ("ocellus_log_" + std::to_string(::getpid())))
                .string()) {}
  ~TemporaryPath() { std::filesystem::remove(path); }
  std::string path;
};

std::vector<int64_t> steps_in(const std::string& path) {
  std::vector<int64_t> steps;
  for (const json& record : read_run_log(path)) steps.push_back(record["step"]);
  return steps;
}

}  // namespace

TEST_CASE("run_log: one line a record, as written") {
  const TemporaryPath log;
  {
    RunLog run(log.path);
    run.append({{"step", 1}, {"loss", 0.5}});
    run.append({{"step", 2}, {"loss", std::nan("")}, {"stage", "caf\xff"}});
    run.sync();
  }
  CHECK(read_file(log.path) ==
        "{\"loss\":0.5,\"step\":1}\n{\"loss\":null,\"stage\":\"caf\xef\xbf\xbd\",\"step\":2}\n");
  CHECK(read_run_log(log.path)[0]["loss"] == 0.5);
}

TEST_CASE("run_log: a fresh run begins empty, a resumed one keeps the steps up to its checkpoint") {
  const TemporaryPath log;
  {
    RunLog run(log.path);
    for (int64_t step = 1; step <= 5; ++step) run.append({{"step", step}});
  }
  {
    RunLog run(log.path, 3);
    CHECK(run.dropped() == 2);
    run.append({{"step", 4}});
  }
  CHECK(steps_in(log.path) == std::vector<int64_t>{1, 2, 3, 4});
  {
    const RunLog run(log.path, 100);
    CHECK(run.dropped() == 0);
  }
  CHECK(steps_in(log.path) == std::vector<int64_t>{1, 2, 3, 4});
  const RunLog run(log.path);
  CHECK(steps_in(log.path).empty());
}

TEST_CASE("run_log: a resume repairs the line that a kill cut off, at every byte of it") {
  const TemporaryPath log;
  const std::string head = "{\"step\":1}\n{\"step\":2}\n", last = "{\"step\":3,\"loss\":1.5}\n";
  for (size_t bytes = 0; bytes <= last.size(); ++bytes) {
    write_file_atomic(log.path, head + last.substr(0, bytes));
    RunLog run(log.path, 3);
    CHECK(run.dropped() == (bytes > 0 && bytes < last.size() ? 1 : 0));
    run.append({{"step", 4}});
    CHECK(steps_in(log.path) == (bytes == last.size() ? std::vector<int64_t>{1, 2, 3, 4}
                                                      : std::vector<int64_t>{1, 2, 4}));
  }
}

TEST_CASE("run_log: a resume without a log begins one; a rewind drops the abandoned steps") {
  const TemporaryPath log;
  RunLog run(log.path, 7);
  for (int64_t step = 8; step <= 12; ++step) run.append({{"step", step}});
  run.rewind(9);
  CHECK(run.dropped() == 3);
  run.append({{"step", 10}});
  CHECK(steps_in(log.path) == std::vector<int64_t>{8, 9, 10});
}

TEST_CASE("run_log: errors name the path, and the line") {
  const TemporaryPath log;
  RunLog run(log.path);
  CHECK_THROWS_WITH_AS(run.append({{"loss", 1}}),
                       (log.path + ": a record needs an integer \"step\"").c_str(), Error);
  CHECK_THROWS_WITH_AS(RunLog("/nonexistent/log.jsonl"),
                       "/nonexistent/log.jsonl: cannot create the file: No such file or directory",
                       Error);
  CHECK_THROWS_WITH_AS(RunLog("/nonexistent/log.jsonl", 3),
                       "/nonexistent/log.jsonl: cannot open the log: No such file or directory",
                       Error);
  CHECK_THROWS_AS(RunLog("/dev/full", 3), Error);
  write_file_atomic(log.path, "{\"step\":1}\nnonsense\n{\"step\":3}\n");
  CHECK_THROWS_WITH_AS(read_run_log(log.path), doctest::Contains("line 2: not valid JSON at byte"),
                       FormatError);
  write_file_atomic(log.path, "{\"step\":1}\n[2]\n");
  CHECK_THROWS_WITH_AS(read_run_log(log.path),
                       doctest::Contains("line 2: a record needs an integer"), FormatError);
}
