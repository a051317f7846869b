// The ledger of refused samples: which, where, why. Nothing vanishes silently.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace ocellus {

/// Ledger — `ledger.jsonl`: one object {"source", "id", "where", "reason"} per refused sample, each once,
/// also over resumed runs. Safe to use from several threads.
class Ledger {
 public:
  /// Reads what an earlier part of the run has refused; a missing file is an empty ledger.
  explicit Ledger(const std::string& path);
  ~Ledger();
  /// Records a refused sample. Throws FormatError once more than `cap` samples of `source` are refused,
  /// with the reason of this one.
  void refuse(const std::string& source, const std::string& id, const std::string& where,
              const std::string& reason, int64_t cap);
  int64_t count() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocellus
