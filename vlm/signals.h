// SIGINT and SIGTERM as a flag that every loop polls: save, then leave.
#pragma once

namespace ocellus {

/// SignalScope — while it lives, SIGINT and SIGTERM only set the flag; a second one of the same kind
/// ends the process at once.
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
};

/// The signal that arrived, or 0.
int pending_signal();

}  // namespace ocellus
