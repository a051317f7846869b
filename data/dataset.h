// Sources of samples with random access: the conversation of any index without reading a pixel, and
// its pictures as the bytes of their files. Opening reads names and line ends, not contents.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/messages.h"

namespace ocellus {

/// A picture as it lies on the disk; `name` begins messages about it.
struct EncodedImage {
  std::string name;
  std::string bytes;
};

/// One sample: as many images as the conversation has image parts, in their order.
struct DataSample {
  Conversation conversation;
  std::vector<EncodedImage> images;
};

/// Source — samples 0 … size() − 1. All functions are const and may run in many threads at once;
/// they throw FormatError naming file and line for a sample that is not what it should be.
class Source {
 public:
  explicit Source(std::string name) : name_(std::move(name)) {}
  virtual ~Source() = default;
  /// The source's own name, for ledgers and messages.
  const std::string& name() const { return name_; }
  virtual int64_t size() const = 0;
  /// The parsed conversation; the number of its image parts is checked against the pictures.
  virtual Conversation conversation(int64_t index) const = 0;
  /// The pictures of `conversation`, which must be that of `index`.
  virtual std::vector<EncodedImage> images(int64_t index,
                                           const Conversation& conversation) const = 0;
  /// What evaluation groups by: the record's "source", else name(). Cheap: the record is not
  /// parsed.
  virtual std::string record_source(int64_t index) const = 0;
  /// Where the sample stands, as in Conversation::where; works for damaged records too.
  virtual std::string where(int64_t index) const = 0;

  DataSample sample(int64_t index) const;
  std::vector<std::string> image_bytes(int64_t index) const;

 protected:
  void check_index(int64_t index) const;

 private:
  std::string name_;
};

/// Where samples come from.
struct DataSpec {
  std::string name = {};                  // of the source
  std::string kind = "webdataset";        // webdataset | messages | image_folder
  std::string path = {};                  // shard pattern, JSONL or JSON file, or folder
  std::vector<std::string> sources = {};  // record sources to keep; empty: all
  std::string slice = {};   // "100" = the first 100, "100:200", ":-50" …, after `sources`
  bool need_answer = true;  // a conversation without assistant text is an error
  // image_folder only:
  std::string annotations = {};  // CSV or JSONL in the folder; empty: by name, else class folders
  struct Fields {
    std::string image = "image", question = "question", answer = "answer", source = "source";
  } fields = {};
  std::string prompt = {};  // the user's text where a record has no question
};

/// open_source — the source of `spec`.
/// "webdataset": tar shards; `path` may hold *, ?, {a,b} and {000..012}. A sample is one key:
/// pictures (suffix png, jpg, jpeg, or ending so) and one of .jsonl (a conversation a line, all
/// about these pictures), .json (a conversation, or a list of them) and .txt (a caption).
/// "messages": JSONL (one conversation a line) or JSON (a list), in messages or LLaVA form; image
/// paths are relative to the file and stay in its folder.
/// "image_folder": pictures named by a CSV or JSONL file, or one folder a class.
/// Where no message has an image part, the pictures' slots go in front of the first user message.
/// Throws FormatError for files, UsageError for an unknown kind or slice, or a record source that
/// never occurs.
std::unique_ptr<Source> open_source(const DataSpec& spec);

/// guess_kind — the kind that `path` looks like.
std::string guess_kind(const std::string& path);

/// keep_sources — the samples whose record source is in `names`, in order.
std::unique_ptr<Source> keep_sources(std::shared_ptr<const Source> source,
                                     const std::vector<std::string>& names);

/// keep_slice — samples begin … end − 1 of "N", "BEGIN:END"; negative numbers count from the end.
std::unique_ptr<Source> keep_slice(std::shared_ptr<const Source> source, const std::string& slice);

/// count_by_source — how many samples each record source has.
std::map<std::string, int64_t> count_by_source(const Source& source);

/// expand_pattern — the paths a shard pattern stands for: braces in the order written, wild cards
/// sorted. FormatError if a wild card matches nothing.
std::vector<std::string> expand_pattern(const std::string& pattern);

// The three kinds (webdataset.cpp, messages_file.cpp, image_folder.cpp).
std::unique_ptr<Source> open_webdataset(const DataSpec& spec);
std::unique_ptr<Source> open_messages(const DataSpec& spec);
std::unique_ptr<Source> open_image_folder(const DataSpec& spec);

}  // namespace ocellus
