#include "engine/json.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "engine/check.h"
#include "engine/file.h"

namespace ocellus {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 128;
constexpr size_t kMaxShown = 120;  // bytes of the input that an error message repeats

/// The text as it may stand in an error message: short, printable ASCII.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxShown)) out += (c >= ' ' && c <= '~') ? c : '?';
  if (text.size() > kMaxShown) out += "...";
  return out;
}

/// Builds the value from the parser's events. nlohmann's own builder keeps the last of two equal
/// keys and accepts any depth; this one throws at either.
class StrictBuilder {
 public:
  explicit StrictBuilder(const std::string& who) : who_(who) {}
  json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(json::number_integer_t value) { return put(value); }
  bool number_unsigned(json::number_unsigned_t value) { return put(value); }
  bool number_float(json::number_float_t value, const std::string&) { return put(value); }
  bool string(std::string& value) { return put(std::move(value)); }
  bool binary(json::binary_t&) { return false; }  // does not occur in text
  bool start_object(size_t) { return open(json::object()); }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(json::array()); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    auto [at, inserted] = open_.back()->get_ref<json::object_t&>().try_emplace(name, nullptr);
    check<FormatError>(inserted, "{}: the key \"{}\" occurs twice in one JSON object", who_,
                       printable(name));
    member_ = &at->second;
    return true;
  }

  bool parse_error(size_t byte, const std::string&, const json::exception& error) {
    std::string_view reason =
        error.what();  // "[json.exception.parse_error.101] parse error at line …: reason"
    const size_t bracket = reason.find("] ");
    if (bracket != std::string_view::npos) reason.remove_prefix(bracket + 2);
    const size_t place = reason.find(": ");
    if (reason.starts_with("parse error at") && place != std::string_view::npos)
      reason.remove_prefix(place + 2);
    fail<FormatError>("{}: not valid JSON at byte {}: {}", who_, byte, printable(reason));
  }

 private:
  template <class T>
  bool put(T&& value) {
    *slot() = std::forward<T>(value);
    return true;
  }
  bool open(json value) {
    check<FormatError>(open_.size() < kMaxDepth, "{}: JSON is nested deeper than {} levels", who_,
                       kMaxDepth);
    json* const at = slot();
    *at = std::move(value);
    open_.push_back(at);
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  /// Where the next value belongs: the root, a new element of the open array, the named member.
  json* slot() {
    if (open_.empty()) return &root_;
    if (!open_.back()->is_array()) return member_;
    auto& array = open_.back()->get_ref<json::array_t&>();
    array.emplace_back();
    return &array.back();
  }

  const std::string& who_;
  json root_;
  std::vector<json*> open_;  // a parent array never grows while its child is open
  json* member_ = nullptr;
};

}  // namespace

json parse_json(std::string_view text, const std::string& who) {
  StrictBuilder builder(who);
  const bool done = json::sax_parse(text.begin(), text.end(), &builder);
  check<FormatError>(done, "{}: not valid JSON", who);
  return builder.take();
}

json load_json(const std::string& path, size_t max_bytes) {
  return parse_json(read_file(path, max_bytes), path);
}

}  // namespace ocellus
