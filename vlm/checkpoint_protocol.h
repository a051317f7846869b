// Checkpoints that survive being killed at any moment.
//
//   run/checkpoints/step-00000600.tmp-PID-RANDOM/   parts are written here, each flushed to the
//   disk,
//       model.safetensors  state.json  …            then manifest.json with sizes and checksums,
//       last;
//   run/checkpoints/step-00000600/                  the folder is renamed, which is atomic;
//   run/latest                                      then says "checkpoints/step-00000600".
//
// A folder without a manifest that verifies is not a checkpoint. Older checkpoints are removed only
// after the new one was read back. Nothing here knows what the parts contain.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace ocellus {

/// RunLock — the right to write into a run folder, held until destruction or the end of the
/// process. Creates the folder. Throws UsageError if another process (or object) holds it, Error if
/// the folder cannot be written. With the lock taken, temporary files and folders of dead writers
/// are removed.
class RunLock {
 public:
  explicit RunLock(const std::string& run_folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// Temporary files and folders that were removed.
  const std::vector<std::string>& removed() const { return removed_; }

 private:
  int fd_ = -1;
  std::vector<std::string> removed_;
};

class CheckpointWriter {
 public:
  /// Begins the checkpoint of `step` in `run_folder`, whose RunLock the caller holds.
  /// `expected_bytes` is the size of all parts together; throws Error if the disk has not that much
  /// room.
  CheckpointWriter(const std::string& run_folder, int64_t step, uint64_t expected_bytes);
  /// Removes the temporary folder unless commit() succeeded.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Where to write the part `name` ("model/config.json": folders are made). Each part must exist
  /// as a regular file at commit().
  std::string part_path(const std::string& name);

  /// Completes the checkpoint and returns its folder. `extra` is an object whose members join the
  /// manifest: hash of the recipe, counts of samples and tokens, versions. Afterwards `keep`
  /// checkpoints remain, this one included; those with a higher step, from a course that was
  /// abandoned, go too. Throws Error naming part and cause; then the older checkpoints are as they
  /// were.
  std::string commit(const nlohmann::json& extra, int64_t keep);

 private:
  std::string run_folder_, name_, temporary_;
  int64_t step_;
  std::vector<std::string> parts_;
};

/// FoundCheckpoint — the newest checkpoint that verifies, and why newer ones were passed over.
struct FoundCheckpoint {
  std::string folder;  // empty: there is none
  int64_t step = -1;
  std::string manifest;               // JSON text
  std::vector<std::string> rejected;  // a sentence each
};

/// find_newest_valid — verifies sizes and checksums of all parts, highest step first.
FoundCheckpoint find_newest_valid(const std::string& run_folder);

/// verify_checkpoint — "" if the folder is a whole checkpoint, else a sentence naming the first
/// fault.
std::string verify_checkpoint(const std::string& folder);

/// checkpoint_steps — steps of the folders named as checkpoints, ascending; unverified.
std::vector<int64_t> checkpoint_steps(const std::string& run_folder);

}  // namespace ocellus
