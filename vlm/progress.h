// Progress of a run for a person: a bar with the time left on a terminal, plain lines in a file.
#pragma once
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>

namespace ocellus {

/// format_duration — "42 s", "3:07", "2:03:07"; "?" if not finite or negative.
std::string format_duration(double seconds);

class Progress {
 public:
  struct Options {
    int64_t every = 10;  // steps between lines where there is no terminal
    std::FILE* out = stderr;
    int terminal = -1;                   // 1 or 0 instead of asking whether `out` is one
    int width = 0;                       // columns instead of asking the terminal
    std::function<double()> clock = {};  // seconds, monotonic; for tests
  };

  /// For steps first + 1 … total; a resumed run starts with `first` steps done.
  Progress(int64_t total, int64_t first, Options options);
  Progress(int64_t total, int64_t first = 0) : Progress(total, first, Options()) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Step `step` (1-based) is done; `label` names the stage, `status` is short text such as
  /// "loss 0.312  1.2k tok/s". Draws at most ten times a second on a terminal.
  void update(int64_t step, const std::string& label, const std::string& status);

  /// A line of its own, above the bar.
  void message(const std::string& line);

  /// Ends the bar; later output starts on a fresh line. Called by the destructor as well.
  void finish();

  /// Seconds left, from the speed of recent steps; negative while unknown.
  double seconds_left() const;

 private:
  void draw();
  std::string bar_line() const;

  int64_t total_, done_;
  Options options_;
  bool terminal_;
  double last_time_;
  double seconds_per_step_ = -1;  // running mean
  double drawn_at_ = -1;
  bool bar_shown_ = false;
  std::string label_, status_;
};

}  // namespace ocellus
