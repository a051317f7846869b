#include "vlm/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "engine/check.h"
#include "engine/file.h"

namespace ocellus {
namespace {

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82f63b78u : 0);
    table[byte] = value;
  }
  return table;
}();

/// The format stores checksums turned and shifted, because a checksum over data that holds its own
/// checksum is weak.
uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

template <class T>
std::string little_endian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xff);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

// Wire types of protocol buffers: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
std::string tag(int field, int wire) { return varint(static_cast<uint64_t>(field * 8 + wire)); }
std::string bytes_field(int field, std::string_view bytes) {
  return tag(field, 2) + varint(bytes.size()) + std::string(bytes);
}
std::string integer_field(int field, int64_t value) {
  return tag(field, 0) + varint(static_cast<uint64_t>(value));
}
std::string double_field(int field, double value) {
  return tag(field, 1) + little_endian(std::bit_cast<uint64_t>(value));
}
std::string float_field(int field, float value) {
  return tag(field, 5) + little_endian(std::bit_cast<uint32_t>(value));
}

std::string record(std::string_view event) {
  const std::string length = little_endian(static_cast<uint64_t>(event.size()));
  return length + little_endian(masked(crc32c(length))) + std::string(event) +
         little_endian(masked(crc32c(event)));
}

double now() {
  using namespace std::chrono;
  return duration<double>(system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (const char c : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

// Event: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7.
// Summary: value = 1; Value: tag = 1, simple_value = 2. SessionLog: status = 1, where START = 1.
std::string event_record(double seconds, int64_t step,
                         const std::vector<std::pair<std::string, float>>& scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars)
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, value));
  return record(double_field(1, seconds) + integer_field(2, step) + bytes_field(5, summary));
}

std::string version_record(double seconds) {
  return record(double_field(1, seconds) + bytes_field(3, "brain.Event:2"));
}

std::string session_record(double seconds, int64_t step) {
  return record(double_field(1, seconds) + integer_field(2, step) +
                bytes_field(7, integer_field(1, 1)));
}

EventWriter::EventWriter(const std::string& folder, int64_t resumed_step) {
  make_folders(folder);
  static std::atomic<int> counter{0};
  const double seconds = now();
  path_ = fmt::format("{}/events.out.tfevents.{:010}.{}.{}.{}", folder,
                      static_cast<int64_t>(seconds), host_name(), ::getpid(), counter++);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0)
    fail<Error>("{}: cannot create the file: {}", path_, std::generic_category().message(errno));
  write(version_record(seconds));
  if (resumed_step >= 0) write(session_record(seconds, resumed_step + 1));
}

EventWriter::~EventWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void EventWriter::add(int64_t step, const std::vector<std::pair<std::string, float>>& scalars) {
  write(event_record(now(), step, scalars));
}

void EventWriter::write(const std::string& record) {
  size_t done = 0;
  while (done < record.size()) {
    const ssize_t put = ::write(fd_, record.data() + done, record.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail<Error>("{}: cannot write: {}", path_, std::generic_category().message(errno));
    done += static_cast<size_t>(put);
  }
}

}  // namespace ocellus
