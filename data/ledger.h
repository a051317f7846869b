// The ledger of refused samples: what was left out, where it stands and why, one line of JSON each.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace ocellus {

/// What a sample that cannot be read leads to.
enum class OnBad : uint8_t {
  kFail,        // the run stops with the sample's message
  kQuarantine,  // the sample is left out; all others keep their positions
  kSubstitute,  // another sample takes its position (Mixture::substitute); all others keep theirs
};

/// on_bad_from_name — "fail" "quarantine" "substitute"; UsageError otherwise.
OnBad on_bad_from_name(const std::string& name);

/// ledger_cap — `share` of `samples`, rounded down, but at least one if the share is above 0: how
/// many refusals a run bears (0.001: one in a thousand).
uint64_t ledger_cap(double share, uint64_t samples);

/// One refused sample.
struct Refusal {
  std::string source;  // name of the source
  std::string id;      // of the sample, or its index where its record cannot be read
  std::string where;   // file and line
  std::string reason;  // the sentence of the error
};

/// Ledger — appends each newly refused sample to `path` as {"source", "id", "where", "reason"}. A
/// sample that is refused again (next epoch, or after a resume: the file is read back) is counted
/// once. A last line torn by a crash is dropped. Safe to use from several threads.
class Ledger {
 public:
  /// `path` empty: counts only. `cap`: how many different samples may be refused in all.
  Ledger(std::string path, OnBad policy, uint64_t cap);
  ~Ledger();

  OnBad policy() const;
  /// Samples refused so far, each counted once.
  uint64_t refused() const;
  /// Takes note of a refusal. Throws FormatError: with the reason alone if the policy is kFail;
  /// naming ledger, cap and reason if this is one too many.
  void refuse(const Refusal& refusal);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocellus
