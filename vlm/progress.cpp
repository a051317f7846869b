#include "vlm/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/check.h"

namespace ocellus {
namespace {

double steady_seconds() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

int columns_of(std::FILE* out) {
  winsize size{};
  if (::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

Progress::Progress(int64_t total, int64_t first, Options options)
    : total_(total), done_(first), options_(std::move(options)) {
  if (!options_.clock) options_.clock = steady_seconds;
  terminal_ =
      options_.terminal >= 0 ? options_.terminal == 1 : ::isatty(::fileno(options_.out)) == 1;
  last_time_ = options_.clock();
}

Progress::~Progress() { finish(); }

void Progress::update(int64_t step, const std::string& label, const std::string& status) {
  const double now = options_.clock();
  if (step > done_) {
    const double sample = (now - last_time_) / static_cast<double>(step - done_);
    // Follows a change of speed, such as the next stage, within some fifty steps.
    const double weight = std::min(1.0, 0.04 * static_cast<double>(step - done_));
    seconds_per_step_ =
        seconds_per_step_ < 0 ? sample : seconds_per_step_ + weight * (sample - seconds_per_step_);
  }
  last_time_ = now;
  done_ = step;
  label_ = label;
  status_ = status;
  if (terminal_) {
    if (now - drawn_at_ >= 0.1 || step == total_) draw();
  } else if (step % std::max<int64_t>(options_.every, 1) == 0 || step == total_) {
    fmt::print(options_.out, "step {}/{}  {}  {}  {} left\n", step, total_, label, status,
               format_duration(seconds_left()));
    std::fflush(options_.out);
  }
}

double Progress::seconds_left() const {
  return seconds_per_step_ < 0 ? -1 : seconds_per_step_ * static_cast<double>(total_ - done_);
}

std::string Progress::bar_line() const {
  const double share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1;
  const std::string text =
      fmt::format(" {:3.0f} %  {}/{}  {}  {}  {} left", std::floor(share * 100), done_, total_,
                  label_, status_, format_duration(seconds_left()));
  const int width = (options_.width > 0 ? options_.width : columns_of(options_.out)) - 1;
  const int room = std::min(30, width - static_cast<int>(text.size()) - 2);
  if (room < 5) return text.substr(0, static_cast<size_t>(std::max(width, 0)));
  const int filled = std::clamp(static_cast<int>(std::lround(share * room)), 0, room);
  return fmt::format("[{}{}]{}", std::string(static_cast<size_t>(filled), '='),
                     std::string(static_cast<size_t>(room - filled), ' '), text);
}

void Progress::draw() {
  // Return to the start of the line, and erase what an earlier, longer line left behind.
  fmt::print(options_.out, "\r{}\x1b[K", bar_line());
  std::fflush(options_.out);
  drawn_at_ = options_.clock();
  bar_shown_ = true;
}

void Progress::message(const std::string& line) {
  if (bar_shown_) fmt::print(options_.out, "\r\x1b[K");
  fmt::print(options_.out, "{}\n", line);
  if (bar_shown_) draw();
  std::fflush(options_.out);
}

void Progress::finish() {
  if (!bar_shown_) return;
  draw();
  fmt::print(options_.out, "\n");
  std::fflush(options_.out);
  bar_shown_ = false;
}

}  // namespace ocellus
