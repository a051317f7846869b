#include "vlm/tensorboard.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>

#include "engine/check.h"
#include "engine/file.h"

using namespace ocellus;

namespace {

std::string hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

}  // namespace

TEST_CASE("tensorboard: CRC-32C of the published check string and of 32 zero bytes") {
  CHECK(crc32c("123456789") == 0xe3069283u);              // the catalogue's check value
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);    // RFC 3720, appendix B.4
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);  // likewise
  CHECK(crc32c("") == 0);
}

TEST_CASE("tensorboard: records are the bytes that the tensorboard package writes") {
  // From tensorboard.summary.writer.record_writer.RecordWriter with the same events.
  CHECK(hex(version_record(1700000000.5)) ==
        "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110");
  CHECK(hex(session_record(1700000001.25, 301)) ==
        "100000000000000095fbfe180900005040fc54d94110ad023a0208012381b115");
  CHECK(
      hex(event_record(1700000002.0, 301, {{"train/loss", 0.25f}, {"eval/accuracy", 0.984375f}})) ==
      "3700000000000000e7e8ca590900008040fc54d94110ad022a290a110a0a747261696e2f6c6f7373150000803e"
      "0a140a0d6576616c2f61636375726163791500007c3f8aa27667");
}

TEST_CASE("tensorboard: each writer has a file of its own, a resumed one says from where") {
  const std::string folder =
      (std::filesystem::temp_directory_path() / ("ocellus_events_" + std::to_string(::getpid())))
          .string();
  std::string first, second;
  {
    EventWriter a(folder), b(folder, 300);
    a.add(1, {{"loss", 1.0f}});
    first = a.path();
    second = b.path();
  }
  CHECK(first != second);
  CHECK(first.find(folder + "/events.out.tfevents.") == 0);
  CHECK(read_file(first).size() ==
        version_record(0).size() + event_record(0, 1, {{"loss", 1.0f}}).size());
  CHECK(read_file(second).size() == version_record(0).size() + session_record(0, 301).size());
  std::filesystem::remove_all(folder);
}

TEST_CASE("tensorboard: a folder that cannot be made is named") {
  CHECK_THROWS_WITH_AS(EventWriter("/proc/none"),
                       doctest::Contains("/proc/none: cannot create the folder"), Error);
}
