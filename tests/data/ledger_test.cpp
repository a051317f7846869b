#include "data/ledger.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

Refusal refusal(const std::string& id) {
  return {"mine", id, "x.jsonl line " + id, "x.jsonl line " + id + ": is bad"};
}

}  // namespace

TEST_CASE("ledger: each refused sample is a line, once") {
  TemporaryFolder folder;
  const std::string path = folder.path / "ledger.jsonl";
  Ledger ledger(path, OnBad::kQuarantine, 10);
  ledger.refuse(refusal("3"));
  ledger.refuse(refusal("8"));
  ledger.refuse(refusal("3"));
  CHECK(ledger.refused() == 2);
  std::istringstream in(slurp(path));
  std::string line;
  std::getline(in, line);
  CHECK(nlohmann::json::parse(line) == nlohmann::json({{"source", "mine"},
                                                       {"id", "3"},
                                                       {"where", "x.jsonl line 3"},
                                                       {"reason", "x.jsonl line 3: is bad"}}));
  std::getline(in, line);
  CHECK(contains(line, "\"8\""));
  CHECK_FALSE(std::getline(in, line));
}

TEST_CASE("ledger: a resumed run reads it back and drops a torn line") {
  TemporaryFolder folder;
  const std::string path = folder.path / "ledger.jsonl";
  { Ledger(path, OnBad::kQuarantine, 10).refuse(refusal("3")); }
  const std::string whole = slurp(path);
  spill(path, whole + "{\"source\":\"mi");
  Ledger ledger(path, OnBad::kQuarantine, 10);
  CHECK(ledger.refused() == 1);
  ledger.refuse(refusal("3"));
  CHECK(slurp(path) == whole);
  ledger.refuse(refusal("4"));
  CHECK(ledger.refused() == 2);
  CHECK(slurp(path).size() == 2 * whole.size());
  spill(path, "hello\n");
  CHECK(error_of<FormatError>([&] { Ledger(path, OnBad::kQuarantine, 10); }) ==
        path + ": byte 0 does not begin a line of a ledger");
}

TEST_CASE("ledger: the policy fail stops at once, a cap stops when it is passed") {
  TemporaryFolder folder;
  const std::string path = folder.path / "ledger.jsonl";
  Ledger strict("", OnBad::kFail, 10);
  CHECK(error_of<FormatError>([&] { strict.refuse(refusal("1")); }) == "x.jsonl line 1: is bad");
  Ledger ledger(path, OnBad::kSubstitute, 2);
  ledger.refuse(refusal("1"));
  ledger.refuse(refusal("2"));
  CHECK(error_of<FormatError>([&] { ledger.refuse(refusal("3")); }) ==
        path + ": 3 samples were refused, at most 2 may be; the last: x.jsonl line 3: is bad");
  CHECK(contains(slurp(path), "\"3\""));  // the one too many is on record as well
  CHECK(error_of<Error>([] { Ledger("/nowhere/ledger.jsonl", OnBad::kFail, 1); }) ==
        "/nowhere/ledger.jsonl: cannot open the ledger for writing: No such file or directory");
}

TEST_CASE("ledger: shares, names and odd text") {
  CHECK(ledger_cap(0.001, 38575) == 38);
  CHECK(ledger_cap(0.001, 20) == 1);
  CHECK(ledger_cap(0, 20) == 0);
  CHECK(error_of<UsageError>([] { ledger_cap(2, 20); }) ==
        "ledger: the share of samples that may be refused must be in 0 … 1, got 2");
  CHECK(on_bad_from_name("substitute") == OnBad::kSubstitute);
  CHECK(error_of<UsageError>([] { on_bad_from_name("skip"); }) ==
        "ledger: the policy must be fail, quarantine or substitute, got \"skip\"");
  TemporaryFolder folder;
  Ledger ledger(folder.path / "l", OnBad::kQuarantine, 5);
  ledger.refuse(
      {"mine", "1\n2", "caf\xe9", "\"quoted\""});  // invalid UTF-8 is replaced, not thrown on
  CHECK(contains(slurp(folder.path / "l"), "1\\n2"));
}

TEST_CASE("ledger: threads") {
  TemporaryFolder folder;
  const std::string path = folder.path / "ledger.jsonl";
  Ledger ledger(path, OnBad::kQuarantine, 1000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) ledger.refuse(refusal(std::to_string(i)));
    });
  for (auto& thread : threads) thread.join();
  CHECK(ledger.refused() == 100);
  CHECK(Ledger(path, OnBad::kQuarantine, 1000).refused() == 100);
}
