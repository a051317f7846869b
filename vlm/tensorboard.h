// TensorBoard event files: scalars over steps.
//
// A file is a sequence of records: u64 length, masked CRC-32C of the length, an Event message of
// protocol buffers, masked CRC-32C of the message; all little-endian. The messages used here are so
// small that they are written by hand.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ocellus {

/// crc32c — CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of `bytes`.
uint32_t crc32c(std::string_view bytes);

/// event_record — a record holding an Event with wall time `seconds`, `step` and one scalar a tag.
std::string event_record(double seconds, int64_t step,
                         const std::vector<std::pair<std::string, float>>& scalars);

/// version_record — the record that every event file begins with.
std::string version_record(double seconds);

/// session_record — tells readers to forget what earlier files of the folder say from `step` on.
std::string session_record(double seconds, int64_t step);

/// EventWriter — a new event file in `folder`. A resumed run opens another one beside the older
/// files and passes the step it resumed from; TensorBoard then shows one continuous curve.
class EventWriter {
 public:
  explicit EventWriter(const std::string& folder, int64_t resumed_step = -1);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  /// Appends scalars for `step` at the present time. Throws Error if the disk is full.
  void add(int64_t step, const std::vector<std::pair<std::string, float>>& scalars);
  const std::string& path() const { return path_; }

 private:
  void write(const std::string& record);

  std::string path_;
  int fd_ = -1;
};

}  // namespace ocellus
