// Conversations in one file: JSONL, read line by line from a mapping, or a JSON list, parsed once.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/records.h"
#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {
namespace {

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

class MessagesFile : public Source {
 public:
  explicit MessagesFile(const DataSpec& spec)
      : Source(spec.name), file_(spec.path), need_answer_(spec.need_answer) {
    const size_t first = text().find_first_not_of(" \t\r\n");
    if (first != std::string_view::npos && text()[first] == '[') {
      list_ = parse_json(text(), path());
    } else {
      lines_ = lines_of(text(), path());
    }
    check<FormatError>(size() > 0, "{}: there is no conversation in it", path());
  }

  int64_t size() const override {
    return static_cast<int64_t>(list_.empty() ? lines_.size() : list_.size());
  }

  Conversation conversation(int64_t index) const override {
    check_index(index);
    RecordContext context{where(index), std::to_string(number(index)), name(), need_answer_};
    Conversation conversation =
        list_.empty() ? conversation_of(parse_json(line(index), context.where), context)
                      : conversation_of(list_[static_cast<size_t>(index)], context);
    for (const Part* part : image_parts(conversation))
      path_inside(folder_of(path()), part->text, context.where);
    return conversation;
  }

  std::vector<EncodedImage> images(int64_t, const Conversation& conversation) const override {
    return read_images(conversation, folder_of(path()));
  }

  std::string record_source(int64_t index) const override {
    check_index(index);
    std::string source;
    if (list_.empty()) {
      source = top_level_string(line(index), "source");
    } else if (const auto& record = list_[static_cast<size_t>(index)];
               record.is_object() && record.contains("source")) {
      if (record["source"].is_string()) source = record["source"];
    }
    return source.empty() ? name() : source;
  }

  std::string where(int64_t index) const override {
    check_index(index);
    return fmt::format("{} {} {}", path(), list_.empty() ? "line" : "record", number(index));
  }

 private:
  const std::string& path() const { return file_.path(); }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(file_.data()), file_.size()};
  }
  int64_t number(int64_t index) const {
    return list_.empty() ? lines_[static_cast<size_t>(index)].number : index + 1;
  }
  std::string_view line(int64_t index) const {
    const TextLine& line = lines_[static_cast<size_t>(index)];
    return text().substr(line.begin, line.length);
  }

  MappedFile file_;
  bool need_answer_;
  std::vector<TextLine> lines_;  // of JSONL
  nlohmann::json list_;          // of JSON
};

}  // namespace

std::unique_ptr<Source> open_messages(const DataSpec& spec) {
  return std::make_unique<MessagesFile>(spec);
}

}  // namespace ocellus
