// Which op first produced a number that is not finite.
#pragma once
#include <string>

namespace ocellus {

/// FiniteWatch — while it lives, every op that runs on this thread has its outputs checked; first() names
/// the first op whose output holds NaN or infinity, with the output's shape. Slow: for the one step that
/// went bad.
class FiniteWatch {
 public:
  FiniteWatch();
  ~FiniteWatch();
  FiniteWatch(const FiniteWatch&) = delete;
  const std::string& first() const;

 private:
  std::string before_;
  bool active_before_;
};

}  // namespace ocellus
