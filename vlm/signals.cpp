#include "vlm/signals.h"

#include <csignal>

namespace ocellus {
namespace {

volatile std::sig_atomic_t arrived = 0;

void on_signal(int number) {
  if (arrived == number) {  // asked twice: do not wait for the save
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  arrived = number;
}

}  // namespace

SignalScope::SignalScope() {
  arrived = 0;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

SignalScope::~SignalScope() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int pending_signal() { return arrived; }

}  // namespace ocellus
