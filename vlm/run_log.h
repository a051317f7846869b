// log.jsonl: what happened in a run, one JSON object a line, in the order of the steps.
//
// A record of a step has "step", and as far as they apply:
//   stage, loss, lr (number, or pattern → number), grad_norm, grad_norms (group → number), tokens,
//   samples, tokens_per_s, images_per_s, step_ms, data_wait (share of the step), peak_mb, skipped
// A record of an evaluation has "step" and
//   eval: {name, accuracy, n, by_source: {name → {accuracy, n}}}
// Readers ignore records and fields that they do not know. Numbers that are not finite become null.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace ocellus {

class RunLog {
 public:
  /// Opens `path` for appending. A fresh run (`resumed_step` < 0) begins with an empty file; a
  /// resumed one keeps the complete records up to and including `resumed_step` and drops the rest:
  /// what a killed process logged after its last checkpoint, and a line it did not finish. Throws
  /// Error naming the path.
  explicit RunLog(const std::string& path, int64_t resumed_step = -1);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  /// Appends one record, which must have an integer "step". Written with one call of the system, so
  /// that a kill leaves whole lines but for the last. Throws Error if the disk is full.
  void append(const nlohmann::json& record);

  /// Drops the records after `step`: for a run that rewinds. As at opening.
  void rewind(int64_t step);

  /// Flushes to the disk; called with each checkpoint.
  void sync();

  /// Lines dropped by the constructor and by rewind().
  int64_t dropped() const { return dropped_; }

 private:
  void open();
  void keep_until(int64_t step);

  std::string path_;
  int fd_ = -1;
  int64_t dropped_ = 0;
};

/// read_run_log — the records of `path`. A last line without its line break is left out; any other
/// damaged line is a FormatError naming its number.
std::vector<nlohmann::json> read_run_log(const std::string& path);

}  // namespace ocellus
