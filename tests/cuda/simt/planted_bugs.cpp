// Does the emulator notice? Each planted fault must be reported, as what it is; right kernels must
// not.
#include <doctest/doctest.h>

#include <string>

#include "cuda/simt/report.h"
#include "cuda/simt/schedule.h"
#include "tests/cuda/simt/planted.h"

using namespace ocellus;

TEST_CASE("simt: planted faults are reported, right kernels are not, in any order of threads") {
  for (simt::Order order : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kRandom}) {
    simt::set_order(order, 7);
    for (const Planted& planted : planted_kernels()) {
      std::string report;
      try {
        planted.run();
      } catch (const simt::SimtError& error) {
        report = error.what();
      }
      CAPTURE(std::string(planted.name));
      CAPTURE(report);
      if (*planted.kind == 0) {
        CHECK(report.empty());
        continue;
      }
      CHECK(report.starts_with(planted.kind));
      // Which of several guilty threads comes first depends on the order.
      if (order == simt::Order::kForward) CHECK(report.find(planted.mentions) != std::string::npos);
    }
  }
  simt::set_order(simt::Order::kForward);
}

TEST_CASE("simt: a report names the lines, or offsets where addr2line is missing") {
  for (const Planted& planted : planted_kernels())
    if (std::string(planted.name) == "store past the end") {
      std::string report;
      try {
        planted.run();
      } catch (const simt::SimtError& error) {
        report = error.what();
      }
      CAPTURE(report);
      CHECK((report.find("planted.cu:") != std::string::npos ||
             report.find("offset 0x") != std::string::npos));
    }
}
