#include "vlm/progress.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

using namespace ocellus;

namespace {

/// Collects what is printed into a FILE* in memory.
struct Screen {
  Screen() : file(::open_memstream(&bytes, &size)) {}
  ~Screen() {
    std::fclose(file);
    ::free(bytes);
  }
  std::string text() {
    std::fflush(file);
    return std::string(bytes, size);
  }
  char* bytes = nullptr;
  size_t size = 0;
  std::FILE* file;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("progress: durations read as a person writes them") {
  CHECK(format_duration(0.4) == "0 s");
  CHECK(format_duration(42) == "42 s");
  CHECK(format_duration(59.6) == "1:00");
  CHECK(format_duration(187) == "3:07");
  CHECK(format_duration(7387) == "2:03:07");
  CHECK(format_duration(-1) == "?");
  CHECK(format_duration(std::nan("")) == "?");
  CHECK(format_duration(INFINITY) == "?");
}

TEST_CASE("progress: without a terminal, one plain line an interval and one at the end") {
  Screen screen;
  double now = 100;
  {
    Progress progress(
        25, 0, {.every = 10, .out = screen.file, .terminal = 0, .clock = [&] { return now; }});
    for (int64_t step = 1; step <= 25; ++step) {
      now += 2;
      progress.update(step, "naming", "loss 0.5");
    }
    progress.message("saved");
  }
  CHECK(screen.text() ==
        "step 10/25  naming  loss 0.5  30 s left\n"
        "step 20/25  naming  loss 0.5  10 s left\n"
        "step 25/25  naming  loss 0.5  0 s left\n"
        "saved\n");
}

TEST_CASE("progress: on a terminal, a bar within the width, redrawn at most ten times a second") {
  Screen screen;
  double now = 0;
  Progress progress(100, 0,
                    {.out = screen.file, .terminal = 1, .width = 70, .clock = [&] { return now; }});
  now = 1;
  progress.update(50, "all", "loss 0.25");
  const std::string first = screen.text();
  CHECK(first == "\r[==============             ]  50 %  50/100  all  loss 0.25  1 s left\x1b[K");
  now = 1.05;
  progress.update(51, "all", "loss 0.25");
  CHECK(screen.text() == first);
  now = 1.2;
  progress.update(52, "all", "loss 0.25");
  CHECK(contains(screen.text(), "52/100"));
  progress.message("evaluated");
  CHECK(contains(screen.text(), "\r\x1b[Kevaluated\n"));
  progress.finish();
  progress.finish();
  CHECK(screen.text().back() == '\n');
}

TEST_CASE("progress: a narrow terminal gets text cut to its width, no bar") {
  Screen screen;
  Progress progress(100, 0,
                    {.out = screen.file, .terminal = 1, .width = 20, .clock = [] { return 0.0; }});
  progress.update(50, "all", "loss 0.25");
  CHECK(screen.text() == "\r  50 %  50/100  all\x1b[K");
}

TEST_CASE("progress: the time left counts only the steps of this process and follows the speed") {
  Screen screen;
  double now = 0;
  Progress progress(1000, 900, {.out = screen.file, .terminal = 0, .clock = [&] { return now; }});
  CHECK(progress.seconds_left() < 0);
  now = 2;
  progress.update(901, "", "");
  CHECK(progress.seconds_left() == doctest::Approx(198));
  for (int64_t step = 902; step <= 999; ++step) {
    now += 0.5;
    progress.update(step, "", "");
  }
  CHECK(progress.seconds_left() == doctest::Approx(0.5).epsilon(0.1));
}
